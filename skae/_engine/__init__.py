"""The engine: batches, objective, optimizer, and the skorch net that trains."""
