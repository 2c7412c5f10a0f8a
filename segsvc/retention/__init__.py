"""Retention: forgetting what ended before a month that is still wanted."""
