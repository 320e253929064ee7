"""The adaptive parts inside the trainer: off by default, exact over processes, exact after a stop."""

import numpy as np
import pytest
import torch

from tests.conftest import make_tokenizer
from tests.trainers.test_trainer import PAIRS, StopAt, arguments, fresh_model, one_step
from xling_align.modeling_xling import InputError
from xling_align.trainers import XLingAlignTrainer
from xling_align.trainers.data.monolingual import MonolingualTexts
from xling_align.trainers.data.tokenized import tokenize_texts

# Eight pairs are too few for a default: all of them are filtered, from the first step on.
WEIGHTED = {"pair_weights": "adaptive", "weight_warmup": 0.0, "few_pairs": 0, "weight_z": -0.2}
SCORED = [{**row, "score": 1 + 0.1 * number} for number, row in enumerate(PAIRS)]


def trained(folder, pairs=PAIRS, callbacks=(), resume=None, texts=None, **settings) -> XLingAlignTrainer:
    args = arguments(folder, **{"max_steps": 8, "save_steps": 4, "seed": 3, "queue_size": 16, **settings})
    trainer = XLingAlignTrainer(
        fresh_model(), args, pairs, processing_class=make_tokenizer(), callbacks=list(callbacks), monolingual=texts
    )
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def test_a_resumed_run_goes_on_with_the_next_single_sentences(tmp_path):
    sentences = tokenize_texts([row["target"] for row in PAIRS], make_tokenizer())
    texts = MonolingualTexts(sentences, np.full(len(PAIRS), 2, np.int16), np.arange(100, 100 + len(PAIRS)))
    settings = {"losses": ["inter", "momentum"], "monolingual_share": 0.75, "texts": texts}  # 3 at each step
    whole = trained(tmp_path / "whole", **settings)
    trained(tmp_path / "halves", callbacks=[StopAt(4)], **settings)
    resumed = trained(tmp_path / "halves", resume=True, **settings)
    assert whole.momentum_contrast.texts_seen == resumed.momentum_contrast.texts_seen == 8 * 3
    for name, value in whole.momentum_contrast.queue.state_dict().items():
        assert torch.equal(resumed.momentum_contrast.queue.state_dict()[name], value), name
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name


def logs(trainer: XLingAlignTrainer) -> list[dict]:
    return [log for log in trainer.state.log_history if "loss" in log]


def test_hard_negatives_gathered_from_two_processes_give_the_gradient_of_one(tmp_path):
    settings = {"losses": ["inter", "intra", "momentum", "mlm", "distribution"], "word_share": 1.0, "balance": "fixed"}
    settings |= {"hard_negatives": 3, "monolingual": True, "temperature": "macl", "alignment_regulariser": 0.5}
    one, two = (one_step(tmp_path / str(count), count, {**settings, **WEIGHTED}) for count in (1, 2))
    assert (one["world"], two["world"]) == (1, 2)
    assert one["gradient"].keys() == two["gradient"].keys()
    for name, gradient in one["gradient"].items():
        torch.testing.assert_close(two["gradient"][name], gradient, atol=1e-6, rtol=1e-5, msg=name)
    assert sorted(one["queue"]["pair_ids"].tolist()) == sorted(two["queue"]["pair_ids"].tolist())
    assert set(range(100, 108)) <= set(one["queue"]["pair_ids"].tolist())
    unweighted = one_step(tmp_path / "unweighted", 1, settings)["gradient"]
    assert any(not torch.allclose(unweighted[name], gradient) for name, gradient in one["gradient"].items())


def test_a_queue_that_overflows_within_a_step_is_the_same_on_two_processes(tmp_path):
    """Of two steps of 16 keys and 4 single sentences each, 30 stay: the third step's negatives."""
    settings = {"losses": ["momentum"], "hard_negatives": 3, "monolingual": True, "max_steps": 3, "queue_size": 30}
    settings |= {"monolingual_share": 0.5, "learning_rate": 1e-3}
    one, two = (one_step(tmp_path / str(count), count, settings) for count in (1, 2))
    assert one["queue"]["filled"] == 30 and max(gradient.abs().max() for gradient in one["gradient"].values()) > 1e-3
    for name, gradient in one["gradient"].items():
        torch.testing.assert_close(two["gradient"][name], gradient, atol=1e-5, rtol=1e-3, msg=name)
    assert one["queue"]["pair_ids"].tolist() == two["queue"]["pair_ids"].tolist()
    torch.testing.assert_close(two["queue"]["vectors"], one["queue"]["vectors"], atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize(
    "settings",
    [
        {**WEIGHTED, "temperature": "dynamic", "alignment_regulariser": 1.0, "sampling_temperature": 3.0},
        {**WEIGHTED, "pair_weights": "scores", "temperature": "learnable", "losses": ["inter", "mlm"]},
        {**WEIGHTED, "temperature": "macl", "losses": ["inter", "momentum"], "hard_negatives": 4, "mixup": True},
    ],
)
def test_stop_and_resume_gives_bitwise_the_same_weights_and_policies(tmp_path, settings):
    whole = trained(tmp_path / "whole", SCORED, **settings)
    trained(tmp_path / "halves", SCORED, [StopAt(4)], **settings)
    resumed = trained(tmp_path / "halves", SCORED, resume=True, **settings)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name
    assert whole.policies.with_state().keys() == resumed.policies.with_state().keys()
    assert "confidence" in whole.policies.with_state()
    for name, policy in whole.policies.with_state().items():
        assert str(policy.state_dict()) == str(resumed.policies.with_state()[name].state_dict()), name
    assert logs(whole)[-1]["loss"] == logs(resumed)[-1]["loss"]


@pytest.mark.parametrize(("before", "after"), [({}, WEIGHTED), (WEIGHTED, {}), (WEIGHTED, {"temperature": "dynamic"})])
def test_a_checkpoint_of_other_adaptive_parts_is_refused(tmp_path, before, after):
    trained(tmp_path, SCORED, [StopAt(4)], **before)
    with pytest.raises(InputError, match="made with other adaptive parts"):
        trained(tmp_path, SCORED, resume=True, **after)


def test_threshold_histogram_temperature_and_strength_are_logged(tmp_path):
    trainer = trained(tmp_path, **WEIGHTED, temperature="cosine", alignment_regulariser=1.0)
    log = logs(trainer)[-1]
    shares = [value for name, value in log.items() if name.startswith("pair_weights_")]
    assert len(shares) == 5 and sum(shares) == pytest.approx(1, abs=1e-4)
    assert {"pair_weight", "pairs_dropped", "pair_threshold", "tau", "alignment_strength"} <= log.keys()
    assert log["tau"] < logs(trainer)[0]["tau"]


@pytest.mark.parametrize("pair_weights", ["adaptive", "scores"])
def test_each_language_pairs_threshold_is_logged(tmp_path, pair_weights):
    trainer = trained(tmp_path, SCORED, **{**WEIGHTED, "pair_weights": pair_weights})
    log, config = logs(trainer)[-1], trainer.model.config
    confidence = trainer.policies.confidence
    for code in ("de", "fr"):
        group = torch.tensor([config.language_id("en") * 4 + config.language_id(code)])
        assert log[f"pair_threshold_en-{code}"] == pytest.approx(confidence.border(group)[0].item(), abs=1e-5)
    assert log["pair_threshold_en-de"] != log["pair_threshold_en-fr"]
    assert sum(name.startswith("pair_threshold_") for name in log) == 2  # the model has no pairs of the others


def test_nothing_adaptive_runs_unless_it_is_asked_for(tmp_path):
    trainer = trained(tmp_path, max_steps=1)
    assert trainer.policies.with_state() == {}
    assert not any(name.startswith(("pair", "tau", "alignment")) for name in logs(trainer)[0])


def test_a_learned_temperature_is_trained_and_left_out_of_the_saved_model(tmp_path):
    trainer = trained(tmp_path / "run", temperature="learnable", save_strategy="no", bf16=False)
    assert trainer.policies.temperature().item() != pytest.approx(0.05, abs=1e-4)
    trainer.save_model(str(tmp_path / "model"))
    from transformers import AutoModel

    _, report = AutoModel.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not report["unexpected_keys"] and not report["missing_keys"]


def test_evaluation_counts_all_pairs_alike(tmp_path):
    plain, weighted = (
        trained(tmp_path / name, max_steps=1, learning_rate=0.0, per_device_eval_batch_size=8, **settings)
        for name, settings in (("plain", {}), ("weighted", WEIGHTED))
    )
    results = [trainer.evaluate(trainer.train_dataset)["eval_loss"] for trainer in (plain, weighted)]
    assert results[0] == results[1]


def test_languages_with_few_pairs_are_taken_as_they_are(tmp_path):
    trainer = trained(tmp_path, max_steps=1, **{**WEIGHTED, "few_pairs": 4})
    confidence = trainer.policies.confidence
    assert confidence.trusted.tolist() == [False, False, False, True]  # fr has three pairs, de five


def test_scores_that_are_not_there_are_one_line(tmp_path):
    with pytest.raises(InputError, match="reads a column `score`, and the pairs have none"):
        trained(tmp_path, pair_weights="scores")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pair_weights": "adaptve"}, "'adaptve' is not one of fixed, adaptive, scores.*adaptive"),
        ({"temperature": "hot"}, "'hot' is not one of fixed, learnable"),
        ({"inter_loss": "rinse"}, "'rinse' is not one of .*rince"),
        ({"rince_q": 0.0}, "--rince_q is 0.0; it must be above 0 and at most 1"),
        ({"tau_min": 0.2}, "--tau_max is 0.1; it must be at least 0.2"),
        ({"sampling_temperature": 0.5}, "--sampling_temperature is 0.5; it must be at least 1"),
        ({"hard_margin": 1.5}, "--hard_margin is 1.5"),
        ({"weight_z": 1.0}, "--weight_z is 1.0; it must be between -5"),
        ({"weight_warmup": 2.0}, "--weight_warmup is 2.0"),
        ({"few_pairs": -1}, "--few_pairs is -1; it must be at least 0"),
        ({"temperature": "learnable", "tau": 0.5}, "--tau 0.5 is not between"),
        ({"hard_negatives": 4}, "--hard_negatives are those of momentum contrast's queue; add momentum to --losses"),
        ({"temperature": "dynamic", "losses": ["intra"]}, "--temperature dynamic is .* add inter to --losses"),
        ({"temperature": "learnable", "losses": ["mlm"]}, "--temperature learnable is .* add inter to --losses"),
        ({"temperature": "macl", "inter_loss": "sigmoid"}, "does not go with --inter_loss sigmoid"),
        ({"temperature": "learnable", "inter_loss": "paper"}, "--inter_loss paper is the published form"),
    ],
)
def test_settings_out_of_range_are_one_line(tmp_path, settings, message):
    with pytest.raises(InputError, match=message) as refused:
        arguments(tmp_path, **settings)
    assert "\n" not in str(refused.value)


def test_rince_starts_as_infonce_and_takes_over(tmp_path):
    names = {"infonce": {}, "late": {"inter_loss": "rince", "rince_warmup": 0.5}}
    losses = {name: [log["loss"] for log in logs(trained(tmp_path / name, **more))] for name, more in names.items()}
    assert losses["late"][:4] == losses["infonce"][:4]
    assert losses["late"][4] != losses["infonce"][4]
