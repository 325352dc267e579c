"""Model files: plain values and arrays in a file, and back."""
