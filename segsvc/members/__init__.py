"""Members: all the users of one segment at once, in from a file and out into one."""
