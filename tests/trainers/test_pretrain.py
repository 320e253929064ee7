"""A tokenizer and an encoder from nothing: the same every time, and exact after a stop."""

import math

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

from tests.conftest import encoder_config, make_tokenizer
from tests.trainers.one_step import SENTENCES
from tests.trainers.test_trainer import StopAt, arguments, one_step
from xling_align.cli.main import main as cli
from xling_align.modeling_xling import InputError, XLingAlignModel
from xling_align.trainers.data.tokenized import join_pairs, join_texts, tokenize_pairs, tokenize_texts
from xling_align.trainers.objectives import masked_lm
from xling_align.trainers.pretrain import pretrain
from xling_align.trainers.tokenizer import finer, train_tokenizer

TEXTS = [text for source, target, _ in SENTENCES for text in (source, target)] * 3
SENTENCE = "the moon rises over the sea and the morning sun warms the 東京 streets"


def test_masked_lm_of_states_that_say_nothing_is_log_of_the_vocabulary():
    decoder = torch.nn.Linear(4, 11)
    torch.nn.init.zeros_(decoder.bias)
    loss = masked_lm(torch.zeros(3, 4), decoder, torch.tensor([0, 5, 10]))
    assert math.isclose(loss.item(), math.log(11), rel_tol=1e-6)


def test_masked_lm_equals_the_log_probability_of_the_masked_tokens():
    states, decoder, tokens = torch.randn(5, 4), torch.nn.Linear(4, 7), torch.tensor([1, 6, 0, 3, 3])
    logits = states @ decoder.weight.T + decoder.bias
    torch.testing.assert_close(
        masked_lm(states, decoder, tokens), -logits.log_softmax(1)[torch.arange(5), tokens].mean()
    )


def test_masked_lm_without_a_masked_token_is_zero():
    states = torch.zeros(0, 4, requires_grad=True)
    loss = masked_lm(states, torch.nn.Linear(4, 7), torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0


def test_two_processes_give_the_gradient_of_one_though_one_has_more_masked_words(tmp_path):
    one, two = (one_step(tmp_path / str(count), count, program="one_pretrain_step") for count in (1, 2))
    assert one["gradient"].keys() == two["gradient"].keys() and two["world"] == 2
    for name, gradient in one["gradient"].items():
        torch.testing.assert_close(two["gradient"][name], gradient, atol=1e-6, rtol=1e-5, msg=name)


def test_a_loss_that_is_not_finite_stops_pretraining(tmp_path):
    tokenizer = make_tokenizer()
    args = arguments(tmp_path / "run", max_steps=4, learning_rate=math.inf, mlm_probability=0.9, warmup_steps=0)
    with pytest.raises(FloatingPointError, match="the mlm loss is"):
        pretrain(encoder_config("bert"), tokenize_texts(TEXTS, tokenizer, 16), tokenizer, args, tmp_path / "encoder")


def test_pretraining_does_not_drive_the_word_embeddings_into_one_direction(tmp_path):
    """Without coupled second moments the mean vector grows with every step."""
    tokenizer = make_tokenizer()
    texts = tokenize_texts(TEXTS, tokenizer, 16)
    args = arguments(tmp_path / "run", max_steps=40, learning_rate=5e-3, bf16=False)
    pretrain(encoder_config("bert"), texts, tokenizer, args, tmp_path / "encoder")
    words = AutoModel.from_pretrained(tmp_path / "encoder").get_input_embeddings().weight
    assert words.mean(0).norm() < 0.3 * words.norm(dim=1).mean()


def test_a_trained_tokenizer_is_the_same_every_time_and_after_reload(tmp_path):
    texts = [" ".join(words) for words in zip(SENTENCE.split(), SENTENCE.split()[1:], strict=False)]
    first, second = (train_tokenizer(texts, 60, max_length=16) for _ in range(2))
    assert first.get_vocab() == second.get_vocab()
    first.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again(SENTENCE, truncation=True)["input_ids"] == second(SENTENCE, truncation=True)["input_ids"]
    assert len(again(SENTENCE, truncation=True)["input_ids"]) == 16
    assert again.unk_token_id not in again(SENTENCE)["input_ids"]
    ids = again("moon", "sun")["input_ids"]
    assert [token for token in again.convert_ids_to_tokens(ids) if token.startswith("<")] == ["<s>", "</s>", "</s>"]


def test_lower_case_is_an_option():
    texts = [SENTENCE, SENTENCE.upper()]
    assert train_tokenizer(texts, 60, lowercase=True).tokenize("SUN") == train_tokenizer(
        texts, 60, lowercase=True
    ).tokenize("sun")
    assert train_tokenizer(texts, 80).tokenize("SUN") != train_tokenizer(texts, 80).tokenize("sun")


def test_finer_pieces_are_pieces_of_the_same_vocabulary():
    whole = train_tokenizer([SENTENCE] * 3, 120)
    half, characters = finer(whole, 0.5), finer(whole, 1e-9)
    assert finer(whole, 1.0)(SENTENCE)["input_ids"] == whole(SENTENCE)["input_ids"]
    counts = [len(tokenizer(SENTENCE)["input_ids"]) for tokenizer in (whole, half, characters)]
    assert counts == sorted(set(counts))
    assert characters.convert_ids_to_tokens(whole("sun")["input_ids"])[1:-1] == whole.tokenize("sun")
    assert "".join(characters.tokenize("sun")) == "".join(whole.tokenize("sun"))
    assert characters.unk_token_id not in characters(SENTENCE)["input_ids"]
    with pytest.raises(InputError, match="byte-pair"):
        finer(make_tokenizer(), 0.5)


def test_joined_pairs_are_all_there():
    config = XLingAlignModel.from_encoder(encoder_config("bert"), ["en", "de", "fr"]).config
    rows = [
        {"source": source, "target": target, "source_language": "en", "target_language": code}
        for source, target, code in SENTENCES
    ]
    parts = [tokenize_pairs(rows[:3], make_tokenizer(), config), tokenize_pairs(rows[3:], make_tokenizer(), config)]
    joined, whole = join_pairs(parts), tokenize_pairs(rows, make_tokenizer(), config)
    for name in ("tokens", "ends", "languages", "pair_ids"):
        assert (getattr(joined, name) == getattr(whole, name)).all()


def test_a_vocabulary_too_small_for_the_characters_is_refused():
    with pytest.raises(InputError, match="different characters and vocab_size is 12"):
        train_tokenizer([SENTENCE], 12)


@pytest.mark.parametrize("texts", [[], ["", "  "]])
def test_no_text_is_one_clear_line(texts):
    with pytest.raises(InputError, match="no text"):
        train_tokenizer(texts, 60)
    with pytest.raises(InputError, match="no texts"):
        tokenize_texts(texts, make_tokenizer())


def test_pretraining_restores_masked_words_and_saves_a_plain_encoder(tmp_path, family):
    tokenizer = make_tokenizer()
    losses = []

    class Listen(StopAt):
        def on_log(self, args, state, control, logs=None, **kwargs):
            losses.extend([logs["loss"]] if "loss" in (logs or {}) else [])

    texts = tokenize_texts(TEXTS, tokenizer)
    args = arguments(tmp_path / "run", max_steps=150, per_device_train_batch_size=16, learning_rate=5e-3, bf16=False)
    pretrain(encoder_config(family), texts, tokenizer, args, tmp_path / "encoder", callbacks=[Listen(150)])
    assert sum(losses[-20:]) < 0.8 * sum(losses[:20])
    encoder = AutoModel.from_pretrained(tmp_path / "encoder")
    assert encoder.config.model_type == encoder_config(family).model_type
    wrapped = XLingAlignModel.from_encoder(tmp_path / "encoder", ["en", "de"])
    torch.testing.assert_close(
        wrapped.get_input_embeddings().weight.detach(), encoder.get_input_embeddings().weight.detach()
    )


def test_pretraining_goes_on_exactly_where_it_stood(tmp_path):
    tokenizer = make_tokenizer()

    def run(folder: str, stop: int | None = None):
        args = arguments(tmp_path / folder, max_steps=8, save_steps=4)
        callbacks = [StopAt(stop)] if stop else []
        texts = tokenize_texts(TEXTS, tokenizer)
        pretrain(encoder_config("bert"), texts, tokenizer, args, tmp_path / "encoder", callbacks=callbacks)
        return load_file(tmp_path / "encoder" / "model.safetensors")

    through = run("through")
    stopped = run("stopped", stop=4)
    resumed = run("stopped")
    assert any(not torch.equal(stopped[name], value) for name, value in through.items())
    for name, value in through.items():
        assert torch.equal(resumed[name], value), name


@pytest.fixture
def texts_file(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(TEXTS) + "\n\n", encoding="utf-8")
    return path


def test_tokenizer_and_encoder_from_the_command_line(tmp_path, texts_file, capsys):
    tokenizer, encoder = tmp_path / "tokenizer", tmp_path / "encoder"
    assert (
        cli(["tokenizer", "--text_file", str(texts_file), "--vocab_size", "60", "--output_dir", str(tokenizer)]) == 0
    )
    assert "tokens a word" in capsys.readouterr().out
    recipe = tmp_path / "recipe.yaml"
    shape = "{model_type: bert, hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 32}"
    recipe.write_text(f"encoder_config: {shape}\ntokenizer: {tokenizer}\nmax_steps: 3\nbf16: false\n")
    flags = ["--text_file", str(texts_file), "--per_device_train_batch_size", "4"]
    assert cli(["pretrain", str(recipe), *flags, "--output_dir", str(encoder)]) == 0
    model = AutoModelForMaskedLM.from_pretrained(encoder)
    assert model.config.vocab_size == len(AutoTokenizer.from_pretrained(encoder))
    further = ["--encoder", str(encoder), "--max_steps", "2", "--output_dir", str(tmp_path / "further")]
    assert cli(["pretrain", *further, *flags, "--learning_rate", "0", "--bf16", "false"]) == 0
    again = AutoModelForMaskedLM.from_pretrained(tmp_path / "further").state_dict()
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())  # head and all


def test_translation_language_modelling_sees_both_sides_in_one_text(tmp_path):
    tokenizer = make_tokenizer()
    joined = tokenize_texts([("good morning", "guten morgen")], tokenizer, 16)
    assert joined.tokens.tolist() == tokenizer("good morning", "guten morgen")["input_ids"]
    both = join_texts(tokenize_texts(["sun"], tokenizer, 16), joined)
    assert both[1]["input_ids"].tolist() == joined.tokens.tolist()
    assert both[0]["input_ids"].tolist() == tokenizer("sun")["input_ids"]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ([], "either --encoder FOLDER"),
        (["--encoder_config", '{"model_type": "bert"}'], "needs --tokenizer"),
        (["--encoder", "no-such-folder"], "no-such-folder"),
        (["--encoder_config", '{"model_type": "bertt"}', "--tokenizer", "TOKENIZER"], "is no encoder's config"),
        (["--encoder_config", "bert", "--tokenizer", "TOKENIZER"], "is no encoder's config"),
        (["--encoder_config", "{}", "--tokenizer", "TOKENIZER", "--mlm_probability", "0"], "--mlm_probability is 0"),
    ],
)
def test_bad_input_to_pretraining_is_one_line(tmp_path, texts_file, capsys, flags, says):
    make_tokenizer().save_pretrained(tmp_path / "tokenizer")
    flags = [str(tmp_path / "tokenizer") if flag == "TOKENIZER" else flag for flag in flags]
    with pytest.raises(SystemExit) as stopped:
        cli(["pretrain", *flags, "--text_file", str(texts_file), "--output_dir", str(tmp_path / "out")])
    assert stopped.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1 and says in lines[0]


def test_pretraining_with_other_settings_does_not_go_on(tmp_path, texts_file, encoder_folders, capsys):
    flags = [
        "--encoder",
        encoder_folders["bert"],
        "--text_file",
        str(texts_file),
        "--per_device_train_batch_size",
        "4",
    ]
    flags += ["--save_steps", "1", "--output_dir", str(tmp_path / "out"), "--max_steps"]
    assert cli(["pretrain", *flags, "1"]) == 0
    with pytest.raises(SystemExit):
        cli(["pretrain", *flags, "2", "--mlm_probability", "0.3"])
    assert "(mlm_probability 0.15, now 0.3);" in capsys.readouterr().err
    assert cli(["pretrain", *flags, "2"]) == 0


def test_texts_of_a_length_that_is_no_multiple_of_eight_fill_the_encoder(tmp_path):
    config, tokenizer = encoder_config("bert"), make_tokenizer()
    config.max_position_embeddings = 20
    texts = tokenize_texts(["good morning " * 20, "sun", "red moon", "night"], tokenizer, 20)
    args = arguments(tmp_path / "run", max_steps=1, save_strategy="no")
    pretrain(config, texts, tokenizer, args, tmp_path / "encoder")
    assert (tmp_path / "encoder" / "model.safetensors").is_file()


def test_a_mask_takes_the_place_of_a_whole_word(tmp_path):
    train_tokenizer([SENTENCE], 60, max_length=32).save_pretrained(tmp_path)
    for tokenizer in (train_tokenizer([SENTENCE], 60, max_length=32), AutoTokenizer.from_pretrained(tmp_path)):
        tokens = tokenizer.convert_ids_to_tokens(tokenizer("the <mask> rises")["input_ids"])
        where = tokens.index("<mask>")
        assert "".join(tokens[1:where]) == "▁the"
        assert tokens[where + 1].startswith("▁")


@pytest.mark.parametrize(
    "flags",
    [
        ["--losses", "inter", "tlm"],
        ["--inter_loss", "rince"],
        ["--pair_weights", "adaptive"],
        ["--without", "word"],
        ["--gradient_steps", "5"],
        ["--sampling_temperature", "5"],
        ["--monolingual_files", "de.txt"],
    ],
)
def test_what_pretraining_does_not_read_is_refused(tmp_path, capsys, flags):
    with pytest.raises(SystemExit) as stopped:
        cli(["pretrain", "--output_dir", str(tmp_path / "run"), *flags])
    assert stopped.value.code == 2
    assert f"error: {flags[0]} is for alignment" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_plain_text_is_refused_where_pairs_are_aligned(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli(["align", "--text_file", "nowhere.txt", "--output_dir", str(tmp_path)])
    assert stopped.value.code == 2
    assert "--text_file is read by pre-training only" in capsys.readouterr().err
