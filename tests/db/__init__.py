"""Tests of segsvc/db."""
