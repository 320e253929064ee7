"""Word level: masked words restored (eq. 12), and the translation's words predicted (eq. 13), through the fusion."""

import torch
from torch import Tensor, nn
from transformers import DataCollatorForLanguageModeling, PreTrainedTokenizerBase

from xling_align.modeling_xling import XLingAlignForPreTraining

from ..arguments import LEVELS, XLingAlignTrainingArguments
from ..distributed import count_by_process
from ..objectives import masked_lm, word_distribution, word_distribution_per_token
from .encoded import Step, fused


def padded(texts: list[list[int]], pad: int, limit: int | None, device: torch.device) -> dict[str, Tensor]:
    """Joined texts as a batch in the unknown language; those longer than `limit` tokens are cut."""
    rows = [torch.tensor(text[:limit]) for text in texts]
    ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad).to(device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    mask = (torch.arange(ids.shape[1], device=device) < lengths.unsqueeze(1)).long()
    return {"input_ids": ids, "attention_mask": mask, "language_ids": torch.zeros_like(lengths)}


class WordLevel:
    """MLM, TLM and word distribution over a share of the pairs, drawn anew each step.

    A masked word is fused with the sentence vector of its own masked text and with that of the translation, which is
    whole: to restore words, sentence vectors must carry them across languages. The word distribution reads words fused
    with their own sentence alone, since the translation's vector would give away what is predicted.

    Args:
        names: The losses that are on.
        args: `word_share`, `mlm_probability`, `distribution_loss`, `smoothing`.
        model: Holds the LM head.
        tokenizer: For masking.
    """

    def __init__(
        self,
        names: list[str],
        args: XLingAlignTrainingArguments,
        model: XLingAlignForPreTraining,
        tokenizer: PreTrainedTokenizerBase,
    ):
        self.names = [name for name in LEVELS["word"] if name in names]
        self.args, self.base, self.head = args, model.xling, model.lm_head
        self.cls, self.pad = tokenizer.cls_token_id, int(tokenizer.pad_token_id)  # pyright: ignore
        self.special = torch.tensor(tokenizer.all_special_ids)
        if {"mlm", "tlm"} & set(names):
            self.masker = DataCollatorForLanguageModeling(tokenizer, mlm_probability=args.mlm_probability)

    def draw(self, pairs: int) -> Tensor:
        """Rows that are seen of 2 * `pairs` (rows,), sources first."""
        drawn = torch.randperm(pairs)[: max(1, round(self.args.word_share * pairs))].sort().values
        return torch.cat([drawn, drawn + pairs])

    def is_special(self, ids: Tensor) -> Tensor:
        """True for special tokens, in the shape of `ids`."""
        return torch.isin(ids, self.special.to(ids.device))

    def __call__(self, step: Step) -> dict[str, Tensor]:
        """The losses that are on, by name."""
        return {name: getattr(self, name)(step) for name in self.names}

    def masked(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Ids with some masked, and where (rows, words); drawn here, so that a resumed run draws the same."""
        visible, labels = self.masker.torch_mask_tokens(ids.clone(), special_tokens_mask=self.is_special(ids))
        return visible, labels != -100

    def restored(self, states: Tensor, tokens: Tensor, weights: Tensor | None) -> Tensor:
        """Loss of fused states (positions, dim): its mean over processes is that over all positions, by weight."""
        own = torch.tensor(float(len(tokens)), device=tokens.device) if weights is None else weights.sum()
        return masked_lm(self.head.transform(states), self.head.decoder, tokens, count_by_process(own), weights)

    def mlm(self, step: Step) -> Tensor:
        """Masked words of single sentences (eq. 12), fused with their own and the translation's sentence (eq. 10)."""
        rows, inputs = step.rows, step.inputs
        width = int(inputs["attention_mask"][rows].sum(1).max())
        ids, mask = (inputs[name][rows, :width] for name in ("input_ids", "attention_mask"))
        visible, hidden = self.masked(ids)
        output = step.model(visible, mask, language_ids=inputs["language_ids"][rows], fuse_words=False)
        states = output.word_states[hidden]
        if self.base.word_fusion is not None:
            partners = step.encoded.pooler_output.roll(len(step.pair_ids), 0)[rows]
            sentences = torch.stack([output.pooler_output, partners.to(output.pooler_output)], 1)  # (rows, 2, dim)
            states = fused(self.base, states, sentences[hidden.nonzero()[:, 0]])
        weights = step.row_weights()
        by_position = None if weights is None else weights[hidden.nonzero()[:, 0]]
        return self.restored(states, ids[hidden], by_position)

    def tlm(self, step: Step) -> Tensor:
        """Masked words of source and target in one text (Conneau and Lample 2019)."""
        texts = step.texts(step.rows)
        half = len(texts) // 2
        joined = [
            source + target[target[0] == self.cls :] for source, target in zip(texts[:half], texts[half:], strict=True)
        ]
        batch = padded(joined, self.pad, self.base.config.max_position_embeddings, step.pair_ids.device)
        ids = batch["input_ids"]
        batch["input_ids"], hidden = self.masked(ids)
        output = step.model(**batch, fuse_words=False)
        sentences = output.pooler_output[hidden.nonzero()[:, 0]].unsqueeze(1)
        weights = step.row_weights(half)
        by_position = None if weights is None else weights[hidden.nonzero()[:, 0]]
        return self.restored(fused(self.base, output.word_states[hidden], sentences), ids[hidden], by_position)

    def distribution(self, step: Step) -> Tensor:
        """Each sentence predicts the words of its translation (eq. 13)."""
        rows, words, weights = step.rows, step.encoded.words, step.row_weights()
        ids = step.inputs["input_ids"][rows.roll(len(rows) // 2)]
        counted = step.inputs["attention_mask"][rows.roll(len(rows) // 2)].bool() & ~self.is_special(ids)
        tokens, token_rows = ids[counted], counted.nonzero()[:, 0]
        word_rows = torch.searchsorted(rows, step.encoded.word_rows)
        if self.args.distribution_loss == "per_token":
            states = self.head.transform(words)
            return word_distribution_per_token(
                states, self.head.decoder, word_rows, tokens, token_rows, self.args.smoothing, weights=weights
            )
        counts = word_rows.bincount(minlength=len(rows)).clamp(min=1).unsqueeze(1)
        totals = torch.zeros(len(rows), words.shape[1], device=words.device).index_add(0, word_rows, words.float())
        return word_distribution(
            self.head.transform(totals / counts),
            self.head.decoder,
            tokens,
            token_rows,
            self.args.smoothing,
            weights=weights,
        )
