"""The aligned encoder, and the classes for pre-training and for tasks that stand on it.

The model returns representations; what they cost is the trainer's business. One sentence goes this way:
word embeddings -> language embedding after the first token -> encoder -> language state, sentence state, word states
-> sentence fusion -> word fusion. See multi_level_alignment.txt, sections 3.2 to 3.5. A dual encoder has two towers,
one for the source language and one for all others; only what `_encode` and `towers_of` do depends on it.
"""

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutput, SequenceClassifierOutput, TokenClassifierOutput
from transformers.utils import logging
from transformers.utils.generic import ModelOutput

from .configuration_xling import (
    AUTO_MAP,
    CHOICES,
    InputError,
    XLingAlignConfig,
    write_hub_files,
    write_sentence_transformers_files,
)
from .fusion import AttentionFusion, FusionLinear, LanguageStates
from .heads import LanguageDiscriminator, MaskedLMHead, ProjectionHead

logger = logging.get_logger(__name__)

LanguageIds = Tensor | str | int | list | tuple | None


@dataclass
class XLingAlignOutput(ModelOutput):
    """What one forward pass returns.

    Attributes:
        last_hidden_state: Fused word states with the fused sentence vector at position 0 (batch, words, dim).
        pooler_output: Fused sentence vector (batch, dim).
        language_state: State of the language token (batch, dim).
        word_states: Word states before fusion (batch, words, dim).
        projection: Projected sentence vector (batch, projection_dim), if the model has a projection head.
        language_ids: Language rows used, after language dropout (batch,).
        lm_states: States for the LM decoder at the asked-for positions (positions, embedding_dim).
        hidden_states: States of every layer, without the language token (batch, words, dim) each; None for a batch
            that went through both towers of a dual encoder, if these differ in layers.
        attentions: Attention of every layer, the language token included (batch, heads, words, words) each; None for
            a batch that went through both towers, if these differ in layers or heads.
    """

    last_hidden_state: Tensor | None = None
    pooler_output: Tensor | None = None
    language_state: Tensor | None = None
    word_states: Tensor | None = None
    projection: Tensor | None = None
    language_ids: Tensor | None = None
    lm_states: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


def longest_text(encoder: PreTrainedModel, language_token: str) -> int | None:
    """Most tokens that fit: the encoder's positions, less a padding offset, less the language token's own."""
    limit = getattr(encoder.config, "max_position_embeddings", None)
    for module in encoder.modules():
        table = getattr(module, "position_embeddings", None)
        if isinstance(table, nn.Embedding) and table.padding_idx is not None:
            limit = table.num_embeddings - table.padding_idx - 1
    return limit if limit is None or language_token != "insert" else limit - 1


def in_row_order(parts: list[tuple[Tensor, ...] | None], back: Tensor) -> tuple[Tensor, ...] | None:
    """Layers of both towers put together; None where they were not asked for, or differ in number or shape."""
    source, target = parts
    if not source or not target or [layer.shape[1:] for layer in source] != [layer.shape[1:] for layer in target]:
        return None
    return tuple(torch.cat(layers)[back] for layers in zip(source, target, strict=True))


def without_pooler(build, *args, **kwargs) -> PreTrainedModel:
    """An encoder by `AutoModel.from_config` or `from_pretrained`, without the pooler that some families add."""
    try:
        return build(*args, add_pooling_layer=False, **kwargs)
    except TypeError:
        return build(*args, **kwargs)


def load_encoder(encoder: str | Path | PreTrainedConfig, dtype: torch.dtype) -> tuple[PreTrainedConfig, dict | None]:
    """Config and weights of an encoder to wrap.

    Args:
        encoder: Folder or Hub id, or a config for one with fresh weights.
        dtype: Of the weights.

    Returns:
        The config, and the weights by name; None for a fresh start.

    Raises:
        InputError: It can't be found, is no encoder, or is wrapped already.
    """
    if isinstance(encoder, PreTrainedConfig):
        return encoder, None
    try:
        config = AutoConfig.from_pretrained(encoder)
        weights = without_pooler(AutoModel.from_pretrained, encoder, dtype=dtype).state_dict()
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(
            f"encoder {str(encoder)!r} is neither a folder nor a Hub id that can be loaded: {reason}"
        ) from error
    if isinstance(config, XLingAlignConfig):
        raise InputError(f"{str(encoder)!r} is wrapped already; load it by XLingAlignModel.from_pretrained")
    return config, weights


class XLingAlignPreTrainedModel(PreTrainedModel):
    """What all classes share: initialisation, saving, and following the vocabulary's size."""

    config: XLingAlignConfig
    config_class = XLingAlignConfig
    base_model_prefix = "xling"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, FusionLinear) and module.starts_at_zero:
            init.zeros_(module.weight)
            init.zeros_(module.bias)
            return
        super()._init_weights(module)
        if isinstance(module, LanguageStates):
            init.zeros_(module.mean)
            init.zeros_(module.count)

    def resize_token_embeddings(self, new_num_tokens=None, pad_to_multiple_of=None, mean_resizing=True):
        """Resize the word embeddings of every tower, and whatever is tied to them; the encoders' configs follow."""
        embeddings = super().resize_token_embeddings(new_num_tokens, pad_to_multiple_of, mean_resizing)
        rows = embeddings.weight.shape[0]
        base: Any = getattr(self, "xling", self)
        for tower in base.towers[1:]:
            tower.resize_token_embeddings(rows, mean_resizing=mean_resizing)
        self.config.vocab_size = rows
        return embeddings

    def save_pretrained(
        self,
        save_directory: str | Path,
        *args,
        tokenizer: PreTrainedTokenizerBase | None = None,
        is_main_process: bool = True,
        **kwargs,
    ):
        """Save weights, config, code for every Auto class, sentence-transformers files and a plain card.

        Args:
            save_directory: Folder to write.
            *args: As `PreTrainedModel.save_pretrained`.
            tokenizer: Saved beside the model, limited to the length that the model takes.
            is_main_process: Whether this process writes.
            **kwargs: As `PreTrainedModel.save_pretrained`.

        Raises:
            InputError: The folder can't be written.
        """
        folder = Path(save_directory)
        self.config.auto_map, self.config.architectures = dict(AUTO_MAP), [type(self).__name__]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if is_main_process:
                write_hub_files(folder, self.config)
                if tokenizer is not None:
                    limit_tokenizer(tokenizer, self.config)
                    tokenizer.save_pretrained(folder)
            super().save_pretrained(save_directory, *args, is_main_process=is_main_process, **kwargs)
        except OSError as error:
            raise InputError(f"{folder} can't be written ({error.strerror or error}); name another folder") from error


def load_tokenizer(model: str | Path) -> PreTrainedTokenizerBase:
    """Tokenizer of a model, where `AutoTokenizer` would make up an empty one for a folder that has none.

    Args:
        model: Folder or Hub id.

    Returns:
        The tokenizer.

    Raises:
        InputError: There is none.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"{str(model)!r} has no tokenizer that can be loaded: {reason}") from error
    if len(tokenizer) <= len(set(tokenizer.all_special_ids)):
        raise InputError(f"{str(model)!r} has no tokenizer files; save the encoder's tokenizer into it")
    return tokenizer


def limit_tokenizer(tokenizer: PreTrainedTokenizerBase, config: XLingAlignConfig) -> None:
    """Make a tokenizer truncate and pad as the model needs: at its longest text, on the right.

    Args:
        tokenizer: Changed in place.
        config: The model's.

    Raises:
        InputError: The tokenizer has more pieces than the encoder has word embeddings.
    """
    if len(tokenizer) > config.vocab_size:
        raise InputError(
            f"the tokenizer has {len(tokenizer)} pieces and the encoder {config.vocab_size} word embeddings; "
            "give the encoder's own tokenizer, or call model.resize_token_embeddings(len(tokenizer)) first"
        )
    if config.max_position_embeddings:
        tokenizer.model_max_length = min(tokenizer.model_max_length, config.max_position_embeddings)
    tokenizer.padding_side = "right"


class XLingAlignModel(XLingAlignPreTrainedModel):
    """An encoder with language states and attention fusion (multi_level_alignment.txt, figure 4 without heads)."""

    _keys_to_ignore_on_load_unexpected = [
        r"^lm_head\.",
        r"^discriminator\.",
        r"^loss_balance\.",
        r"^temperature\.",
        r"^classifier\.",
    ]

    def __init__(self, config: XLingAlignConfig):
        super().__init__(config)
        self.encoder = without_pooler(AutoModel.from_config, config.encoder_config)
        config.encoder_config = self.encoder.config
        self.target_encoder = None
        if config.target_encoder_config is not None:
            self.target_encoder = without_pooler(AutoModel.from_config, config.target_encoder_config)
            config.target_encoder_config = self.target_encoder.config
        limits = [longest_text(tower, config.language_token) for tower in self.towers]
        config.max_position_embeddings = min((limit for limit in limits if limit is not None), default=None)
        dim = config.hidden_size
        self.language = LanguageStates(len(config.languages), self._language_embedding_dim(), dim)
        self.sentence_fusion = self.word_fusion = self.projection = None
        if config.fusion_context != "none":
            form = (config.fusion_activation, config.fusion_residual, config.fusion_tau)
            self.sentence_fusion = AttentionFusion(dim, *form)
            self.word_fusion = AttentionFusion(dim, *form)
        if config.projection_dim:
            self.projection = ProjectionHead(dim, config.projection_dim)
        self.post_init()

    @classmethod
    def from_encoder(
        cls,
        encoder: str | Path | PreTrainedConfig,
        languages: list[str],
        dtype: torch.dtype | None = None,
        target_encoder: str | Path | PreTrainedConfig | None = None,
        **config,
    ) -> "XLingAlignModel":
        """Wrap an encoder, or two as a dual encoder; the two have one vocabulary and one hidden size.

        Args:
            encoder: Folder or Hub id of a pretrained encoder, or a config for one with fresh weights.
            languages: ISO codes of the languages.
            dtype: Of the weights; float32 unless given.
            target_encoder: A second encoder, for all languages but the source language; it may be the same as
                `encoder`, and is then a copy that learns on its own.
            **config: Any other field of `XLingAlignConfig`.

        Returns:
            The model; its fusion starts as the identity.
        """
        dtype = dtype or torch.float32
        encoder_config, weights = load_encoder(encoder, dtype)
        target_config = target_weights = None
        if target_encoder is not None:
            target_config, target_weights = load_encoder(target_encoder, dtype)
        configs = {"encoder_config": encoder_config, "target_encoder_config": target_config}
        model = cls(XLingAlignConfig(**configs, languages=languages, **config))
        for tower, pretrained in zip(model.towers, (weights, target_weights), strict=False):
            if pretrained is not None:
                model.to(dtype=dtype)  # pyright: ignore[reportCallIssue]
                tower.load_state_dict(pretrained)
        return model

    def _language_embedding_dim(self) -> int:
        """Size of the language embeddings: a word embedding's where they are inserted among the words."""
        if self.config.language_token != "insert":
            return self.config.hidden_size
        sizes: list[Any] = [tower.get_input_embeddings().embedding_dim for tower in self.towers]
        if sizes[0] != sizes[-1]:
            raise InputError(
                f"encoder has word embeddings of size {sizes[0]} and target_encoder of {sizes[1]}, so a language "
                "embedding fits only one of them; use language_token='pool' or 'none'"
            )
        return sizes[0]

    @property
    def towers(self) -> list[PreTrainedModel]:
        """The encoder; of a dual encoder, the source language's and that of all others."""
        return [self.encoder] if self.target_encoder is None else [self.encoder, self.target_encoder]

    def towers_of(self, rows: Tensor) -> list[tuple[PreTrainedModel, Tensor]]:
        """The towers that texts go through, by language.

        Args:
            rows: Language rows (batch,).

        Returns:
            Each tower that has texts, with the indices of its texts (texts,).
        """
        if self.target_encoder is None:
            return [(self.encoder, torch.arange(len(rows), device=rows.device))]
        in_source = rows == self.config.language_id(self.config.source_language)
        if self.config.default_tower == "source":
            in_source = in_source | (rows == 0)
        sides = [(self.encoder, in_source), (self.target_encoder, ~in_source)]
        return [(tower, side.nonzero().squeeze(1)) for tower, side in sides if side.any()]

    def get_input_embeddings(self) -> nn.Embedding:
        """The encoder's word embeddings; of a dual encoder, those of the source language's tower."""
        return self.encoder.get_input_embeddings()  # pyright: ignore[reportReturnType]

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the encoder's word embeddings; of a dual encoder, those of the source language's tower."""
        self.encoder.set_input_embeddings(value)

    @torch.no_grad()
    def init_language_embeddings(self, token_counts: Tensor) -> None:
        """Start each language's embedding at the mean of its words' vectors (section 4.1, weighted by frequency).

        In a dual encoder the words' vectors are those of the tower that reads the language.

        Args:
            token_counts: How often each token occurs in each language (languages + 1, vocab); row 0 is not read,
                the unknown language starts at the mean over all. A language without tokens keeps its start.

        Raises:
            InputError: The model keeps its language embeddings in another space than its words.
        """
        table = self.language.embedding.weight
        if self.get_input_embeddings().embedding_dim != table.shape[1]:
            raise InputError("language embeddings start from word vectors only with language_token='insert' here")
        counts = token_counts.to(table).clone()
        counts[0] = (counts[1:] / counts[1:].sum(1, keepdim=True).clamp(min=1)).sum(0)
        seen = counts.sum(1) > 0
        for tower, rows in self.towers_of(torch.arange(len(table), device=table.device)):
            words: Any = tower.get_input_embeddings().weight
            rows = rows[seen[rows]]
            table[rows] = (counts[rows] / counts[rows].sum(1, keepdim=True)) @ words

    def language_rows(self, language_ids: LanguageIds, batch: int, device: torch.device) -> Tensor:
        """Language rows (batch,) of a code, an id, a list that repeats one of them, or a tensor of ids.

        A list of several codes is refused: sentence-transformers sorts texts by length before it calls the model, and
        the rows would be swapped without a word.

        Args:
            language_ids: What the caller gave.
            batch: Number of texts.
            device: Where the rows are wanted.

        Returns:
            Language rows (batch,).

        Raises:
            InputError: Unknown code, id out of range, several codes in a list, or a tensor of another batch.
        """
        if isinstance(language_ids, list | tuple):
            if len(set(language_ids)) != 1:
                raise InputError(
                    f"language_ids {list(language_ids)[:4]} name several languages; give one code for the whole call, "
                    "or a tensor of ids: torch.tensor([model.config.language_id(code) for code in codes])"
                )
            language_ids = language_ids[0]
        if language_ids is None:
            if self.target_encoder is not None:
                logger.warning_once(
                    "no language_ids: a dual encoder picks the tower by language, and its %s tower reads every text; "
                    "give language_ids, such as %r",
                    self.config.default_tower,
                    self.config.source_language,
                )
            language_ids = 0
        if isinstance(language_ids, str):
            language_ids = self.config.language_id(language_ids)
        rows = torch.as_tensor(language_ids, device=device).reshape(-1)
        if rows.numel() not in (1, batch):
            raise InputError(f"language_ids has {rows.numel()} ids for {batch} texts; give one id, or one per text")
        if rows.device.type == "cpu" and not (rows.min() >= 0 and rows.max() <= len(self.config.languages)):
            raise InputError(f"language_ids {rows.tolist()[:8]} are not within 0..{len(self.config.languages)}")
        return rows.expand(batch)

    def _encode(self, rows: Tensor, *inputs: Tensor | None, **kwargs) -> Any:
        """Run each tower once over its own texts, and put the results back in the order of the rows."""
        towers = self.towers_of(rows)
        if len(towers) == 1:
            return self._run_encoder(towers[0][0], rows, *inputs, **kwargs)
        outputs = []
        for tower, texts in towers:
            own = (None if given is None else given[texts] for given in inputs)
            outputs.append(self._run_encoder(tower, rows[texts], *own, **kwargs))
        back = torch.cat([texts for _, texts in towers]).argsort()
        return BaseModelOutput(
            last_hidden_state=torch.cat([output.last_hidden_state for output in outputs])[back],
            hidden_states=in_row_order([output.get("hidden_states") for output in outputs], back),
            attentions=in_row_order([output.get("attentions") for output in outputs], back),
        )

    def _run_encoder(self, encoder, rows, input_ids, inputs_embeds, attention_mask, token_type_ids, **kwargs):
        """Run one encoder with the language token inserted, if the model has one."""
        if self.config.language_token == "insert":
            words = encoder.get_input_embeddings()(input_ids) if inputs_embeds is None else inputs_embeds
            language = self.language.embedding(rows).unsqueeze(1).to(words.dtype)  # (batch, 1, embedding_dim)
            inputs_embeds = torch.cat([words[:, :1], language, words[:, 1:]], 1)
            input_ids = None
            attention_mask, token_type_ids = (
                None if side is None else torch.cat([side[:, :1], side], 1)
                for side in (attention_mask, token_type_ids)
            )
        if token_type_ids is not None and "token_type_ids" in inspect.signature(encoder.forward).parameters:
            kwargs["token_type_ids"] = token_type_ids
        return encoder(input_ids=input_ids, inputs_embeds=inputs_embeds, attention_mask=attention_mask, **kwargs)

    def _without_language(self, states: Tensor) -> Tensor:
        """Drop the language position from states (batch, words + 1, dim)."""
        if self.config.language_token != "insert":
            return states
        return torch.cat([states[:, :1], states[:, 2:]], 1)

    def _language_state(self, states: Tensor, attention_mask: Tensor | None, rows: Tensor) -> Tensor:
        """Language state (batch, dim), by the configured way."""
        if self.config.language_token == "insert":
            return states[:, 1]
        language = self.language.embedding(rows).to(states.dtype)
        if self.config.language_token == "none":
            return language
        scores = (states @ language.unsqueeze(2)).squeeze(2) / self.config.hidden_size**0.5  # (batch, words)
        if attention_mask is not None:
            scores = scores.masked_fill(attention_mask == 0, torch.finfo(scores.dtype).min)
        return language + (scores.softmax(1).unsqueeze(1) @ states).squeeze(1)

    def _sentence_state(self, words: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Sentence state (batch, dim) before fusion."""
        if self.config.pooling == "cls":
            return words[:, 0]
        if attention_mask is None:
            return words.mean(1)
        mask = attention_mask.unsqueeze(2).to(words.dtype)
        return (words * mask).sum(1) / mask.sum(1)

    def _sentence_context(self, language_state: Tensor, rows: Tensor, paired: bool) -> Tensor:
        """What the sentence state attends over (batch, contexts, dim)."""
        if self.config.fusion_context == "pair":  # eq. 2-3: both members of the pair see the same two states
            half = len(rows) // 2
            partner = language_state.roll(half, 0) if paired else language_state
            return torch.stack([language_state, partner], 1)
        source = self.config.language_id(self.config.source_language) if self.config.languages else 0
        own_mean = self.language.mean[rows]
        source_mean = self.language.mean[source].expand_as(own_mean)
        return torch.stack([language_state, own_mean.to(language_state), source_mean.to(language_state)], 1)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        language_ids: LanguageIds = None,
        paired: bool = False,
        fuse_words: bool = True,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> XLingAlignOutput | tuple:
        """Encode texts, padded on the right.

        Args:
            input_ids: Token ids (batch, words).
            attention_mask: 1 for real tokens (batch, words).
            token_type_ids: Segment of each token (batch, words), for encoders that have segments.
            inputs_embeds: Word embeddings instead of ids (batch, words, embedding_dim).
            language_ids: A code or an id for all texts, or ids (batch,); None is the unknown language, which a dual
                encoder reads by its `default_tower`.
            paired: Rows i and i + batch/2 are translations; read by `fusion_context='pair'` only.
            fuse_words: False leaves the word states unfused, for a training step whose losses don't read them.
            output_hidden_states: Return every layer's states.
            output_attentions: Return every layer's attention (needs `attn_implementation='eager'`).
            return_dict: False for a plain tuple.

        Returns:
            `XLingAlignOutput`.

        Raises:
            InputError: No text given, or a text longer than the model takes.
        """
        given = input_ids if input_ids is not None else inputs_embeds
        if given is None:
            raise InputError("give input_ids or inputs_embeds")
        batch, length = given.shape[:2]
        limit = self.config.max_position_embeddings
        if limit is not None and length > limit:
            raise InputError(
                f"a text of {length} tokens, and this model takes at most {limit}; "
                f"tokenize with truncation=True, max_length={limit}"
            )
        rows = self.language_rows(language_ids, batch, given.device)
        if self.training and self.config.language_dropout:
            rows = rows.masked_fill(torch.rand(batch, device=rows.device) < self.config.language_dropout, 0)
        encoded = self._encode(
            rows,
            input_ids,
            inputs_embeds,
            attention_mask,
            token_type_ids,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=True,
        )
        states = encoded.last_hidden_state
        language_state = self._language_state(states, attention_mask, rows)
        words = self._without_language(states)
        sentence = self._sentence_state(words, attention_mask)
        fused_words = words
        if self.sentence_fusion is not None and self.word_fusion is not None:
            context = self._sentence_context(language_state, rows, paired)
            sentence = self.sentence_fusion(sentence.unsqueeze(1), context).squeeze(1)
            if fuse_words:
                fused_words = self.word_fusion(words, sentence.unsqueeze(1))  # eq. 10, own sentence state only
        hidden_states = getattr(encoded, "hidden_states", None)
        output = XLingAlignOutput(
            last_hidden_state=torch.cat([sentence.unsqueeze(1), fused_words[:, 1:]], 1),
            pooler_output=sentence,
            language_state=language_state,
            word_states=words,
            projection=None if self.projection is None else self.projection(sentence),
            language_ids=rows,
            hidden_states=None if hidden_states is None else tuple(map(self._without_language, hidden_states)),
            attentions=getattr(encoded, "attentions", None),
        )
        return output.to_tuple() if return_dict is False else output

    def export_stock(
        self,
        folder: str | Path,
        tokenizer: PreTrainedTokenizerBase,
        texts: dict[str, list[str]] | None = None,
        tower: str = "target",
    ) -> dict:
        """Write the plain encoder with Pooling and Normalize, which loads anywhere without `trust_remote_code`.

        Language token and fusion stay behind, so the vectors move; by how much is measured on the given texts.

        Args:
            folder: Folder to write.
            tokenizer: The model's tokenizer.
            texts: Texts by language code to compare on; none are compared if it is left out.
            tower: Which tower of a dual encoder, `target` or `source`; it then reads all languages.

        Returns:
            `{"mean_cosine": ..., "min_cosine": ..., "texts": ...}` between the exported and the full vectors.

        Raises:
            InputError: The folder can't be written, or there is no such tower.
        """
        if tower not in CHOICES["default_tower"]:
            raise InputError(f"tower {tower!r} is not one of {', '.join(CHOICES['default_tower'])}")
        folder = Path(folder)
        encoder = self.towers[-1] if tower == "target" else self.encoder
        distance = self._distance_to_stock(encoder, tokenizer, texts or {})
        try:
            encoder.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            write_sentence_transformers_files(folder, self.config.hidden_size, self.config.pooling, [])
            (folder / "README.md").write_text(stock_card(folder.resolve().name, self.config, distance, tower), "utf-8")
        except OSError as error:
            raise InputError(f"{folder} can't be written ({error.strerror or error}); name another folder") from error
        return distance

    @torch.inference_mode()
    def _distance_to_stock(
        self, encoder: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: dict[str, list[str]]
    ) -> dict:
        """Cosine between the full model's vectors and the plain encoder's."""
        cosines = []
        training, _ = self.training, self.eval()
        for code, lines in texts.items():
            for start in range(0, len(lines), 64):
                batch = tokenizer(lines[start : start + 64], padding=True, truncation=True, return_tensors="pt")
                batch = {name: batch[name].to(self.device) for name in ("input_ids", "attention_mask")}
                full = self(**batch, language_ids=code).pooler_output
                plain = self._sentence_state(encoder(**batch).last_hidden_state, batch["attention_mask"])
                cosines.append(nn.functional.cosine_similarity(full.float(), plain.float()))
        self.train(training)
        if not cosines:
            return {"texts": 0}
        every = torch.cat(cosines)
        return {"mean_cosine": every.mean().item(), "min_cosine": every.min().item(), "texts": len(every)}


def stock_card(title: str, config: XLingAlignConfig, distance: dict, tower: str) -> str:
    """Card of a stock export, with how far its vectors are from the full model's."""
    measured = "The distance to the full model was not measured."
    if distance["texts"]:
        measured = (
            f"Cosine to the full model's vectors over {distance['texts']} texts: mean {distance['mean_cosine']:.4f}, "
            f"smallest {distance['min_cosine']:.4f}."
        )
    exported = "plain encoder of a model"
    if config.target_encoder_config is not None:
        reads = f"{'' if tower == 'source' else 'all languages but '}{config.source_language}"
        exported = f"{tower} tower (in training for {reads}, here for all) of a dual encoder"
    return (
        "---\nlibrary_name: sentence-transformers\npipeline_tag: sentence-similarity\n"
        "tags:\n- xling-align\n- sentence-transformers\n---\n\n"
        f"# {title}\n\nThe {exported} aligned with xling-align ({', '.join(config.languages)}), "
        f"without its language token and fusion. {measured}\n\n"
        "```python\nfrom sentence_transformers import SentenceTransformer\n\n"
        f'model = SentenceTransformer("{title}")\n```\n'
    )


class XLingAlignForPreTraining(XLingAlignPreTrainedModel):
    """The base model with the heads that only training needs; returns representations, never a loss.

    In a dual encoder the LM head reads the states of both towers, and shares the word embeddings of the source
    language's: both sides then predict over the one vocabulary in the same terms, which eq. 13 compares.
    """

    def __init__(self, config: XLingAlignConfig):
        super().__init__(config)
        self.xling = XLingAlignModel(config)
        words = self.xling.get_input_embeddings()
        self.lm_head = MaskedLMHead(config.hidden_size, words.embedding_dim, words.num_embeddings)
        self.discriminator = LanguageDiscriminator(config.hidden_size, len(config.languages))
        path = next(name for name, module in self.named_modules() if module is words)
        self._tied_weights_keys = {"lm_head.decoder.weight": f"{path}.weight"}
        self.post_init()

    @classmethod
    def from_base(cls, base: XLingAlignModel) -> "XLingAlignForPreTraining":
        """Put fresh training heads on a base model, which is used itself and not copied."""
        model = cls(base.config)
        model.to(dtype=base.dtype)  # pyright: ignore[reportCallIssue]
        model.xling = base
        model.tie_weights()
        return model

    def get_output_embeddings(self) -> nn.Module:
        """The LM head's decoder."""
        return self.lm_head.decoder

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Replace the LM head's decoder."""
        self.lm_head.decoder = new_embeddings

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        language_ids: LanguageIds = None,
        paired: bool = False,
        fuse_words: bool = True,
        lm_positions: Tensor | None = None,
        output_hidden_states: bool | None = None,
    ) -> XLingAlignOutput:
        """Encode, and make states ready for the LM decoder where they are asked for.

        Args:
            input_ids: As the base model.
            attention_mask: As the base model.
            token_type_ids: As the base model.
            language_ids: As the base model.
            paired: As the base model.
            fuse_words: As the base model.
            lm_positions: True where the LM head is wanted (batch, words).
            output_hidden_states: As the base model.

        Returns:
            The base model's output, with `lm_states` where they were asked for.
        """
        output = self.xling(
            input_ids,
            attention_mask,
            token_type_ids,
            language_ids=language_ids,
            paired=paired,
            fuse_words=fuse_words,
            output_hidden_states=output_hidden_states,
        )
        if lm_positions is not None:
            output.lm_states = self.lm_head.transform(output.last_hidden_state[lm_positions])
        return output


class XLingAlignForSequenceClassification(XLingAlignPreTrainedModel):
    """A classifier on the fused sentence vector, for single texts and for pairs in one sequence."""

    def __init__(self, config: XLingAlignConfig):
        super().__init__(config)
        self.num_labels = config.num_labels or 2
        self.xling = XLingAlignModel(config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.hidden_size, self.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        language_ids: LanguageIds = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> SequenceClassifierOutput | tuple:
        """Logits (batch, labels), and the loss where labels (batch,) are given; the rest as the base model."""
        output = self.xling(
            input_ids,
            attention_mask,
            token_type_ids,
            inputs_embeds,
            language_ids,
            fuse_words=False,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
        )
        logits = self.classifier(self.dropout(output.pooler_output))
        loss = None if labels is None else self.loss_function(labels, logits, self.config)
        result = SequenceClassifierOutput(loss, logits, output.hidden_states, output.attentions)
        return result.to_tuple() if return_dict is False else result


class XLingAlignForTokenClassification(XLingAlignPreTrainedModel):
    """A classifier on the fused word states."""

    def __init__(self, config: XLingAlignConfig):
        super().__init__(config)
        self.num_labels = config.num_labels or 2
        self.xling = XLingAlignModel(config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.hidden_size, self.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        language_ids: LanguageIds = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> TokenClassifierOutput | tuple:
        """Logits (batch, words, labels), and the loss where labels (batch, words; -100 skipped) are given."""
        output = self.xling(
            input_ids,
            attention_mask,
            token_type_ids,
            inputs_embeds,
            language_ids,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
        )
        logits = self.classifier(self.dropout(output.last_hidden_state))
        loss = None if labels is None else self.loss_function(logits, labels, self.config)
        result = TokenClassifierOutput(loss, logits, output.hidden_states, output.attentions)
        return result.to_tuple() if return_dict is False else result
