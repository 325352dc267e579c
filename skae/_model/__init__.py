"""A trained network that is applied to arrays, and statistics of its codes."""
