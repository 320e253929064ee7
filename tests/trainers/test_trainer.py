"""The trainer: exact over processes, exact after a stop, and nothing leaks through the fusion."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, TrainerCallback

from tests.conftest import LANGUAGES, encoder_config, make_tokenizer
from tests.trainers.one_step import SENTENCES
from xling_align.modeling_xling import InputError, XLingAlignForPreTraining, XLingAlignModel
from xling_align.trainers import XLingAlignTrainer, XLingAlignTrainingArguments
from xling_align.trainers.adapters import add_adapters
from xling_align.trainers.checkpoints import check_same_model, last_complete_checkpoint
from xling_align.trainers.objectives import PairVectors, symmetric_infonce

ROOT = Path(__file__).parents[2]
PAIRS = [
    {"source": source, "target": target, "source_language": "en", "target_language": code}
    for source, target, code in SENTENCES
]


def fresh_model(**config) -> XLingAlignModel:
    torch.manual_seed(0)
    return XLingAlignModel.from_encoder(encoder_config("bert"), LANGUAGES, **config)


def arguments(folder, **more) -> XLingAlignTrainingArguments:
    settings = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-3,
        "save_steps": 100,
        "logging_steps": 1,
        "disable_tqdm": True,
    }
    return XLingAlignTrainingArguments(**{**settings, **more})


def one_step(folder: Path, processes: int, settings: dict | None = None, program: str = "one_step") -> dict:
    """The gradient of one step over eight pairs, by one process or by several."""
    folder.mkdir()
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"] if processes > 1 else []
    command = [sys.executable, *launch, "-m", f"tests.trainers.{program}", str(folder), str(8 // processes)]
    command.append(json.dumps(settings or {}))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return torch.load(folder / "step.pt")


def test_two_processes_give_the_gradient_of_one(tmp_path):
    one, two = one_step(tmp_path / "one", 1), one_step(tmp_path / "two", 2)
    assert (one["world"], two["world"]) == (1, 2)
    assert one["gradient"].keys() == two["gradient"].keys()
    for name, gradient in one["gradient"].items():
        torch.testing.assert_close(two["gradient"][name], gradient, atol=1e-6, rtol=0, msg=name)
    assert max(gradient.abs().max() for gradient in one["gradient"].values()) > 1e-3
    torch.testing.assert_close(two["means"], one["means"], atol=1e-6, rtol=0)
    assert one["means"]["count"].tolist() == [0, 8, 5, 3]


@pytest.mark.parametrize("projection_dim", [None, 8])
def test_rows_in_groups_of_like_length_give_the_loss_and_gradient_of_one_pass(tmp_path, projection_dim):
    def step(groups: int):
        model = fresh_model(language_dropout=0.0, projection_dim=projection_dim)
        args = arguments(tmp_path, row_groups=groups, bf16=False, per_device_train_batch_size=8)
        trainer = XLingAlignTrainer(model, args, PAIRS, processing_class=make_tokenizer())
        batch = next(iter(trainer.get_train_dataloader()))
        model.eval()  # no dropout
        loss = trainer.compute_loss(model, batch)
        loss.backward()
        return loss, {name: value.grad for name, value in model.named_parameters() if value.grad is not None}

    whole, gradient = step(1)
    for groups in (2, 3):
        loss, again = step(groups)
        torch.testing.assert_close(loss, whole)
        assert again.keys() == gradient.keys()
        for name, value in gradient.items():
            torch.testing.assert_close(again[name], value, atol=1e-6, rtol=1e-4, msg=name)


class StopAt(TrainerCallback):
    """Stops a run after some steps, as Ctrl-C after a checkpoint would."""

    def __init__(self, step: int):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = state.global_step >= self.step


@pytest.mark.parametrize("settings", [{}, {"gradient_accumulation_steps": 2}, {"bf16": False}])
def test_stop_and_resume_gives_bitwise_the_same_weights(tmp_path, settings):
    def run(folder: str, callbacks=(), resume=None) -> dict:
        args = arguments(tmp_path / folder, max_steps=10, save_steps=5, seed=3, **settings)
        model = fresh_model()
        trainer = XLingAlignTrainer(model, args, PAIRS, processing_class=make_tokenizer(), callbacks=list(callbacks))
        trainer.train(resume_from_checkpoint=resume)
        assert trainer.state.global_step == (5 if callbacks else 10)
        return model.state_dict()

    whole = run("whole")
    run("halves", [StopAt(5)])
    resumed = run("halves", resume=True)
    start = fresh_model().state_dict()
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert whole["language.count"].sum() > 0
    assert not torch.equal(
        whole["encoder.embeddings.word_embeddings.weight"], start["encoder.embeddings.word_embeddings.weight"]
    )


def test_training_finds_translations(tmp_path):
    model = fresh_model(pooling="mean")
    args = arguments(
        tmp_path, max_steps=150, per_device_train_batch_size=8, learning_rate=3e-3, bf16=False, save_strategy="no"
    )
    XLingAlignTrainer(model, args, PAIRS, processing_class=make_tokenizer()).train()
    source, target = (side_vectors(model.eval(), side) for side in ("source", "target"))
    found = (source @ target.T).argmax(1)
    assert (found == torch.arange(len(PAIRS))).all()


def side_vectors(model, side: str) -> torch.Tensor:
    """Vectors of one side of PAIRS, each text with its language (pairs, dim)."""
    rows = [model_vectors(model, row[side], row[f"{side}_language"]) for row in PAIRS]
    return torch.nn.functional.normalize(torch.cat(rows), dim=1)


@torch.no_grad()
def embed(model, texts: list[str]) -> torch.Tensor:
    batch = make_tokenizer()(texts, padding=True, return_tensors="pt")
    pooled = model(batch["input_ids"], batch["attention_mask"]).pooler_output
    return torch.nn.functional.normalize(pooled, dim=1)


def retrieval_after_unrelated_training(fusion_context: str) -> float:
    """Top-1 of 200 held-out pairs that have nothing to do with each other, after training fusion on such pairs."""
    model = fresh_model(
        fusion_context=fusion_context, language_dropout=0.0
    ).eval()  # no dropout: the states are frozen
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("sentence_fusion" in name)
    generator = torch.Generator().manual_seed(1)

    def vectors(pairs: int) -> tuple[torch.Tensor, torch.Tensor]:
        ids = torch.randint(5, model.config.vocab_size, (2 * pairs, 10), generator=generator)
        languages = torch.tensor([1] * pairs + [2] * pairs)
        return model(ids, language_ids=languages, paired=True).pooler_output.chunk(2)

    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    for _ in range(200):
        loss = symmetric_infonce(PairVectors.local(*vectors(64)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        source, target = (torch.nn.functional.normalize(side, dim=1) for side in vectors(200))
    return ((source @ target.T).argmax(1) == torch.arange(200)).float().mean().item()


def test_fusion_trained_on_unrelated_pairs_finds_unrelated_pairs_at_chance():
    assert retrieval_after_unrelated_training("own") <= 0.02


def test_the_papers_pair_context_leaks_which_rows_belong_together():
    assert retrieval_after_unrelated_training("pair") >= 0.2


def test_running_means_are_those_of_the_language_states(tmp_path):
    model = fresh_model(language_dropout=0.0)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    batch = make_tokenizer()(
        [row["target"] for row in PAIRS if row["target_language"] == "de"], padding=True, return_tensors="pt"
    )
    expected = model(batch["input_ids"], batch["attention_mask"], language_ids="de").language_state.mean(0)
    args = arguments(
        tmp_path, max_steps=1, per_device_train_batch_size=8, bf16=False, learning_rate=0.0, save_strategy="no"
    )
    XLingAlignTrainer(model, args, PAIRS, processing_class=make_tokenizer()).train()
    torch.testing.assert_close(model.language.mean[2], expected, atol=1e-5, rtol=1e-4)
    assert model.language.count.tolist() == [0, 8, 5, 3]


def test_evaluation_loss_is_that_of_the_objective_by_name(tmp_path):
    model = fresh_model().eval()
    args = arguments(tmp_path, bf16=False, per_device_eval_batch_size=8)
    trainer = XLingAlignTrainer(model, args, PAIRS, {"all": PAIRS}, processing_class=make_tokenizer())
    found = trainer.evaluate()["eval_all_loss"]
    sides = side_vectors(model, "source"), side_vectors(model, "target")
    assert found == pytest.approx(symmetric_infonce(PairVectors.local(*sides)).item(), abs=1e-4)


@pytest.mark.parametrize("rows", [PAIRS[:5], PAIRS + PAIRS])
def test_small_eval_sets_and_those_that_say_a_thing_twice_are_evaluated(tmp_path, rows):
    args = arguments(tmp_path, bf16=False)
    assert args.per_device_eval_batch_size == 64
    trainer = XLingAlignTrainer(fresh_model(), args, PAIRS, rows, processing_class=make_tokenizer())
    assert trainer.evaluate()["eval_loss"] > 0
    assert len(next(iter(trainer.get_eval_dataloader()))["pair_ids"]) == min(len(rows), len(PAIRS))


@pytest.mark.parametrize(
    ("rows", "size", "says"), [(PAIRS[:1] * 2, 8, "set of 1 meaning gives"), (PAIRS, 1, "size 1; raise it")]
)
def test_an_eval_set_without_two_meanings_in_a_batch_is_refused_before_the_training(tmp_path, rows, size, says):
    args = arguments(tmp_path, per_device_eval_batch_size=size)
    with pytest.raises(InputError, match=says):
        XLingAlignTrainer(fresh_model(), args, PAIRS, {"own": rows}, processing_class=make_tokenizer())


@torch.no_grad()
def model_vectors(model, text: str, code: str) -> torch.Tensor:
    return model(make_tokenizer()(text, return_tensors="pt")["input_ids"], language_ids=code).pooler_output


def test_the_pretraining_class_trains_too_and_its_unused_heads_stay(tmp_path):
    model = XLingAlignForPreTraining.from_base(fresh_model())
    before = model.discriminator.out.weight.clone()
    args = arguments(tmp_path, max_steps=2, save_steps=2)
    XLingAlignTrainer(model, args, PAIRS, processing_class=make_tokenizer()).train()
    assert torch.equal(model.discriminator.out.weight, before)
    assert type(AutoModel.from_pretrained(tmp_path / "checkpoint-2")).__name__ == "XLingAlignModel"


def test_frozen_embeddings_stay(tmp_path):
    model = fresh_model()
    model.get_input_embeddings().requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    args = arguments(tmp_path, max_steps=3, save_strategy="no")
    XLingAlignTrainer(model, args, PAIRS, processing_class=make_tokenizer()).train()
    name = "encoder.embeddings.word_embeddings.weight"
    assert torch.equal(model.state_dict()[name], before[name])
    assert not torch.equal(model.sentence_fusion.dense.weight, before["sentence_fusion.dense.weight"])


def test_adapters_train_alone_are_saved_merged_and_resume_exactly(tmp_path, family, encoder_folders):
    pytest.importorskip("peft")

    def run(folder: str, callbacks=(), resume=None):
        torch.manual_seed(0)
        model = XLingAlignModel.from_encoder(encoder_folders[family], LANGUAGES)
        add_adapters(model, 4)
        args = arguments(tmp_path / folder, max_steps=4, save_steps=2, bf16=False)
        trainer = XLingAlignTrainer(model, args, PAIRS, processing_class=make_tokenizer(), callbacks=list(callbacks))
        trainer.train(resume_from_checkpoint=resume)
        trainer.save_model()
        return model.eval()

    whole = run("whole")
    run("halves", [StopAt(2)])
    resumed = run("halves", resume=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    start = XLingAlignModel.from_encoder(encoder_folders[family], LANGUAGES).encoder.state_dict()
    frozen = {name.replace(".base_layer", ""): value for name, value in whole.encoder.state_dict().items()}
    assert all(torch.equal(frozen[name], value) for name, value in start.items())
    plain = XLingAlignModel.from_pretrained(tmp_path / "whole").eval()
    torch.testing.assert_close(embed(plain, ["good morning"]), embed(whole, ["good morning"]), atol=1e-5, rtol=1e-4)


def test_attention_is_eager_on_cpu_in_bf16_while_training_and_as_before_after(tmp_path):
    model, seen = fresh_model(), []
    model.set_attn_implementation("sdpa")

    class Look(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            seen.append(model.encoder.config._attn_implementation)

    for bf16 in (True, False):
        args = arguments(tmp_path, max_steps=1, save_strategy="no", bf16=bf16)
        XLingAlignTrainer(model, args, PAIRS, processing_class=make_tokenizer(), callbacks=[Look()]).train()
    assert seen == ["eager", "sdpa"]
    assert model.encoder.config._attn_implementation == "sdpa"


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    model = fresh_model()
    with torch.no_grad():
        model.get_input_embeddings().weight.fill_(float("nan"))
    trainer = XLingAlignTrainer(model, arguments(tmp_path, max_steps=2), PAIRS, processing_class=make_tokenizer())
    with pytest.raises(FloatingPointError, match="lower --learning_rate"):
        trainer.train()


def test_a_checkpoint_cut_short_by_a_kill_is_set_aside(tmp_path):
    args = arguments(tmp_path, max_steps=4, save_steps=2, save_total_limit=None)
    XLingAlignTrainer(fresh_model(), args, PAIRS, processing_class=make_tokenizer()).train()
    (tmp_path / "checkpoint-4" / "trainer_state.json").write_text('{"epoch": ')
    assert last_complete_checkpoint(str(tmp_path)) == str(tmp_path / "checkpoint-2")
    assert (tmp_path / "incomplete-checkpoint-4").is_dir()
    shutil.copytree(tmp_path / "checkpoint-2", tmp_path / "checkpoint-4")
    (tmp_path / "checkpoint-4" / "trainer_state.json").unlink()  # a second kill at the same step
    assert last_complete_checkpoint(str(tmp_path)) == str(tmp_path / "checkpoint-2")


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    fresh_model().save_pretrained(tmp_path)
    check_same_model(tmp_path, fresh_model().config)
    other = XLingAlignModel.from_encoder(encoder_config("bert"), ["en", "de"])
    with pytest.raises(InputError, match="languages differ"):
        check_same_model(tmp_path, other.config)
    with pytest.raises(InputError, match="holds no checkpoint"):
        check_same_model(tmp_path / "nothing", other.config)
