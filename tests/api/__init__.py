"""Tests of segsvc/api."""
