"""The service described in OpenAPI, and the page that shows the description."""
