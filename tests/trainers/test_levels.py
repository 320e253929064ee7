"""The levels together: every loss is there, an ablation takes exactly its own out, and nothing leaks."""

import pytest
import torch
from transformers import AutoModel

from tests.conftest import LANGUAGES, encoder_config, make_tokenizer
from tests.trainers.test_trainer import PAIRS, StopAt, arguments, fresh_model, one_step
from xling_align.modeling_xling import InputError, XLingAlignForPreTraining, XLingAlignModel
from xling_align.trainers import XLingAlignTrainer
from xling_align.trainers.adaptive.balance import LossBalance
from xling_align.trainers.arguments import LOSSES
from xling_align.trainers.gradients import gradient_figures
from xling_align.trainers.levels import Step, chosen_losses
from xling_align.trainers.objectives import language_confusion, reversal_strength

ALL = ["language", "inter", "intra", "momentum", "mlm", "tlm", "distribution"]


def trainer_of(folder, **settings) -> XLingAlignTrainer:
    return XLingAlignTrainer(fresh_model(), arguments(folder, **settings), PAIRS, processing_class=make_tokenizer())


def test_every_loss_is_logged_under_its_name_and_falls(tmp_path):
    settings = {"losses": ALL, "word_share": 1.0, "max_steps": 60, "logging_steps": 10, "gradient_steps": 10}
    trainer = trainer_of(tmp_path, save_strategy="no", language_loss="confusion", learning_rate=3e-3, **settings)
    trainer.train()
    logs = [log for log in trainer.state.log_history if "loss" in log]
    for name in set(ALL) - {"language", "momentum"}:  # an adversary and a growing queue have no reason to fall
        assert logs[-1][f"loss_{name}"] < logs[0][f"loss_{name}"], name
    assert all(torch.tensor(list(log.values())).isfinite().all() for log in logs)
    assert {f"weight_{name}" for name in ALL} | {f"loss_{name}" for name in ALL} <= logs[0].keys()
    assert {"gradient_language", "gradient_sentence", "gradient_word", "cosine_sentence_word"} <= logs[0].keys()


def test_fixed_weights_and_the_parts_of_the_language_loss_are_logged(tmp_path):
    settings = {"losses": ["language", "inter", "mlm"], "word_share": 1.0, "balance": "fixed", "max_steps": 1}
    for form in ("confusion", "alternating", "gradient_reversal"):
        trainer = trainer_of(tmp_path, language_loss=form, loss_weights={"mlm": 0.5}, save_strategy="no", **settings)
        trainer.train()
        log = trainer.state.log_history[0]
        assert [log[f"weight_{name}"] for name in settings["losses"]] == [1.0, 1.0, 0.5]
        parts = [log.get(f"loss_language_{name}") for name in ("discriminator", "confusion")]
        if form == "gradient_reversal":
            assert parts == [None, None]
        else:
            trained = parts if form == "confusion" else parts[1:]
            assert sum(trained) == pytest.approx(log["loss_language"], abs=2e-5) and all(part > 0 for part in parts)


def test_gradient_norms_are_those_of_both_towers(tmp_path):
    model = XLingAlignModel.from_encoder(encoder_config("bert"), LANGUAGES, target_encoder=encoder_config("bert"))
    model.encoder.requires_grad_(False)  # what is left is the other tower's
    args = arguments(tmp_path, max_steps=1, gradient_steps=1, save_strategy="no", bf16=False)
    trainer = XLingAlignTrainer(model, args, PAIRS, processing_class=make_tokenizer())
    trainer.train()
    assert trainer.state.log_history[0]["gradient_sentence"] > 1e-3


@pytest.mark.parametrize(
    ("without", "left"),
    [
        (["sentence"], ["language", "mlm", "tlm", "distribution"]),
        (["word", "language"], ["inter", "intra", "momentum"]),
        (["intra", "mlm"], ["language", "inter", "momentum", "tlm", "distribution"]),
        (["afm"], ALL),
    ],
)
def test_an_ablation_takes_out_a_loss_or_a_level(tmp_path, without, left):
    assert chosen_losses(arguments(tmp_path, losses=ALL, without=without)) == left
    assert set(ALL) == set(LOSSES)


def test_an_ablated_loss_leaves_the_others_as_they_are(tmp_path):
    def losses(**settings) -> dict:
        trainer = trainer_of(
            tmp_path, losses=["inter", "intra", "distribution"], word_share=1.0, bf16=False, **settings
        )
        trainer.model.eval()
        return trainer.level_losses(trainer.model, next(iter(trainer.get_train_dataloader())))[0]

    torch.manual_seed(0)
    whole, part = losses(), losses(without=["intra"])
    assert part.keys() == {"inter", "distribution"}
    assert torch.equal(part["inter"], whole["inter"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"balance_learning_rate": -1.0}, "--balance_learning_rate is -1.0; it must be at least 0"),
        ({"discriminator_learning_rate": -1.0}, "--discriminator_learning_rate is -1.0"),
        ({"head_learning_rate": -1.0}, "--head_learning_rate is -1.0"),
        ({"momentum": 2.0}, "--momentum is 2.0; it must be between 0 and 1"),
        ({"smoothing": -1.0}, "--smoothing is -1.0; it must be between 0 and 1"),
        ({"margin": float("nan")}, "--margin is nan; it must be between 0 and 2"),
        ({"loss_weights": {"mlm": -1}}, "--loss_weights gives mlm -1.0"),
        ({"loss_weights": '{"mlm": NaN}'}, "--loss_weights gives mlm nan"),
        (
            {"mixup": True, "per_device_train_batch_size": 1},
            "--per_device_train_batch_size is 1; it must be at least 2",
        ),
    ],
)
def test_settings_out_of_range_are_one_line(tmp_path, settings, message):
    with pytest.raises(InputError, match=message) as refused:
        arguments(tmp_path, **settings)
    assert "\n" not in str(refused.value)


def test_one_pair_alone_is_not_joined_with_another(tmp_path):
    trainer = trainer_of(tmp_path, losses=["momentum"], mixup=True, bf16=False)
    batch = trainer.data_collator([trainer.train_dataset[0]])
    assert trainer.compute_loss(trainer.model, trainer._prepare_inputs(batch)).isfinite()


def test_taking_all_losses_out_is_refused(tmp_path):
    with pytest.raises(InputError, match="no loss is left"):
        trainer_of(tmp_path, losses=["inter"], without=["sentence"])


@pytest.mark.parametrize(
    "forms",
    [
        {"language_loss": "gradient_reversal", "balance": "fixed"},
        {"language_loss": "confusion", "balance": "fixed"},
        {"language_loss": "alternating", "balance": "fixed", "warmup_steps": 0},
        {"losses": ["inter", "intra", "momentum", "tlm", "distribution"], "mixup": True}
        | {"distribution_loss": "per_token", "inter_loss": "paper", "intra_loss": "paper", "balance": "loss"},
    ],
)
def test_two_processes_give_the_gradient_of_one_for_all_losses(tmp_path, forms):
    settings = {
        "losses": ["language", "inter", "intra", "momentum", "mlm", "distribution"],
        "word_share": 1.0,
        **forms,
    }
    one, two = (one_step(tmp_path / str(count), count, settings) for count in (1, 2))
    assert one["gradient"].keys() == two["gradient"].keys()
    for name, gradient in one["gradient"].items():
        torch.testing.assert_close(two["gradient"][name], gradient, atol=2e-6, rtol=1e-5, msg=name)


@pytest.mark.parametrize(
    "settings", [{"losses": ALL}, {"losses": ALL, "language_loss": "alternating", "balance": "level", "mixup": True}]
)
def test_stop_and_resume_gives_bitwise_the_same_weights_with_all_losses(tmp_path, settings):
    def run(folder: str, callbacks=(), resume=None) -> dict:
        args = arguments(tmp_path / folder, max_steps=8, save_steps=4, seed=3, queue_size=16, **settings)
        trainer = XLingAlignTrainer(
            fresh_model(), args, PAIRS, processing_class=make_tokenizer(), callbacks=list(callbacks)
        )
        trainer.train(resume_from_checkpoint=resume)
        return trainer.model.state_dict()

    whole = run("whole")
    run("halves", [StopAt(4)])
    resumed = run("halves", resume=True)
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert whole["loss_balance.started"].all()


def test_a_checkpoint_keeps_the_training_heads_and_the_saved_model_leaves_them_out(tmp_path):
    settings = {"losses": ["inter", "mlm"], "word_share": 1.0, "temperature": "learnable"}
    trainer = trainer_of(tmp_path / "run", max_steps=2, save_steps=2, **settings)
    trainer.train()
    trainer.save_model(str(tmp_path / "model"))
    again, report = AutoModel.from_pretrained(tmp_path / "run" / "checkpoint-2", output_loading_info=True)
    assert type(again).__name__ == "XLingAlignModel"
    assert not report["missing_keys"] and not report["unexpected_keys"]
    saved = XLingAlignForPreTraining.from_pretrained(tmp_path / "run" / "checkpoint-2")
    assert torch.equal(saved.lm_head.dense.weight, trainer.model.lm_head.dense.weight)
    _, report = AutoModel.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]


def step_with(trainer: XLingAlignTrainer, targets: list[str]) -> tuple[Step, dict]:
    """A batch whose sources stay while its targets are given, encoded without dropout."""
    batch = next(iter(trainer.get_train_dataloader()))
    sources = batch["input_ids"][: len(targets)]
    ids = make_tokenizer()(targets, padding="max_length", max_length=sources.shape[1], return_tensors="pt")
    inputs = {
        "input_ids": torch.cat([sources, ids["input_ids"]]),
        "attention_mask": torch.cat([batch["attention_mask"][: len(targets)], ids["attention_mask"]]),
        "language_ids": batch["language_ids"],
    }
    rows = torch.arange(2 * len(targets))
    return Step(trainer.model, inputs, batch["pair_ids"], rows, trainer.encode(trainer.model, inputs, rows)), inputs


def test_the_words_that_predict_a_translation_have_not_seen_it(tmp_path):
    """Word distribution: the source's word states are the same whatever the target says; not so for MLM's partner."""
    trainer = trainer_of(tmp_path, losses=["distribution"], word_share=1.0, bf16=False)
    trainer.model.eval()
    torch.nn.init.normal_(trainer.base.word_fusion.dense.weight)  # a fusion that does something
    one, _ = step_with(trainer, ["guten morgen"] * 4)
    other, _ = step_with(trainer, ["bonjour rot grün"] * 4)
    own = one.encoded.word_rows < 4
    torch.testing.assert_close(one.encoded.words[own], other.encoded.words[other.encoded.word_rows < 4])
    assert not torch.equal(one.encoded.pooler_output[4:], other.encoded.pooler_output[4:])


def test_masked_words_learn_from_the_translation_through_its_sentence_vector(tmp_path):
    trainer = trainer_of(tmp_path, losses=["mlm"], word_share=1.0, bf16=False)
    trainer.model.eval()
    torch.nn.init.normal_(trainer.base.word_fusion.dense.weight)
    step, _ = step_with(trainer, ["guten morgen"] * 4)
    step.rows = torch.arange(4)  # sources alone are masked
    step.encoded.pooler_output.retain_grad()
    trainer.word_level.masked = lambda ids: (ids, ids == ids)
    trainer.word_level.mlm(step).backward()
    gradient = step.encoded.pooler_output.grad
    assert gradient[4:].abs().sum() > 0
    assert gradient[:4].abs().sum() == 0  # never the same sentence unmasked beside its masked copy


def test_the_balance_starts_where_its_gradient_is_zero_and_stays_within_its_limits():
    losses = {"inter": torch.tensor(3.0), "mlm": torch.tensor(8.0), "language": torch.tensor(1.5)}
    balance = LossBalance({"inter": "inter", "mlm": "mlm"}, {"language": 0.5})
    balance.start(losses)
    total = balance(losses)
    total.backward()
    torch.testing.assert_close(balance.log_variance.grad, torch.zeros(2))
    expected = 0.5 * 1.5 + (0.5 + torch.tensor(6.0).log() / 2) + (0.5 + torch.tensor(16.0).log() / 2)
    torch.testing.assert_close(total, expected)
    assert balance.weight("mlm").item() == pytest.approx(1 / 16)
    with torch.no_grad():
        balance.log_variance.fill_(9.0)
    balance.clamp()
    assert balance.log_variance.tolist() == [5.0, 5.0]


def test_a_loss_of_zero_does_not_start_its_weight():
    balance = LossBalance({"tlm": "tlm"})
    balance.start({"tlm": torch.tensor(0.0)})
    assert balance.log_variance.item() == 0
    balance.start({"tlm": torch.tensor(2.0)})
    assert balance.log_variance.item() == pytest.approx(torch.tensor(4.0).log().item())


def test_a_reversed_gradient_never_gets_a_learned_weight(tmp_path):
    assert "language" not in trainer_of(tmp_path, losses=["language", "inter", "intra"]).balance.groups
    fooled = trainer_of(tmp_path, losses=["language", "inter", "intra"], language_loss="confusion")
    assert fooled.balance.groups == {"language": "language", "inter": "inter", "intra": "intra"}


def test_gradient_figures_are_norms_and_cosines():
    weight = torch.nn.Parameter(torch.zeros(2))
    levels = {"sentence": weight @ torch.tensor([3.0, 4.0]), "word": weight @ torch.tensor([0.0, 2.0])}
    figures = gradient_figures(levels, [weight])
    assert figures["gradient_sentence"] == pytest.approx(5)
    assert figures["cosine_sentence_word"] == pytest.approx(0.8)


def language_gradients(trainer: XLingAlignTrainer) -> tuple[torch.Tensor, torch.Tensor, Step]:
    """Gradients of the language level at the language states and at the discriminator's last layer."""
    trainer.model.eval()
    torch.nn.init.normal_(trainer.model.discriminator.out.weight)
    step, _ = step_with(trainer, ["guten morgen"] * 4)
    step.encoded.language_state = step.encoded.language_state.detach().requires_grad_()
    trainer.language_level(step).backward()
    return step.encoded.language_state.grad, trainer.model.discriminator.out.weight.grad, step


def test_gradient_reversal_turns_round_what_the_encoder_gets(tmp_path):
    trainer = trainer_of(tmp_path, losses=["language"], bf16=False)
    trainer.language_level.progress = lambda: 1.0
    reversed_gradient, to_discriminator, step = language_gradients(trainer)
    states = step.encoded.language_state.detach().requires_grad_()
    head = trainer.model.discriminator
    hidden = torch.nn.functional.gelu(head.dense(states))
    loss = torch.nn.functional.cross_entropy(head.out(hidden), step.inputs["language_ids"])
    plain, plain_out = torch.autograd.grad(loss, [states, head.out.weight])
    torch.testing.assert_close(reversed_gradient, -reversal_strength(1.0) * plain)
    torch.testing.assert_close(to_discriminator, plain_out)


def test_confusion_pulls_the_states_to_where_the_discriminator_cannot_tell(tmp_path):
    trainer = trainer_of(tmp_path, losses=["language"], bf16=False, language_loss="confusion")
    gradient, _, step = language_gradients(trainer)
    labels = step.inputs["language_ids"]
    seen = torch.zeros(4, dtype=torch.bool).index_fill(0, labels, True)
    states = step.encoded.language_state.detach()

    def confusion(at: torch.Tensor) -> float:
        return language_confusion(trainer.model.discriminator(at), seen).item()

    assert confusion(states - 1e-2 * gradient) < confusion(states)


def test_an_alternating_discriminator_steps_first_and_leaves_no_gradient(tmp_path):
    trainer = trainer_of(tmp_path, losses=["language", "inter"], bf16=False, language_loss="alternating")
    trainer.model.train()
    step, _ = step_with(trainer, ["guten morgen"] * 4)
    before = trainer.model.discriminator.out.weight.clone()
    trainer.language_level(step).backward()
    assert not torch.equal(trainer.model.discriminator.out.weight, before)
    assert trainer.model.discriminator.out.weight.grad is None
    assert "discriminator" not in str([name for name, p in trainer.model.named_parameters() if p.requires_grad])


def test_a_loss_that_is_not_known_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(InputError, match="did you mean 'intra'"):
        arguments(tmp_path, losses=["intro"])
    with pytest.raises(InputError, match="loss_weights"):
        arguments(tmp_path, loss_weights='{"mlm": "much"}')
