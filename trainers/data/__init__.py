"""Parallel text in, batches out."""
