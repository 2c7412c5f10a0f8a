"""Reports: what happened in a month, as CSV, by a signed link or from the command line."""
