"""What the handlers share: requests, responses, fields, problems and middlewares."""

# The path of the HTTP API.
BASE = "/api/v1"
