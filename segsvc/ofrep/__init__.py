"""OpenFeature: each live segment as a flag, by the Remote Evaluation Protocol (OFREP 0.3)."""
