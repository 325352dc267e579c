"""A trained network between arrays, and what its codes mean."""
