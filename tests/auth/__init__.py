"""Tests of segsvc/auth."""
