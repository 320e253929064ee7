"""`XLingAlignTrainer`: a `Trainer` that aligns the two sides of translation pairs."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, Trainer

from xling_align.modeling_xling import (
    InputError,
    XLingAlignConfig,
    XLingAlignForPreTraining,
    XLingAlignModel,
    XLingAlignOutput,
    XLingAlignPreTrainedModel,
    limit_tokenizer,
)

from .adapters import ADAPTER_FILE, adapter_weights, merged_weights
from .adaptive.balance import LossBalance, balance_groups
from .arguments import LEVELS, XLingAlignTrainingArguments, read_weights
from .callbacks import BetweenSteps, LanguageMeans, LogMeans
from .checkpoints import check_same_model, last_complete_checkpoint
from .data.batches import LengthBucketSampler, PairCollator
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
    fused,
    level_of,
    sentence_losses,
)
from .optimization import couple_moments, parameter_groups

logger = logging.getLogger(__name__)

POLICY_FILE = "policies.pt"


class XLingAlignTrainer(Trainer):
    """Aligns an `XLingAlignModel` on translation pairs, by the losses of `args.losses`.

    Sources and translations go through the encoder in one forward pass; the batches are of like length and hold each
    meaning once; over several processes the negatives are those of all of them, with the exact gradient.

    Args:
        model: The model. An `XLingAlignModel` gets the heads that the losses need; `save_model` leaves them out again.
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
        self.args = args
        self.language_means = LanguageMeans()
        self.means = LogMeans()
        limit_tokenizer(processing_class, model.config)

        def tokenized(pairs):
            if pairs is None or isinstance(pairs, TokenizedPairs | TokenizedTexts):
                return pairs
            return tokenize_pairs(pairs, processing_class, model.config, args.max_length)

        pairs = tokenized(train_dataset)
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
            self.train_sampler = self._sampler(pairs, args.train_batch_size, args.seed)
            self.add_callback(BetweenSteps(self))

    def _with_heads(self, model: XLingAlignPreTrainedModel) -> XLingAlignPreTrainedModel:
        """The model, with the heads for training if a loss needs them."""
        self.losses = chosen_losses(self.args)
        if not self.losses:
            raise InputError("no loss is left to train; --without takes all of --losses out")
        if set(self.losses) <= {"inter", "intra"} or not isinstance(model, XLingAlignModel):
            return model
        return XLingAlignForPreTraining.from_base(model)

    def _set_up_losses(self, model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
        """Make what the losses need, and freeze what none of them reaches."""
        args, names = self.args, set(self.losses)
        word, plain = names & set(LEVELS["word"]), self.base.config.language_token == "none"
        read = {
            "word_fusion": word,
            "lm_head": word,
            "discriminator": "language" in names,
            "projection": names & set(LEVELS["sentence"]),
            "sentence_fusion": plain or names - {"language"},
            "language": not plain or self.base.sentence_fusion is not None,
        }
        for name, parameter in model.named_parameters():
            if not all(read.get(part, True) for part in name.split(".")):
                parameter.requires_grad_(False)
        self.language_level = self.word_level = self.momentum_contrast = None
        if "language" in names:
            self.language_level = LanguageLevel(args, model, self.progress)
        if word:
            self.word_level = WordLevel(self.losses, args, model, tokenizer)
        if "momentum" in names:
            self.momentum_contrast = MomentumContrast(args, model, tokenizer.cls_token_id, int(tokenizer.pad_token_id))  # pyright: ignore
        self.balance = LossBalance(balance_groups(self.losses, args), read_weights(args.loss_weights))
        if self.balance.names:  # its parameters are trained and saved with the model's
            model.add_module("loss_balance", self.balance)

    def progress(self) -> float:
        """Share of the training that is done."""
        return self.state.global_step / max(self.state.max_steps, 1)

    def _collator(self, tokenizer: PreTrainedTokenizerBase, config: XLingAlignConfig):
        return PairCollator(int(tokenizer.pad_token_id), max_length=config.max_position_embeddings)  # pyright: ignore

    def _sampler(self, pairs: TokenizedPairs | TokenizedTexts, batch_size: int, seed: int) -> LengthBucketSampler:
        return LengthBucketSampler(pairs.lengths, pairs.pair_ids, batch_size * self.args.world_size, seed)

    def _get_train_sampler(self, train_dataset=None):
        return self.train_sampler

    def _get_eval_sampler(self, eval_dataset: TokenizedPairs):  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._sampler(eval_dataset, min(self.args.eval_batch_size, len(eval_dataset)), 0)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Make the optimiser, with the groups of `parameter_groups`.

        Args:
            model: As `Trainer.create_optimizer`.

        Returns:
            The optimiser.
        """
        optimizer = super().create_optimizer(model)
        model = self.model if model is None else model
        words = [words for tower in self.base.towers for words in tower.get_input_embeddings().parameters()]
        optimizer.param_groups.clear()
        for group in parameter_groups(model, self.args, words, self.get_decay_parameter_names(model)):
            optimizer.add_param_group(group)
        if self.word_level is not None:
            couple_moments(optimizer, self.base.get_input_embeddings().weight)
        return optimizer

    def encode(self, model: nn.Module, inputs: dict, word_rows: Tensor | None = None) -> EncodedPairs:
        """Representations of a batch's 2N rows, in `row_groups` passes.

        Args:
            model: The model, possibly wrapped.
            inputs: A batch of `PairCollator` without `pair_ids`.
            word_rows: Rows whose words are wanted, in rising order; none unless given.

        Returns:
            The representations, in the order of the rows.
        """
        pair_form = self.base.config.fusion_context == "pair"  # a pair's fusion needs both of its rows
        lengths = inputs["attention_mask"].sum(1)
        groups = 1 if pair_form else self.args.row_groups or 1
        parts = lengths.argsort(stable=True).chunk(groups) if groups > 1 else [torch.arange(len(lengths))]
        outputs, words = [], []
        for rows in parts:
            rows = rows.to(lengths.device)
            width = int(lengths[rows].max()) if groups > 1 else inputs["input_ids"].shape[1]
            texts = {name: inputs[name][rows, :width] for name in ("input_ids", "attention_mask")}
            languages = inputs["language_ids"][rows]
            output = model(**texts, language_ids=languages, paired=pair_form, fuse_words=False)
            outputs.append(output)
            if word_rows is not None:
                words.append(self.words_of(output, texts["attention_mask"], rows, word_rows, pair_form))
        back = torch.cat(list(parts)).argsort().to(lengths.device)
        names = ("pooler_output", "language_state", "language_ids", "projection")
        joined = {
            name: None if outputs[0].get(name) is None else torch.cat([output[name] for output in outputs])[back]
            for name in names
        }
        if word_rows is not None:
            states, owners = (torch.cat(side) for side in zip(*words, strict=True))
            order = owners.argsort(stable=True)
            joined |= {"words": states[order], "word_rows": owners[order]}
        return EncodedPairs(**joined)  # pyright: ignore[reportArgumentType]

    def words_of(
        self, output: XLingAlignOutput, mask: Tensor, rows: Tensor, wanted: Tensor, pair_form: bool
    ) -> tuple[Tensor, Tensor]:
        """Fused words of the wanted rows in one pass, first tokens left out.

        Args:
            output: Of the pass.
            mask: 1 for real tokens (rows, words).
            rows: Which rows of the batch the pass had (rows,).
            wanted: Rows of the batch that are wanted.
            pair_form: Fuse with the partner's sentence too, as the paper does.

        Returns:
            Words (words, dim) and the row of each (words,).
        """
        own = torch.isin(rows, wanted.to(rows.device))
        places = (mask.bool() & own.unsqueeze(1))[:, 1:].nonzero()
        states = output.word_states[places[:, 0], places[:, 1] + 1]  # pyright: ignore[reportOptionalSubscript]
        sentence = output.pooler_output
        contexts = [sentence, sentence.roll(len(sentence) // 2, 0)] if pair_form else [sentence]  # pyright: ignore
        return fused(self.base, states, torch.stack(contexts, 1)[places[:, 0]]), rows[places[:, 0]]  # pyright: ignore

    def level_losses(self, model: nn.Module, inputs: dict) -> tuple[dict[str, Tensor], EncodedPairs]:
        """Every loss that is on, of one batch of 2N rows.

        Args:
            model: The model, possibly wrapped.
            inputs: A batch of `PairCollator`.

        Returns:
            Scalars by name, and the representations.
        """
        inputs = dict(inputs)
        pair_ids = inputs.pop("pair_ids")
        rows = pair_ids[:0] if self.word_level is None else self.word_level.draw(len(pair_ids)).to(pair_ids.device)
        encoded = self.encode(model, inputs, rows if "distribution" in self.losses else None)
        step = Step(model, inputs, pair_ids, rows, encoded)
        losses: dict[str, Tensor] = {}
        if self.language_level is not None:
            losses["language"] = self.language_level(step)
        losses |= sentence_losses(step, self.losses, self.args)
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

        Raises:
            FloatingPointError: A loss is not finite.
        """
        losses, encoded = self.level_losses(model, inputs)
        for name, value in losses.items():
            if not value.isfinite():
                raise FloatingPointError(
                    f"the {name} loss is {value.item()} at step {self.state.global_step}; "
                    "lower --learning_rate, or --bf16 false"
                )
        if model.training:
            self.balance.start({name: mean_over_processes(value.detach()) for name, value in losses.items()})
            rows = len(self.model.config.languages) + 1
            self.language_means.add(encoded.language_ids, encoded.language_state, rows)
            self._note(losses)
        loss = self.balance(losses)
        return (loss, encoded) if return_outputs else loss

    def _note(self, losses: dict[str, Tensor]) -> None:
        """Keep what the next log shows: losses, learned weights, the levels' gradients."""
        if len(losses) > 1:
            self.means.add({f"loss_{name}": value.detach() for name, value in losses.items()})
            self.means.add({f"weight_{name}": self.balance.weight(name) for name in self.balance.groups})
        every = self.args.gradient_steps
        if every and self.state.global_step % every == 0:
            levels: dict[str, Tensor] = {}
            for name, value in losses.items():
                weighted, level = self.balance.weight(name) * value, level_of(name)
                levels[level] = levels[level] + weighted if level in levels else weighted
            shared = [parameter for parameter in self.base.encoder.parameters() if parameter.requires_grad]
            self.means.add(gradient_figures(levels, shared))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with the means since the last log of what `_note` kept."""
        if "loss" in logs:
            logs = {**logs, **self.means.taken()}
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

    def policies(self) -> dict[str, Any]:
        """What has a state besides the model's and the optimiser's."""
        found: dict[str, Any] = {}
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
        states = {name: policy.state_dict() for name, policy in self.policies().items()}
        if states and folder.name.startswith("checkpoint-"):
            torch.save(states, folder / POLICY_FILE)

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None):
        """Load a checkpoint's weights; with adapters, the layers they stand on stay as they were built."""
        folder = Path(resume_from_checkpoint)
        if self.policies():
            states = torch.load(folder / POLICY_FILE, map_location=self.args.device, weights_only=True)
            for name, policy in self.policies().items():
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
