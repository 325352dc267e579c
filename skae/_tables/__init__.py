"""What users give, made ready for a network."""
