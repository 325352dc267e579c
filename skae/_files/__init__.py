"""Model files: writes plain values and arrays to a file, and reads them."""
