"""The feed: who entered and left which segment, in order, for machines that follow."""
