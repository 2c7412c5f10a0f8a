"""Tests of segsvc/api/reports."""
