"""Users: their segments, memberships and history."""
