"""Reports: the events of a month as CSV."""
