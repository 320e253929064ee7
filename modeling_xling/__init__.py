"""The model that ships to the Hub: configuration, fusion, heads, and the classes over them."""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForPreTraining,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from .configuration_xling import InputError, XLingAlignConfig, nearest
from .fusion import AttentionFusion, LanguageStates
from .heads import LanguageDiscriminator, MaskedLMHead, ProjectionHead
from .modeling_xling import (
    XLingAlignForPreTraining,
    XLingAlignForSequenceClassification,
    XLingAlignForTokenClassification,
    XLingAlignModel,
    XLingAlignOutput,
    XLingAlignPreTrainedModel,
    limit_tokenizer,
    load_tokenizer,
)

AutoConfig.register("xling_align", XLingAlignConfig, exist_ok=True)
AutoModel.register(XLingAlignConfig, XLingAlignModel, exist_ok=True)
AutoModelForPreTraining.register(XLingAlignConfig, XLingAlignForPreTraining, exist_ok=True)
AutoModelForSequenceClassification.register(XLingAlignConfig, XLingAlignForSequenceClassification, exist_ok=True)
AutoModelForTokenClassification.register(XLingAlignConfig, XLingAlignForTokenClassification, exist_ok=True)

__all__ = [
    "AttentionFusion",
    "InputError",
    "LanguageDiscriminator",
    "LanguageStates",
    "MaskedLMHead",
    "ProjectionHead",
    "XLingAlignConfig",
    "XLingAlignForPreTraining",
    "XLingAlignForSequenceClassification",
    "XLingAlignForTokenClassification",
    "XLingAlignModel",
    "XLingAlignOutput",
    "XLingAlignPreTrainedModel",
    "limit_tokenizer",
    "load_tokenizer",
    "nearest",
]
