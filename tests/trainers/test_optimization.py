"""What each part of the model is trained with: its learning rate, the user's own optimiser, other optimisers."""

import pytest
import torch

from tests.conftest import make_tokenizer
from tests.trainers.test_trainer import PAIRS, arguments, fresh_model
from xling_align.modeling_xling import XLingAlignForPreTraining
from xling_align.trainers import XLingAlignTrainer
from xling_align.trainers.pretrain import MaskedLMTrainer

WORDS = "encoder.embeddings.word_embeddings.weight"


def trained(folder, **settings) -> dict[str, bool]:
    """Which weights two steps moved."""
    model = fresh_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    args = arguments(folder, max_steps=2, save_strategy="no", bf16=False, **settings)
    XLingAlignTrainer(model, args, PAIRS, processing_class=make_tokenizer()).train()
    return {name: not torch.equal(value, before[name]) for name, value in model.state_dict().items()}


@pytest.mark.parametrize(
    ("flag", "still", "moved"),
    [
        ("embedding_learning_rate", WORDS, "sentence_fusion.dense.weight"),
        ("head_learning_rate", "sentence_fusion.dense.weight", WORDS),
    ],
)
def test_a_learning_rate_of_nothing_moves_nothing(tmp_path, flag, still, moved):
    changed = trained(tmp_path, **{flag: 0.0})
    assert changed[moved] and not changed[still]
    assert trained(tmp_path)[still]


def test_a_second_trainer_of_a_model_trains_what_the_first_did_not_reach_and_not_what_the_user_froze(tmp_path):
    model = XLingAlignForPreTraining.from_base(fresh_model())
    model.get_input_embeddings().requires_grad_(False)
    every = {name for name, parameter in model.named_parameters() if parameter.requires_grad}

    def trained_by(losses: list[str], **settings) -> set[str]:
        args = arguments(tmp_path, losses=losses, balance="fixed", save_strategy="no", **settings)
        XLingAlignTrainer(model, args, PAIRS, processing_class=make_tokenizer())
        return {name for name, parameter in model.named_parameters() if parameter.requires_grad}

    few = trained_by(["inter", "language"], language_loss="alternating")
    assert not any(part in name for name in few for part in ("word_fusion", "lm_head", "discriminator"))
    assert trained_by(["inter", "language", "mlm"]) == every
    assert trained_by(["inter", "language"], language_loss="alternating") == few


@pytest.mark.parametrize("trainer", [XLingAlignTrainer, MaskedLMTrainer])
def test_an_optimiser_that_the_user_gives_keeps_its_groups(tmp_path, trainer):
    model = XLingAlignForPreTraining.from_base(fresh_model())
    own = torch.optim.SGD([model.xling.get_input_embeddings().weight], lr=0.125)
    schedule = torch.optim.lr_scheduler.ConstantLR(own, factor=1.0)
    args = arguments(tmp_path, max_steps=1)
    made = trainer(model, args, PAIRS, processing_class=make_tokenizer(), optimizers=(own, schedule))
    assert made.create_optimizer() is own
    assert [(len(group["params"]), group["lr"]) for group in own.param_groups] == [(1, 0.125)]
    assert not own._optimizer_step_post_hooks


@pytest.mark.parametrize("optimiser", ["adafactor", "sgd"])
def test_optimisers_without_second_moments_train_words_too(tmp_path, optimiser):
    assert trained(tmp_path, optim=optimiser, losses=["inter", "mlm"], word_share=1.0)[WORDS]
