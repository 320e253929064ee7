"""One step of pre-training, its gradient written to a file; run by test_pretrain.py."""

import json
import os
import sys

import torch

from tests.conftest import encoder_config, make_tokenizer
from tests.trainers.one_step import SENTENCES, KeepGradient, step_arguments
from xling_align.modeling_xling import XLingAlignForPreTraining, XLingAlignModel
from xling_align.trainers.data.tokenized import tokenize_texts
from xling_align.trainers.pretrain import MaskedLMTrainer


def masked(ids: torch.Tensor, special_tokens_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """In place of random masks: hide every word, so that the process with the longer texts has more of them."""
    return ids.masked_fill(~special_tokens_mask, 4), ids.masked_fill(special_tokens_mask, -100)


def main(folder: str, batch_size: int, settings: dict) -> None:
    torch.manual_seed(0)
    encoder = encoder_config("bert")
    encoder.hidden_dropout_prob = encoder.attention_probs_dropout_prob = 0.0
    base = XLingAlignModel.from_encoder(encoder, [], language_token="none", fusion_context="none")
    arguments = step_arguments(folder, batch_size, settings)
    keep, tokenizer = KeepGradient(), make_tokenizer()
    texts = tokenize_texts([target for _, target, _ in SENTENCES], tokenizer)
    trainer = MaskedLMTrainer(
        XLingAlignForPreTraining.from_base(base), arguments, texts, processing_class=tokenizer, callbacks=[keep]
    )
    trainer.masker.torch_mask_tokens = masked
    trainer.train()
    keep.save(trainer)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]))
    os._exit(0)  # all is written; on an orderly way out threads of a process group may abort
