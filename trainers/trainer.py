"""`XLingAlignTrainer`: a `Trainer` that aligns the two sides of translation pairs."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, Trainer

from xling_align.modeling_xling import (
    InputError,
    XLingAlignConfig,
    XLingAlignForPreTraining,
    XLingAlignModel,
    XLingAlignPreTrainedModel,
    limit_tokenizer,
)

from .adapters import ADAPTER_FILE, adapter_weights, merged_weights
from .adaptive.balance import LossBalance, balance_groups
from .adaptive.evidence import KEPT_FROM, pair_evidence
from .adaptive.policies import Policies
from .arguments import LEVELS, XLingAlignTrainingArguments, read_weights
from .callbacks import BetweenSteps, LanguageMeans, LogMeans
from .checkpoints import check_same_model, last_complete_checkpoint
from .checks import check_finite
from .data.batches import LengthBucketSampler, PairCollator, eval_size
from .data.monolingual import MonolingualTexts
from .data.resources import resource_plan, tell_plan
from .data.tokenized import TokenizedPairs, TokenizedTexts, tokenize_pairs
from .distributed import mean_over_processes
from .fast_cpu import fast_on_cpu
from .gradients import gradient_figures
from .levels import (
    EncodedPairs,
    LanguageLevel,
    MomentumContrast,
    Step,
    WordLevel,
    chosen_losses,
    encode_pairs,
    level_of,
    reads_texts,
    sentence_losses,
)
from .optimization import couple_moments, parameter_groups, rate_share, train_only

logger = logging.getLogger(__name__)

POLICY_FILE = "policies.pt"
NO_SCORES = "--pair_weights scores reads a column `score`, and the pairs have none; write it with xling score FILE"
NO_QUEUE = "--monolingual_files feeds the queue of momentum contrast; add momentum to --losses"


class XLingAlignTrainer(Trainer):
    """Aligns an `XLingAlignModel` on translation pairs, by the losses of `args.losses`.

    Sources and translations go through the encoder in one forward pass; the batches are of like length and hold each
    meaning once, or several times for multi_positive; over several processes the negatives are those of all of them,
    with the exact gradient.

    Args:
        model: The model. An `XLingAlignModel` gets the heads that the losses need; `save_model` leaves them out again.
        args: Training arguments.
        train_dataset: A `datasets.Dataset` (or any iterable of dicts) with columns `source`, `target`,
            `source_language`, `target_language` and, if known, `pair_id`; or `TokenizedPairs`.
        eval_dataset: The same, or a dict of such by name, for `eval_loss`.
        processing_class: The tokenizer.
        monolingual: Single sentences, which join the negatives of momentum contrast.
        **kwargs: As `Trainer`.

    Raises:
        InputError: Pairs that can't be used, too few for a batch, without the scores that are to weigh them, or single
            sentences that no loss reads.
    """

    loss_is_scaled_for_ga = False
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
        monolingual: MonolingualTexts | None = None,
        **kwargs,
    ):
        if processing_class is None:
            raise InputError("the trainer needs the tokenizer; give processing_class=tokenizer")
        self.args, self.monolingual = args, monolingual
        self.language_means, self.means = LanguageMeans(), LogMeans()
        limit_tokenizer(processing_class, model.config)

        def tokenized(pairs):
            if pairs is None or isinstance(pairs, TokenizedPairs | TokenizedTexts):
                return pairs
            return tokenize_pairs(pairs, processing_class, model.config, args.max_length)

        pairs = self._kept(tokenized(train_dataset), model.config.languages)
        if args.pair_weights == "scores" and isinstance(pairs, TokenizedPairs) and pairs.scores is None:
            raise InputError(NO_SCORES)
        by_name = isinstance(eval_dataset, dict)
        evaluated = {k: tokenized(v) for k, v in eval_dataset.items()} if by_name else tokenized(eval_dataset)
        model = self._with_heads(model)
        self.base = getattr(model, "xling", model)  # pyright: ignore[reportAttributeAccessIssue]
        self._set_up_losses(model, processing_class)
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
            self.train_sampler = self._sampler(pairs, args.train_batch_size, args.seed, args.sampling_temperature)
            self.add_callback(BetweenSteps(self))
        for one in filter(None, evaluated.values() if isinstance(evaluated, dict) else [evaluated]):
            self._eval_size(one)  # a set too small shows before the training
        if isinstance(pairs, TokenizedPairs):
            self._tell_plan(pairs)

    def _kept(self, pairs: Any, languages: list[str]) -> Any:
        """The pairs less those that the evidence speaks against, whose numbers are remembered."""
        self.kept_pairs = None
        if not self.args.pair_evidence or not isinstance(pairs, TokenizedPairs):
            return pairs
        kept = pair_evidence(pairs) >= KEPT_FROM
        self.kept_pairs, targets = np.flatnonzero(kept), pairs.languages[1::2]
        shares = ", ".join(f"{languages[row - 1]} {kept[targets == row].mean():.1%}" for row in np.unique(targets))
        logger.info("pair evidence: %s of %s pairs are kept (%s)", f"{kept.sum():,}", f"{len(kept):,}", shares)
        return pairs.take(self.kept_pairs)

    def _with_heads(self, model: XLingAlignPreTrainedModel) -> XLingAlignPreTrainedModel:
        """The model, with the heads for training if a loss needs them."""
        self.losses = chosen_losses(self.args)
        if not self.losses:
            raise InputError("no loss is left to train; --without takes all of --losses out")
        learned = self.args.temperature == "learnable" or balance_groups(self.losses, self.args)
        if set(self.losses) <= {"inter", "intra"} and not learned or not isinstance(model, XLingAlignModel):
            return model
        return XLingAlignForPreTraining.from_base(model)

    def _set_up_losses(self, model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
        """Make what the losses need, and freeze what none of them reaches."""
        args, names = self.args, set(self.losses)
        word, plain = names & set(LEVELS["word"]), self.base.config.language_token == "none"
        read = {
            "word_fusion": word,
            "lm_head": word,
            "discriminator": "language" in names and args.language_loss != "alternating",  # has its own optimiser
            "projection": names & set(LEVELS["sentence"]),
            "sentence_fusion": plain or names - {"language"},
            "language": not plain or self.base.sentence_fusion is not None,
        }
        train_only(model, lambda name: all(read.get(part, True) for part in name.split(".")))
        self.language_level = self.word_level = self.momentum_contrast = None
        if "language" in names:
            self.language_level = LanguageLevel(args, model, self.progress, lambda: rate_share(self.optimizer))
        if word:
            self.word_level = WordLevel(self.losses, args, model, tokenizer)
        if self.monolingual is not None and "momentum" not in names:
            raise InputError(NO_QUEUE)
        if "momentum" in names:
            cls, pad = tokenizer.cls_token_id, int(tokenizer.pad_token_id)  # pyright: ignore[reportArgumentType]
            self.momentum_contrast = MomentumContrast(args, model, cls, pad, self.monolingual)  # pyright: ignore
        self.balance = LossBalance(balance_groups(self.losses, args), read_weights(args.loss_weights))
        if self.balance.names:  # its parameters are trained and saved with the model's
            model.add_module("loss_balance", self.balance)
        self.policies = Policies(args, len(model.config.languages) + 1, self.progress)
        if args.temperature == "learnable":
            model.add_module("temperature", self.policies.temperature)

    def _tell_plan(self, pairs: TokenizedPairs) -> None:
        """Log each language's pairs and what is done about them, and take few pairs as they are."""
        args, config = self.args, self.base.config
        plans = resource_plan(pairs, config, args.sampling_temperature)
        tell_plan(plans, None if self.policies.confidence is None else args.few_pairs)
        self.policies.trust(config.language_id(plan.language) for plan in plans if plan.pairs < args.few_pairs)

    def progress(self) -> float:
        """Share of the training that is done."""
        return self.state.global_step / max(self.state.max_steps, 1)

    def _collator(self, tokenizer: PreTrainedTokenizerBase, config: XLingAlignConfig):
        pad, scored = int(tokenizer.pad_token_id), self.args.pair_weights == "scores"  # pyright: ignore
        return PairCollator(pad, max_length=config.max_position_embeddings, with_scores=scored)

    def _sampler(
        self, pairs: TokenizedPairs | TokenizedTexts, batch_size: int, seed: int, temperature: float = 1.0
    ) -> LengthBucketSampler:
        groups = pairs.groups if isinstance(pairs, TokenizedPairs) else None
        size = batch_size * self.args.world_size
        together = groups is not None and self.args.inter_loss == "multi_positive"
        return LengthBucketSampler(pairs.lengths, pairs.pair_ids, size, seed, groups, temperature, together)

    def _get_train_sampler(self, train_dataset=None):
        return self.train_sampler

    def _get_eval_sampler(self, eval_dataset: TokenizedPairs):  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._sampler(eval_dataset, self._eval_size(eval_dataset), 0)

    def _eval_size(self, pairs: TokenizedPairs | TokenizedTexts) -> int:
        return eval_size(pairs.pair_ids, self.args.eval_batch_size, self.args.world_size)

    def _get_dataloader(self, dataset, description: str, batch_size: int, *args, is_training: bool = False, **kwargs):
        if not is_training:
            batch_size = self._eval_size(dataset)
        return super()._get_dataloader(dataset, description, batch_size, *args, is_training=is_training, **kwargs)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Make the optimiser, with the groups of `parameter_groups`; one that the user gave stays as it is.

        Args:
            model: As `Trainer.create_optimizer`.

        Returns:
            The optimiser.
        """
        given, optimizer = self.optimizer, super().create_optimizer(model)
        if given is not None:
            return optimizer
        model = self.model if model is None else model
        words = [words for tower in self.base.towers for words in tower.get_input_embeddings().parameters()]
        optimizer.param_groups.clear()
        for group in parameter_groups(model, self.args, words, self.get_decay_parameter_names(model)):
            optimizer.add_param_group(group)
        if self.word_level is not None:
            couple_moments(optimizer, self.base.get_input_embeddings().weight)
        return optimizer

    def encode(self, model: nn.Module, inputs: dict, word_rows: Tensor | None = None) -> EncodedPairs:
        """Representations of a batch's 2N rows, as `encode_pairs`."""
        return encode_pairs(self.base, model, inputs, self.args.row_groups or 1, word_rows)

    def level_losses(self, model: nn.Module, inputs: dict) -> tuple[dict[str, Tensor], EncodedPairs]:
        """Every loss that is on, of one batch of 2N rows.

        Args:
            model: The model, possibly wrapped.
            inputs: A batch of `PairCollator`.

        Returns:
            Scalars by name, and the representations; those of no row if nothing reads them.
        """
        inputs = dict(inputs)
        pair_ids, scores = inputs.pop("pair_ids"), inputs.pop("scores", None)
        rows = pair_ids[:0] if self.word_level is None else self.word_level.draw(len(pair_ids)).to(pair_ids.device)
        if self.policies.with_state() or reads_texts(self.losses, self.args, self.base):
            encoded = self.encode(model, inputs, rows if "distribution" in self.losses else None)
        else:
            encoded = EncodedPairs.none(inputs["language_ids"], self.base.config.hidden_size)
        step = Step(model, inputs, pair_ids, rows, encoded, scores)
        if model.training:
            self.means.add(self.policies.observe(step))
        losses: dict[str, Tensor] = {}
        if self.language_level is not None:
            losses["language"] = self.language_level(step)
        losses |= sentence_losses(step, self.losses, self.args, self.policies)
        if self.momentum_contrast is not None:
            losses["momentum"] = self.momentum_contrast(step)
        if self.word_level is not None:
            losses |= self.word_level(step)
        return losses, encoded

    def compute_loss(
        self, model: nn.Module, inputs: dict, return_outputs: bool = False, num_items_in_batch: Tensor | None = None
    ):
        """The loss of one batch of 2N rows.

        Args:
            model: The model, possibly wrapped.
            inputs: A batch of `PairCollator`.
            return_outputs: Whether to return the representations as well.
            num_items_in_batch: Not used; the loss is a mean over the batch.

        Returns:
            The loss, or the loss and the representations.
        """
        losses, encoded = self.level_losses(model, inputs)
        check_finite(losses, self.state.global_step)
        if model.training:
            self.balance.start({name: mean_over_processes(value.detach()) for name, value in losses.items()})
            self.language_means.add(encoded.language_ids, encoded.language_state, len(self.model.config.languages) + 1)
            self._note(losses)
        loss = self.balance(losses)
        return (loss, encoded) if return_outputs else loss

    def _note(self, losses: dict[str, Tensor]) -> None:
        """Keep what the next log shows: losses with their parts and weights, the levels' gradients."""
        self.means.add(self.policies.figures())
        if len(losses) > 1:
            self.means.add({f"loss_{name}": value.detach() for name, value in losses.items()})
            self.means.add({f"weight_{name}": self.balance.weight(name) for name in losses})
        if self.language_level is not None:
            self.means.add({f"loss_language_{name}": value for name, value in self.language_level.parts.items()})
        every = self.args.gradient_steps
        if every and self.state.global_step % every == 0:
            levels: dict[str, Tensor] = {}
            for name, value in losses.items():
                weighted, level = self.balance.weight(name) * value, level_of(name)
                levels[level] = levels[level] + weighted if level in levels else weighted
            encoders = (parameter for tower in self.base.towers for parameter in tower.parameters())
            shared = [parameter for parameter in encoders if parameter.requires_grad]
            self.means.add(gradient_figures(levels, shared))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with the means since the last log of what `_note` kept, and each language pair's threshold."""
        if "loss" in logs:
            logs = {**logs, **self.means.taken()}
            if self.policies.confidence is not None:
                logs |= self.policies.confidence.thresholds(("und", *self.base.config.languages))
        super().log(logs, start_time)

    @torch.no_grad()
    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        """Evaluation loss of one batch; there are no labels."""
        with self.compute_loss_context_manager():
            loss = self.compute_loss(model, self._prepare_inputs(inputs))
        return loss, None, None

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False):
        """Save the model without the heads that only training needs; a checkpoint keeps them.

        Args:
            output_dir: Folder; the arguments' `output_dir` unless given.
            _internal_call: As `Trainer`: whether this is a checkpoint.
        """
        whole = self.model
        self.model = whole if _internal_call else self.base
        try:
            super().save_model(output_dir, _internal_call)
        finally:
            self.model = whole

    def with_state(self) -> dict[str, Any]:
        """What has a state besides the model's and the optimiser's."""
        found = self.policies.with_state()
        if self.momentum_contrast is not None:
            found["momentum"] = self.momentum_contrast
        if self.language_level is not None and self.language_level.own_optimizer is not None:
            found["discriminator"] = self.language_level.own_optimizer
        return found

    def _save(self, output_dir: str | None = None, state_dict=None):
        """Save a folder that every Auto class loads; adapters are merged, and kept beside for a later resume."""
        folder = Path(output_dir or self.args.output_dir or "")
        adapters = adapter_weights(self.model)
        super()._save(str(folder), merged_weights(self.model) if adapters else state_dict)
        if adapters:
            save_file(adapters, folder / ADAPTER_FILE)
        states = {name: policy.state_dict() for name, policy in self.with_state().items()}
        if states and folder.name.startswith("checkpoint-"):
            torch.save(states, folder / POLICY_FILE)

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None):
        """Load a checkpoint's weights; with adapters, the layers they stand on stay as they were built."""
        folder = Path(resume_from_checkpoint)
        path, policies = folder / POLICY_FILE, self.with_state()
        states = torch.load(path, map_location=self.args.device, weights_only=True) if path.exists() else {}
        if states.keys() != policies.keys():
            saved, own = (", ".join(sorted(names)) or "none" for names in (states, policies))
            raise InputError(
                f"{folder} was made with other adaptive parts ({saved}; asked for: {own}); "
                "give the same settings, or another --output_dir"
            )
        for name, policy in policies.items():
            policy.load_state_dict(states[name])
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
        with fast_on_cpu(self.model, self.args):
            return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)
