"""What the handlers share: requests, responses, fields, problems and middlewares."""
