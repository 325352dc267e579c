"""Estimators that have an autoencoder, and do something with it."""
