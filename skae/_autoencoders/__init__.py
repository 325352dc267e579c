"""The estimators that own a network."""
