"""Worker processes and the connection limit."""
