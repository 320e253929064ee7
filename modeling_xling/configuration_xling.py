"""Configuration of the aligned encoder, and the one error that all of the package raises for bad input."""

import difflib
import json
import shutil
from dataclasses import field
from pathlib import Path

from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

CHOICES = {
    "language_token": ("insert", "pool", "none"),
    "fusion_context": ("own", "pair", "none"),
    "fusion_activation": ("tanh", "sigmoid", "gelu", "identity"),
    "pooling": ("cls", "mean"),
    "default_tower": ("target", "source"),
}


class InputError(ValueError):
    """What the user gave cannot be used; the message says what was given, what is accepted and what to do."""


def nearest(word: str, known: list[str]) -> str:
    """` (did you mean 'x'?)` with the nearest of the known words, or nothing."""
    close = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


class XLingAlignConfig(PreTrainedConfig):
    """Configuration of every XLingAlign class.

    Attributes:
        encoder_config: Configuration of the wrapped encoder, of any AutoModel type.
        target_encoder_config: Configuration of a second encoder, which makes a dual encoder: `encoder` then reads the
            source language and `target_encoder` all others (contrastive_alignment_review.txt, 2.3). Both have the
            same vocabulary and the same hidden size; all that stands on them is shared. None for one encoder.
        default_tower: The tower of a dual encoder for the unknown language, which is what texts without
            `language_ids` have, and training rows whose language is hidden: `target` or `source`.
        languages: ISO codes, in the order of the language rows; row 0 is the unknown language, so
            `languages[i]` has id `i + 1`.
        source_language: The language that the others are aligned to.
        language_token: `insert` puts the language embedding after the first token, as the special language
            token of multi_level_alignment.txt section 4.1, and takes one position; `pool` lets the embedding
            attend over the finished token states (ours); `none` uses the embedding itself (ours).
        language_dropout: Share of training rows whose language is hidden, which trains row 0.
        fusion_context: What the sentence state attends over. `own`: its own language state and the running
            means of its own and the source language (ours). `pair`: the language states of both members of
            a pair (eq. 2-3; leaks which rows belong together). `none`: no fusion.
        fusion_activation: The sigma of eq. 6.
        fusion_residual: Add the fused update to the query, with W = 0 at the start, so that fusion starts as the
            identity (ours); without it, eq. 6 as printed.
        fusion_tau: The tau of eq. 4; None stands for the square root of the hidden size.
        pooling: Where the sentence state comes from: the first token, or the mean of the real tokens.
        projection_dim: Size of the training-time projection head; None for none.
        tie_word_embeddings: Whether the LM head of `XLingAlignForPreTraining` shares the word embeddings.
        max_position_embeddings: Longest text in tokens; set by the model from its encoder.
        classifier_dropout: Dropout before the classifiers of the task classes.
    """

    model_type = "xling_align"
    sub_configs_defaults = {
        "encoder_config": SubConfigSpec(config_class=AutoConfig, model_type="xlm-roberta"),
        "target_encoder_config": SubConfigSpec(config_class=AutoConfig, model_type="xlm-roberta", optional=True),
    }

    encoder_config: PreTrainedConfig = None  # pyright: ignore[reportAssignmentType]
    target_encoder_config: PreTrainedConfig | None = None
    default_tower: str = "target"
    languages: list[str] = field(default_factory=list)
    source_language: str = "en"
    language_token: str = "insert"
    language_dropout: float = 0.1
    fusion_context: str = "own"
    fusion_activation: str = "tanh"
    fusion_residual: bool = True
    fusion_tau: float | None = None
    pooling: str = "cls"
    projection_dim: int | None = None
    tie_word_embeddings: bool = True
    max_position_embeddings: int | None = None
    classifier_dropout: float = 0.1

    def __post_init__(self, **kwargs):
        self.languages = list(self.languages)
        if len(set(self.languages)) != len(self.languages):
            raise InputError(f"languages {self.languages} name one twice; give each code once")
        if self.languages and self.source_language not in self.languages:
            self.languages.insert(0, self.source_language)
        for name, accepted in CHOICES.items():
            if getattr(self, name) not in accepted:
                raise InputError(f"{name} {getattr(self, name)!r} is not one of {', '.join(accepted)}")
        super().__post_init__(**kwargs)
        self._check_towers()

    def _check_towers(self) -> None:
        """Refuse two towers that can't share a tokenizer and what stands on them."""
        target = self.target_encoder_config
        if target is None:
            return
        if not self.languages:
            raise InputError("a dual encoder picks the tower by language, and languages is empty; give their codes")
        if target.vocab_size != self.vocab_size:
            raise InputError(
                f"encoder has {self.vocab_size} word embeddings and target_encoder {target.vocab_size}; "
                "both towers read one tokenizer's ids, so give two encoders of one vocabulary"
            )
        if target.hidden_size != self.hidden_size:
            raise InputError(
                f"encoder has hidden size {self.hidden_size} and target_encoder {target.hidden_size}; "
                "both towers write into one space, so give two encoders of one hidden size"
            )

    @property
    def hidden_size(self) -> int:
        """Size of every state that the model returns."""
        return self.encoder_config.hidden_size

    @property
    def vocab_size(self) -> int:
        """Rows of the word embeddings, of both towers in a dual encoder."""
        return self.encoder_config.vocab_size

    @vocab_size.setter
    def vocab_size(self, size: int) -> None:
        self.encoder_config.vocab_size = size
        if self.target_encoder_config is not None:
            self.target_encoder_config.vocab_size = size

    def language_id(self, code: str) -> int:
        """Row of a language code.

        Args:
            code: ISO code.

        Returns:
            Its id; 0, the unknown language, has no code.

        Raises:
            InputError: The model does not know the language.
        """
        if code not in self.languages:
            known = f"{len(self.languages)} languages ({', '.join(self.languages)})" if self.languages else "languages"
            raise InputError(
                f"language {code!r} is not one of this model's {known}; add it by xling adapt --add_languages {code}, "
                "or leave language_ids out for the unknown-language row"
            )
        return self.languages.index(code) + 1


AUTO_MAP = {
    "AutoConfig": "configuration_xling.XLingAlignConfig",
    "AutoModel": "modeling_xling.XLingAlignModel",
    "AutoModelForPreTraining": "modeling_xling.XLingAlignForPreTraining",
    "AutoModelForSequenceClassification": "modeling_xling.XLingAlignForSequenceClassification",
    "AutoModelForTokenClassification": "modeling_xling.XLingAlignForTokenClassification",
}

CODE_FILES = ("configuration_xling.py", "fusion.py", "heads.py", "modeling_xling.py")

CLASSIFIERS = {  # by architecture: the Hub's task, and the class that loads it
    "XLingAlignForSequenceClassification": ("text-classification", "AutoModelForSequenceClassification"),
    "XLingAlignForTokenClassification": ("token-classification", "AutoModelForTokenClassification"),
}

CARD = """---
{metadata}
---

# {title}

{encoder} wrapped by xling-align{purpose}.

```python
{code}
```
{told}"""

ENCODE = """from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{folder}", trust_remote_code=True)
model.encode(["Good morning"]{language})"""

CLASSIFY = """from transformers import AutoTokenizer, {loader}

tokenizer = AutoTokenizer.from_pretrained("{folder}")
model = {loader}.from_pretrained("{folder}", trust_remote_code=True)
logits = model(**tokenizer("Good morning", return_tensors="pt"){language}).logits"""


def write_sentence_transformers_files(folder: Path, hidden_size: int, pooling: str, forward_kwargs: list[str]) -> None:
    """Write the layout of sentence-transformers 6: stock Transformer, Pooling and Normalize over the AutoModel.

    Args:
        folder: Where the model lies.
        hidden_size: Size of the pooled vector.
        pooling: `cls` or `mean`.
        forward_kwargs: Names of `encode` arguments that are handed on to the model.
    """
    base = "sentence_transformers.base.modules"
    transformer = {"idx": 0, "name": "0", "path": "", "type": f"{base}.transformer.Transformer"}
    if forward_kwargs:
        transformer["kwargs"] = forward_kwargs
    pooling_type = "sentence_transformers.sentence_transformer.modules.pooling.Pooling"
    text_modality = {"method": "forward", "method_output_name": "last_hidden_state"}
    files = {
        "modules.json": [
            transformer,
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": pooling_type},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": f"{base}.normalize.Normalize"},
        ],
        "sentence_bert_config.json": {
            "transformer_task": "feature-extraction",
            "modality_config": {"text": text_modality},
            "module_output_name": "token_embeddings",
        },
        "config_sentence_transformers.json": {"model_type": "SentenceTransformer", "similarity_fn_name": "cosine"},
        "1_Pooling/config.json": {
            "embedding_dimension": hidden_size,
            "pooling_mode": pooling,
            "include_prompt": True,
        },
        "2_Normalize/config.json": {
            "module_input_name": "sentence_embedding",
            "module_output_name": "sentence_embedding",
        },
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def card_towers(config: XLingAlignConfig) -> dict[str, str]:
    """What the card says of the encoder, or of the two towers."""
    encoder, target = config.encoder_config.model_type, config.target_encoder_config
    if target is None:
        return {"encoder": f"An encoder ({encoder})", "without": "the unknown-language row serves"}
    return {
        "encoder": f"A dual encoder ({encoder} for {config.source_language}, {target.model_type} for all others)",
        "without": f"the {config.default_tower} tower reads every text",
    }


def plain_card(title: str, config: XLingAlignConfig) -> str:
    """The card that a model is saved with: what it is, and how to load it."""
    architecture = next(iter(config.architectures or ()), "")
    task, loader = CLASSIFIERS.get(architecture, ("sentence-similarity", ""))
    library = "transformers" if loader else "sentence-transformers"
    tags = ["xling-align", *([] if loader else [library, "feature-extraction"])]
    metadata = [f"library_name: {library}", f"pipeline_tag: {task}", f"tags: {json.dumps(tags)}"]
    purpose, language, told = "", "", ""
    towers = card_towers(config)
    if config.languages:
        metadata.insert(0, f"language: {json.dumps(config.languages)}")
        purpose = f" for {len(config.languages)} languages: {', '.join(config.languages)}"
        language = f', language_ids="{config.source_language}"'
        told = (
            "\n`language_ids` names the language of all texts of a call, by its code; without it "
            f"{towers['without']}, and the vectors differ.\n"
        )
    if loader:
        purpose += f", with a classifier; its labels: {', '.join(map(str, (config.id2label or {}).values()))}"
    code = (CLASSIFY if loader else ENCODE).format(folder=title, loader=loader, language=language)
    return CARD.format(
        metadata="\n".join(metadata), title=title, encoder=towers["encoder"], purpose=purpose, code=code, told=told
    )


def write_hub_files(folder: Path, config: XLingAlignConfig) -> None:
    """Write what a saved model needs beside weights and config: its code, sentence-transformers files, a plain card.

    A README.md that is already there is kept.
    """
    for name in CODE_FILES:
        source = Path(__file__).with_name(name)
        if source.resolve() != (folder / name).resolve():
            shutil.copyfile(source, folder / name)
    write_sentence_transformers_files(folder, config.hidden_size, "cls", ["language_ids"])
    if not (folder / "README.md").exists():
        name = folder.resolve().name.removesuffix(".partial")  # as it is called once all of it is there
        card = plain_card(name, config)
        (folder / "README.md").write_text(card, encoding="utf-8")
