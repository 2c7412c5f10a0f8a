"""Tests of segsvc/openapi."""
