"""What the world reads: the model card."""
