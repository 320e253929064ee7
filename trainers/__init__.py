"""Everything that happens only while training."""
