"""The tables that users pass to `fit`: checks, and preparation for a network."""
