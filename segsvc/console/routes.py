"""All pages of the console: importing the modules declares them."""

from segsvc.console import layers, members, records, segments, sets, start, users
from segsvc.console.pages import PAGES, set_up

__all__ = ["PAGES", "layers", "members", "records", "segments", "set_up", "sets", "start", "users"]
