"""One fit, from a table to its result."""
