"""The HTTP API: one folder a resource, named as in the URL."""
