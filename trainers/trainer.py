"""`XLingAlignTrainer`: a `Trainer` that aligns the two sides of translation pairs."""

import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch import distributed as dist
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer
from transformers.trainer_utils import get_last_checkpoint

from xling_align.modeling_xling import (
    InputError,
    XLingAlignConfig,
    XLingAlignModel,
    XLingAlignOutput,
    XLingAlignPreTrainedModel,
    limit_tokenizer,
)

from .adapters import ADAPTER_FILE, adapter_weights, merged_weights
from .arguments import XLingAlignTrainingArguments
from .callbacks import BetweenSteps, LanguageMeans
from .data.batches import LengthBucketSampler, PairCollator
from .data.tokenized import TokenizedPairs, TokenizedTexts, tokenize_pairs
from .distributed import gather, rank
from .dropout import QuickDropout
from .objectives import symmetric_infonce

logger = logging.getLogger(__name__)


class XLingAlignTrainer(Trainer):
    """Aligns an `XLingAlignModel` (or a class over it) on translation pairs by symmetric InfoNCE.

    Sources and translations go through the encoder in one forward pass; the batches are of like length and hold each
    meaning once; over several processes the negatives are those of all of them, with the exact gradient.

    Args:
        model: The model.
        args: Training arguments.
        train_dataset: A `datasets.Dataset` (or any iterable of dicts) with columns `source`, `target`,
            `source_language`, `target_language` and, if known, `pair_id`; or `TokenizedPairs`.
        eval_dataset: The same, or a dict of such by name, for `eval_loss`.
        processing_class: The tokenizer.
        **kwargs: As `Trainer`.

    Raises:
        InputError: Pairs that can't be used, or too few for a batch.
    """

    loss_is_scaled_for_ga = False
    unused = ("word_fusion", "lm_head", "discriminator")  # not in the sentence-level loss
    model: XLingAlignPreTrainedModel
    args: XLingAlignTrainingArguments
    base: XLingAlignModel

    def __init__(
        self,
        model: XLingAlignPreTrainedModel,
        args: XLingAlignTrainingArguments,
        train_dataset: Iterable | TokenizedPairs | TokenizedTexts | None = None,
        eval_dataset: Iterable | TokenizedPairs | TokenizedTexts | None = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        **kwargs,
    ):
        if processing_class is None:
            raise InputError("the trainer needs the tokenizer; give processing_class=tokenizer")
        self.base = getattr(model, "xling", model)  # pyright: ignore[reportAttributeAccessIssue]
        self.language_means = LanguageMeans()
        limit_tokenizer(processing_class, model.config)

        def tokenized(pairs):
            if pairs is None or isinstance(pairs, TokenizedPairs | TokenizedTexts):
                return pairs
            return tokenize_pairs(pairs, processing_class, model.config, args.max_length)

        pairs = tokenized(train_dataset)
        by_name = isinstance(eval_dataset, dict)
        evaluated = {k: tokenized(v) for k, v in eval_dataset.items()} if by_name else tokenized(eval_dataset)
        for name, parameter in model.named_parameters():
            if any(part in self.unused for part in name.split(".")):
                parameter.requires_grad_(False)
        super().__init__(
            model=model,
            args=args,
            train_dataset=pairs,
            eval_dataset=evaluated,  # pyright: ignore[reportArgumentType]
            processing_class=processing_class,
            data_collator=self._collator(processing_class, model.config),
            **kwargs,
        )
        if pairs is not None:
            self.train_sampler = self._sampler(pairs, args.train_batch_size, args.seed)
            self.add_callback(BetweenSteps(self))

    def _collator(self, tokenizer: PreTrainedTokenizerBase, config: XLingAlignConfig):
        return PairCollator(int(tokenizer.pad_token_id), max_length=config.max_position_embeddings)  # pyright: ignore

    def _sampler(self, pairs: TokenizedPairs | TokenizedTexts, batch_size: int, seed: int) -> LengthBucketSampler:
        return LengthBucketSampler(pairs.lengths, pairs.pair_ids, batch_size * self.args.world_size, seed)

    def _get_train_sampler(self, train_dataset=None):
        return self.train_sampler

    def _get_eval_sampler(self, eval_dataset: TokenizedPairs):  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._sampler(eval_dataset, min(self.args.eval_batch_size, len(eval_dataset)), 0)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Make the optimiser, the word embeddings in a group of their own if they have their own learning rate.

        Args:
            model: As `Trainer.create_optimizer`.

        Returns:
            The optimiser.
        """
        optimizer = super().create_optimizer(model)
        words = [parameter for parameter in self.base.get_input_embeddings().parameters() if parameter.requires_grad]
        if self.args.embedding_learning_rate and words and len(optimizer.param_groups) == 2:
            apart = {id(parameter) for parameter in words}
            for group in optimizer.param_groups:
                group["params"] = [parameter for parameter in group["params"] if id(parameter) not in apart]
            decay = optimizer.param_groups[0]["weight_decay"]
            settings = {"lr": self.args.embedding_learning_rate, "weight_decay": decay}
            optimizer.add_param_group({"params": words, **settings})
        return optimizer

    def pair_loss(self, output: XLingAlignOutput, pair_ids: Tensor) -> Tensor:
        """Symmetric InfoNCE of one batch, its negatives gathered over all processes.

        Args:
            output: The model's output for 2N rows.
            pair_ids: Meaning of each pair (N,).

        Returns:
            A scalar.
        """
        vectors = output.pooler_output if output.projection is None else output.projection
        source, target = vectors.float().chunk(2)  # pyright: ignore[reportOptionalMemberAccess]
        return symmetric_infonce(
            source,
            target,
            self.args.tau,
            pair_ids,
            gather(source),
            gather(target),
            gather(pair_ids),
            first=rank() * len(source),
        )

    def encode(self, model: nn.Module, inputs: dict) -> XLingAlignOutput:
        """Sentence vectors and language states of a batch's 2N rows, in `row_groups` passes.

        Args:
            model: The model, possibly wrapped.
            inputs: A batch of `PairCollator` without `pair_ids`.

        Returns:
            `pooler_output`, `projection`, `language_ids` and `language_state`, in the order of the rows.
        """
        groups = self.args.row_groups
        if groups == 1 or self.base.config.fusion_context == "pair":  # a pair's fusion needs both of its rows
            return model(**inputs, paired=True, fuse_words=False)
        lengths = inputs["attention_mask"].sum(1)
        parts = lengths.argsort(stable=True).chunk(groups)
        outputs = []
        for rows in parts:
            width = int(lengths[rows[-1]])
            texts = {name: inputs[name][rows, :width] for name in ("input_ids", "attention_mask")}
            outputs.append(model(**texts, language_ids=inputs["language_ids"][rows], fuse_words=False))
        back = torch.cat(parts).argsort()
        names = ("pooler_output", "projection", "language_ids", "language_state")
        kept = [name for name in names if name in outputs[0]]
        joined: dict[str, Any] = {name: torch.cat([output[name] for output in outputs])[back] for name in kept}
        return XLingAlignOutput(**joined)

    def compute_loss(
        self, model: nn.Module, inputs: dict, return_outputs: bool = False, num_items_in_batch: Tensor | None = None
    ):
        """The loss of one batch of 2N rows.

        Args:
            model: The model, possibly wrapped.
            inputs: A batch of `PairCollator`.
            return_outputs: Whether to return the model's output as well.
            num_items_in_batch: Not used; the loss is a mean over the batch.

        Returns:
            The loss, or the loss and the output.

        Raises:
            FloatingPointError: The loss is not finite.
        """
        inputs = dict(inputs)
        pair_ids = inputs.pop("pair_ids")
        output = self.encode(model, inputs)
        loss = self.pair_loss(output, pair_ids)
        if not loss.isfinite():
            raise FloatingPointError(
                f"the loss is {loss.item()} at step {self.state.global_step}; lower --learning_rate, or --bf16 false"
            )
        if model.training:
            rows = len(self.model.config.languages) + 1
            self.language_means.add(output["language_ids"], output["language_state"], rows)
        return (loss, output) if return_outputs else loss

    @torch.no_grad()
    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        """Evaluation loss of one batch; there are no labels."""
        with self.compute_loss_context_manager():
            loss = self.compute_loss(model, self._prepare_inputs(inputs))
        return loss, None, None

    def _save(self, output_dir: str | None = None, state_dict=None):
        """Save a folder that every Auto class loads; adapters are merged, and kept beside for a later resume."""
        folder = Path(output_dir or self.args.output_dir or "")
        adapters = adapter_weights(self.model)
        super()._save(str(folder), merged_weights(self.model) if adapters else state_dict)
        if adapters:
            save_file(adapters, folder / ADAPTER_FILE)

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None):
        """Load a checkpoint's weights; with adapters, the layers they stand on stay as they were built."""
        folder = Path(resume_from_checkpoint)
        if not (folder / ADAPTER_FILE).exists():
            return super()._load_from_checkpoint(resume_from_checkpoint, model)
        weights = {**load_file(folder / "model.safetensors"), **load_file(folder / ADAPTER_FILE)}
        self.model.load_state_dict(weights, strict=False)

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs):
        """Train; `True` goes on from the last complete checkpoint of `output_dir`, if there is one.

        Args:
            resume_from_checkpoint: A checkpoint folder, or True.
            **kwargs: As `Trainer.train`.

        Returns:
            What `Trainer.train` returns.
        """
        if resume_from_checkpoint is True:
            resume_from_checkpoint = last_complete_checkpoint(self.args.output_dir)
        if resume_from_checkpoint:
            check_same_model(Path(resume_from_checkpoint), self.model.config)
        on_cpu = self.args.device.type == "cpu"
        with eager_on_cpu(self.model, self.args), QuickDropout() if on_cpu else nullcontext():
            return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)


@contextmanager
def eager_on_cpu(model: PreTrainedModel, args: XLingAlignTrainingArguments) -> Iterator[None]:
    """Train with eager attention on CPU in bf16: the fused one takes up to twice as long for a step (measured)."""
    chosen = model.config._attn_implementation
    if args.device.type != "cpu" or not args.bf16 or chosen != "sdpa":
        yield
        return
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(chosen)


def last_complete_checkpoint(output_dir: str | None) -> str | None:
    """The newest checkpoint whose state was written to the end; one that a kill cut short is moved aside."""
    folder = Path(output_dir or "")
    while folder.is_dir() and (last := get_last_checkpoint(str(folder))):
        try:
            json.loads((Path(last) / "trainer_state.json").read_text(encoding="utf-8"))
            return last
        except (OSError, ValueError):
            logger.warning("%s is incomplete and was set aside", last)
            Path(last).rename(Path(last).with_name(f"incomplete-{Path(last).name}"))
    return None


def check_same_model(checkpoint: Path, config: XLingAlignConfig) -> None:
    """Refuse a checkpoint of another model.

    Args:
        checkpoint: Folder of the checkpoint.
        config: The config of the model that is to go on from it.

    Raises:
        InputError: There is no checkpoint, or its encoder or languages differ.
    """
    if not (checkpoint / "config.json").is_file():
        raise InputError(f"{checkpoint} holds no checkpoint; name a folder such as outputs/align/checkpoint-500")
    saved = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    encoder, own = saved.get("encoder_config", {}), config.encoder_config.to_dict()
    names = ("model_type", "vocab_size", "hidden_size", "dim", "num_hidden_layers", "n_layers")
    differing = [name for name in names if encoder.get(name) != own.get(name)]
    names = ("languages", "language_token", "fusion_context", "projection_dim")
    differing += [name for name in names if saved.get(name) != getattr(config, name)]
    if differing:
        raise InputError(
            f"{checkpoint} is of another model (its {', '.join(differing)} differ); "
            "name another --output_dir, or give the encoder and languages it was made with"
        )


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
