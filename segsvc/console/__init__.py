"""The console: pages for analysts, made on the server."""
