"""Tests of segsvc/maintenance."""
