"""Memberships: which user is in which segment, from when until when."""
