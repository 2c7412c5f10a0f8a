"""Tests of segsvc/cli."""
