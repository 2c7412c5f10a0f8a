"""Tests of segsvc/observability."""
