"""Layers: sets of segments of which a user is in at most one."""
