"""Tests of segsvc/server."""
