"""Tests of segsvc/api/segments."""
