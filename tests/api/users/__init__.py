"""Tests of segsvc/api/users."""
