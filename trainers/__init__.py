"""Everything that happens only while training."""

from .arguments import XLingAlignTrainingArguments
from .trainer import XLingAlignTrainer

__all__ = ["XLingAlignTrainer", "XLingAlignTrainingArguments"]
