"""Checks: whether what is stored keeps the promises of the design."""
