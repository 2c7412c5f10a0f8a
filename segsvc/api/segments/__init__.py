"""Segments: named groups of users."""
