"""Tests of segsvc/api/members."""
