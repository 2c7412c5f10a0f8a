"""Tests of segsvc/http."""
