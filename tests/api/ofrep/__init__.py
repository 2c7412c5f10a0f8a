"""Tests of segsvc/api/ofrep."""
