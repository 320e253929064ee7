"""Policies with state that follow training; each is saved with the checkpoint."""
