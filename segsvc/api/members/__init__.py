"""Members of a segment: imports, exports and pages."""
