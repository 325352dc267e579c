"""Certainty: the quantile by which an error must be ahead."""
