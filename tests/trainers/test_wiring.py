"""Each part of a loss does its work in the trainer: what is predicted, what is contrasted, what moves and how fast."""

import pytest
import torch
from torch.nn.functional import normalize

from tests.conftest import make_tokenizer
from tests.trainers.one_step import SENTENCES
from tests.trainers.test_levels import ALL, trainer_of
from tests.trainers.test_trainer import PAIRS, arguments, fresh_model
from xling_align.trainers import XLingAlignTrainer
from xling_align.trainers.levels import Step, sentence_losses
from xling_align.trainers.objectives import PairVectors, multi_positive


def quiet_step(trainer: XLingAlignTrainer, rows: torch.Tensor | None = None) -> Step:
    """A batch as it is encoded without dropout."""
    trainer.model.eval()
    inputs = dict(next(iter(trainer.get_train_dataloader())))
    pair_ids = inputs.pop("pair_ids")
    rows = pair_ids[:0] if rows is None else rows
    return Step(trainer.model, inputs, pair_ids, rows, trainer.encode(trainer.model, inputs, rows))


def test_a_sentence_learns_to_predict_the_words_of_its_translation(tmp_path):
    settings = {"max_steps": 60, "learning_rate": 3e-3, "per_device_train_batch_size": 8, "save_strategy": "no"}
    trainer = trainer_of(tmp_path, losses=["distribution"], word_share=1.0, bf16=False, **settings)
    trainer.train()
    step = quiet_step(trainer, torch.arange(16))
    words, rows = step.encoded.words, step.encoded.word_rows
    means = torch.stack([words[rows == row].mean(0) for row in range(16)])
    scores = trainer.model.lm_head.decoder(trainer.model.lm_head.transform(means))
    for row, text in enumerate(step.texts()):
        own, translation = text[1], step.texts()[(row + 8) % 16][1]
        assert scores[row, translation] > scores[row, own]


def momentum_losses(step: Step, trainer: XLingAlignTrainer, meanings: torch.Tensor) -> torch.Tensor:
    """Loss of each row by its definition: its translation's key against the queue's keys of other meanings."""
    contrast, ids = trainer.momentum_contrast, step.pair_ids.repeat(2)
    output = contrast.encoder(**step.inputs, fuse_words=False)
    queries, keys = normalize(step.encoded.vectors, dim=1), normalize(contrast.vectors(output), dim=1)
    queue = normalize(contrast.queue.negatives()[0], dim=1)
    losses = []
    for row, query in enumerate(queries):
        own = query @ keys[(row + len(step.pair_ids)) % len(keys)]
        others = queue[meanings != ids[row]] @ query
        losses.append(-torch.cat([own.unsqueeze(0), others]).div(trainer.args.momentum_tau).log_softmax(0)[0])
    return torch.stack(losses)


@pytest.mark.parametrize("known", [False, True])
def test_momentum_contrasts_translations_with_earlier_keys_of_other_meanings(tmp_path, known):
    trainer = trainer_of(tmp_path, losses=["momentum"], bf16=False)
    step = quiet_step(trainer)
    meanings = step.pair_ids.repeat(2) if known else torch.full((8,), -1)
    trainer.momentum_contrast.queue.push(torch.randn(8, 32, generator=torch.Generator().manual_seed(3)), meanings)
    torch.testing.assert_close(
        trainer.momentum_contrast(step), momentum_losses(step, trainer, meanings).mean(), atol=1e-5, rtol=1e-5
    )


def test_the_slow_copy_follows_each_step(tmp_path):
    settings = {"momentum": 0.75, "warmup_steps": 0, "max_steps": 1, "save_strategy": "no", "bf16": False}
    start = fresh_model().state_dict()
    trainer = trainer_of(tmp_path, losses=["inter", "momentum"], **settings)
    trainer.train()
    slow, name = trainer.momentum_contrast.encoder.model, "encoder.embeddings.word_embeddings.weight"
    end = trainer.base.state_dict()[name]
    assert not torch.equal(start[name], end)
    torch.testing.assert_close(slow.state_dict()[name], 0.75 * start[name] + 0.25 * end)


def test_tlm_reads_source_and_target_in_one_text(tmp_path):
    trainer = trainer_of(tmp_path, losses=["tlm"], word_share=1.0, mlm_probability=1e-9, bf16=False)
    seen = []
    trainer.model.register_forward_pre_hook(lambda _, __, given: seen.append(given), with_kwargs=True)
    trainer.level_losses(trainer.model, next(iter(trainer.get_train_dataloader())))
    joined = {
        tuple(ids[mask.bool()].tolist())
        for ids, mask in zip(seen[-1]["input_ids"], seen[-1]["attention_mask"], strict=True)
    }
    pairs = {tuple(make_tokenizer()(source, target)["input_ids"]) for source, target, _ in SENTENCES}
    assert len(joined) == 4 and joined < pairs


RATES = {
    "learning_rate": (1e-3, "encoder.encoder.layer.0.output.dense.weight"),
    "embedding_learning_rate": (0.0, "word_embeddings.weight"),
    "head_learning_rate": (3e-3, "lm_head.dense.weight"),
    "discriminator_learning_rate": (4e-3, "discriminator.out.weight"),
    "balance_learning_rate": (5e-3, "loss_balance.log_variance"),
}


@pytest.mark.parametrize("setting", RATES)
def test_each_part_has_its_own_learning_rate(tmp_path, setting):
    rates = {name: rate for name, (rate, _) in RATES.items()}
    trainer = trainer_of(tmp_path, losses=["language", "inter", "mlm"], **rates)
    rate, ending = RATES[setting]
    (parameter,) = [p for name, p in trainer.model.named_parameters() if name.endswith(ending)]
    found = [
        group["lr"] for group in trainer.create_optimizer().param_groups for p in group["params"] if p is parameter
    ]
    assert found == [rate]


def test_a_learned_weight_is_kept_within_its_limits_while_training(tmp_path):
    settings = {"balance_learning_rate": 50.0, "max_steps": 3, "save_strategy": "no", "bf16": False}
    trainer = trainer_of(tmp_path, losses=["inter", "intra"], warmup_steps=0, **settings)
    trainer.train()
    assert trainer.balance.log_variance.abs().max() == 5


def discriminator_steps(trainer: XLingAlignTrainer) -> list[float]:
    """Learning rates of the steps that an alternating discriminator takes while training."""
    rates, optimizer = [], trainer.language_level.own_optimizer
    optimizer.register_step_post_hook(lambda own, *_: rates.append(own.param_groups[0]["lr"]))
    trainer.train()
    return rates


@pytest.mark.parametrize("accumulated", [1, 2])
def test_an_alternating_discriminator_decays_and_steps_once_for_each_step_of_the_encoder(tmp_path, accumulated):
    settings = {"warmup_steps": 0, "max_steps": 4, "discriminator_learning_rate": 4e-3, "save_strategy": "no"}
    settings |= {"gradient_accumulation_steps": accumulated, "per_device_train_batch_size": 2}
    trainer = trainer_of(tmp_path, losses=["language", "inter"], language_loss="alternating", **settings)
    assert discriminator_steps(trainer) == pytest.approx([4e-3, 3e-3, 2e-3, 1e-3])


def test_a_learnable_temperature_of_the_sigmoid_loss_learns_its_bias_too(tmp_path):
    settings = {"warmup_steps": 0, "max_steps": 1, "balance_learning_rate": 0.5, "save_strategy": "no"}
    trainer = trainer_of(tmp_path, inter_loss="sigmoid", temperature="learnable", tau=0.1, **settings)
    assert trainer.policies.temperature.bias.item() == -10
    trainer.train()
    assert trainer.policies.temperature.bias.item() == pytest.approx(-9.5)  # the pairs ask for a higher one
    assert trainer_of(tmp_path, inter_loss="sigmoid").policies.temperature.bias.item() == -10


def test_the_papers_sentence_losses_are_its_sums_over_one_number(tmp_path):
    """Eq. 9: inter and intra, by dot products, both divided by the number of pairs."""
    trainer = trainer_of(tmp_path, losses=["inter", "intra"], inter_loss="paper", intra_loss="paper", bf16=False)
    step = quiet_step(trainer)
    source, target = step.encoded.vectors.chunk(2)
    between, within = source @ target.T, [(side @ side.T).softmax(1) for side in (source, target)]
    inter = -between.log_softmax(1).diag().sum() - between.log_softmax(0).diag().sum()
    intra = -torch.cos(torch.pi / 2 * (within[0] - within[1]).clamp(-1 + 1e-7, 1 - 1e-7)).log().sum()
    losses = sentence_losses(step, trainer.losses, trainer.args, trainer.policies)
    torch.testing.assert_close(losses["inter"], inter / 4)
    torch.testing.assert_close(losses["intra"], intra / 4)


def test_several_positives_share_a_batch_and_are_read_by_their_loss(tmp_path):
    rows = [row | {"pair_id": number // 2} for number, row in enumerate(PAIRS)]
    args = arguments(tmp_path, inter_loss="multi_positive", bf16=False)
    trainer = XLingAlignTrainer(fresh_model(), args, rows, processing_class=make_tokenizer())
    for batch in trainer.get_train_dataloader():
        assert sorted(batch["pair_ids"].unique(return_counts=True)[1].tolist()) == [2, 2]
    step = quiet_step(trainer)
    found = sentence_losses(step, trainer.losses, trainer.args, trainer.policies)["inter"]
    source, target = step.encoded.vectors.chunk(2)
    alone = multi_positive(PairVectors.local(source, target), trainer.args.tau)
    assert not torch.isclose(found, alone)  # the second translation is no negative
    torch.testing.assert_close(found, multi_positive(step.pairs, trainer.args.tau))


@pytest.mark.parametrize(("fusion_context", "passes"), [("none", 1), ("own", 2)])
def test_texts_that_no_loss_reads_are_not_encoded(tmp_path, fusion_context, passes):
    model = fresh_model(language_token="none", fusion_context=fusion_context)
    args = arguments(tmp_path, losses=["mlm"], row_groups=1, max_steps=2, save_strategy="no")
    trainer = XLingAlignTrainer(model, args, PAIRS, processing_class=make_tokenizer())
    seen = []
    trainer.model.register_forward_pre_hook(lambda *_: seen.append(1))
    trainer.train()
    assert len(seen) == 2 * passes


ODD = {
    "as usual": {},
    "bf16": {"bf16": True},
    "paper": {
        "inter_loss": "paper",
        "intra_loss": "paper",
        "distribution_loss": "per_token",
        "language_labels": "source",
    },
    "saturated": {"intra_tau": 1e-4, "language_loss": "confusion", "mixup": True},
}


@pytest.mark.parametrize("settings", ODD.values(), ids=ODD)
def test_words_in_one_language_with_one_hot_similarities_give_finite_losses_and_gradients(tmp_path, settings):
    """One-word sentences of one language pair, with |P - Q| = 1 in eq. 8, through all losses of the trainer."""
    texts = [pair for pair in zip(["sun", "moon", "red", "blue"], ["sonne", "mond", "rot", "blau"], strict=True)]
    rows = [PAIRS[0] | {"source": source, "target": target} for source, target in texts]
    model = fresh_model(projection_dim=8)
    for parameter in model.projection.parameters():
        torch.nn.init.normal_(parameter, std=30.0)
    args = arguments(tmp_path, losses=ALL, word_share=1.0, max_grad_norm=0.0, **{"bf16": False, **settings})
    trainer = XLingAlignTrainer(model, args, rows, processing_class=make_tokenizer())
    for _ in range(2):  # the queue has keys in the second
        batch = next(iter(trainer.get_train_dataloader()))
        trainer.model.zero_grad()
        with trainer.compute_loss_context_manager():
            losses, encoded = trainer.level_losses(trainer.model, batch)
        assert all(value.isfinite() for value in losses.values())
        trainer.balance(losses).backward()
    gradients = [p.grad for p in trainer.model.parameters() if p.grad is not None]
    assert len(gradients) > 20 and all(gradient.isfinite().all() for gradient in gradients)
    shares = [(side @ side.T).softmax(1) for side in encoded.vectors.float().chunk(2)]
    assert (shares[0] - shares[1]).abs().max() > 1 - 1e-6
