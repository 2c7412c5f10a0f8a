"""OpenFeature: each live segment as a flag (OFREP 0.3)."""
