"""segsvc: tells a product which segments a user is in."""

__version__ = "0.1.0"
