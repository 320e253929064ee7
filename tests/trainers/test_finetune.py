import itertools
import json

import numpy as np
import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    TrainerCallback,
)

from tests.conftest import LANGUAGES, stir
from xling_align.eval.encoding import TextEncoder
from xling_align.eval.predicting import PairClassifier, Tagger
from xling_align.eval.reading import conll_sentences
from xling_align.modeling_xling import InputError, XLingAlignForSequenceClassification, XLingAlignModel
from xling_align.trainers import finetune as module
from xling_align.trainers import selection
from xling_align.trainers.classifiers import load_base
from xling_align.trainers.data import labelled
from xling_align.trainers.data.labelled import LabelledCollator, label_names, read_labelled, tokenize_labelled
from xling_align.trainers.finetune import FineTuneArguments, finetune

WORDS = ["good", "morning", "night", "day", "blue", "green", "tag", "nacht"]
SENTENCES = [
    [*WORDS[i : i + 1 + i % 3], word, *WORDS[i % 5 : i % 5 + 2]] for i in range(8) for word in ("sun", "moon")
]


def texts():
    """The label is the word among others that is `sun` or `moon`."""
    rows = [{"text": " ".join(words), "label": "light" if "sun" in words else "dark"} for words in SENTENCES]
    return [{**row, "language": "en"} for row in rows]


def pairs():
    """The label says whether both texts have `sun`."""
    rows = [
        {"text": row["text"], "text_pair": word, "label": int(word == "sun" and row["label"] == "light")}
        for row in texts()
        for word in ("sun", "moon")
    ]
    return [{**row, "language": "en"} for row in rows]


def tagged():
    """`sun` and what follows it is an entity; `sun-night` is three pieces."""
    rows = []
    for words in SENTENCES:
        tokens = [word.replace("sun", "sun-night") for word in words]
        place = tokens.index("sun-night") if "sun-night" in tokens else len(tokens)
        tags = ["O"] * place + ["B-X", "I-X"][: len(tokens) - place] + ["O"] * (len(tokens) - place - 2)
        rows.append({"tokens": tokens, "tags": tags, "language": "en"})
    return rows


def translations():
    """Word by word, each meaning once."""
    german = dict(
        zip(["morning", "night", "day", "sun", "moon"], ["morgen", "nacht", "tag", "sonne", "mond"], strict=True)
    )
    rows = itertools.permutations(german, 2)
    return [
        {
            "source": f"good {first} {second}",
            "target": f"guten {german[first]} {german[second]}",
            "source_language": "en",
            "target_language": "de",
        }
        for first, second in rows
    ]


def arguments(folder, **options):
    given = {"learning_rate": 3e-3, "num_train_epochs": 20, "per_device_train_batch_size": 8, "warmup_steps": 0}
    return FineTuneArguments(output_dir=str(folder), disable_tqdm=True, bf16=False, **{**given, **options})


@pytest.fixture(scope="module")
def base(encoder_folders):
    torch.manual_seed(1)
    model = XLingAlignModel.from_encoder(encoder_folders["bert"], LANGUAGES)
    stir(model)
    return model


def test_a_classifier_of_texts_learns_and_loads_with_the_same_answers(base, tokenizer, tmp_path):
    model, history = finetune(base, tokenizer, texts(), args=arguments(tmp_path, learning_rate=5e-3))
    given, labels = [row["text"] for row in texts()], [row["label"] for row in texts()]
    assert PairClassifier(model, tokenizer)(given, language="en") == labels
    assert [epoch["epoch"] for epoch in history] == list(range(1, 21))
    assert history[-1]["loss"] < history[0]["loss"] / 2
    model.save_pretrained(tmp_path, tokenizer=tokenizer)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert loaded.config.id2label == {0: "dark", 1: "light"} and loaded.config.label2id == {"dark": 0, "light": 1}
    assert PairClassifier(loaded, tokenizer)(given, language="de") == PairClassifier(model, tokenizer)(
        given, language="de"
    )


def test_a_classifier_of_pairs_learns_what_neither_side_tells(encoder_folders, tokenizer, tmp_path):
    args = arguments(tmp_path, num_train_epochs=30)
    model, _ = finetune(encoder_folders["xlm-roberta"], tokenizer, pairs(), args=args, pooling="mean")
    first, second = ([row[name] for row in pairs()] for name in ("text", "text_pair"))
    assert PairClassifier(model, tokenizer)(first, second) == [str(row["label"]) for row in pairs()]


def test_a_tagger_learns_and_loads_with_the_same_answers(base, tokenizer, tmp_path):
    model, _ = finetune(base, tokenizer, tagged(), args=arguments(tmp_path, num_train_epochs=40, learning_rate=5e-3))
    tokens, tags = ([row[name] for row in tagged()] for name in ("tokens", "tags"))
    assert Tagger(model, tokenizer)(tokens, language="en") == tags
    model.save_pretrained(tmp_path, tokenizer=tokenizer)
    loaded = AutoModelForTokenClassification.from_pretrained(tmp_path)
    assert Tagger(loaded, tokenizer).types == ["X"]
    assert Tagger(loaded, tokenizer)(tokens, language="fr") == Tagger(model, tokenizer)(tokens, language="fr")


@pytest.fixture(params=["texts", "tagged"])
def rows(request):
    return {"texts": texts, "tagged": tagged}[request.param]()


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(base, tokenizer, tmp_path, rows):
    runs = [
        finetune(base, tokenizer, rows, args=arguments(tmp_path, num_train_epochs=1, seed=seed)).model.state_dict()
        for seed in (1, 1, 2)
    ]
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])
    assert not torch.equal(runs[0]["classifier.weight"], runs[2]["classifier.weight"])


def test_a_model_in_memory_stays_as_it_is_and_equals_its_folder(base, tokenizer, tmp_path, rows):
    before = {name: value.clone() for name, value in base.state_dict().items()}
    base.save_pretrained(tmp_path / "base", tokenizer=tokenizer)
    args = arguments(tmp_path, num_train_epochs=1)
    first, second = (finetune(each, tokenizer, rows, args=args).model for each in (base, str(tmp_path / "base")))
    assert all(torch.equal(before[name], value) for name, value in base.state_dict().items())
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())
    trained = first.state_dict()["xling.encoder.encoder.layer.0.output.dense.weight"]
    assert not torch.equal(trained, before["encoder.encoder.layer.0.output.dense.weight"])


@pytest.mark.parametrize("aligned", [None, translations()], ids=["task", "task and pairs"])
def test_training_only_the_embeddings_that_occur_changes_nothing(
    base, tokenizer, tmp_path, rows, monkeypatch, aligned
):
    args = arguments(tmp_path, num_train_epochs=2, alignment_weight=0.5 if aligned else 0)
    small, sizes = finetune(base, tokenizer, rows, args=args, pairs=aligned).model.state_dict(), []
    args.weight_decay = 1e-30  # with decay all embeddings are trained
    monkeypatch.setattr(module, "small_vocabulary", lambda *_: sizes.append(1))
    whole = finetune(base, tokenizer, rows, args=args, pairs=aligned).model.state_dict()
    assert not sizes and all(torch.equal(small[name], whole[name]) for name in small)
    moved = (small["xling.encoder.embeddings.word_embeddings.weight"] != base.get_input_embeddings().weight).any(1)
    read = [" ".join(words) for words in SENTENCES] + [pair["target"] for pair in aligned or []]
    used = np.unique(np.concatenate(tokenizer(read)["input_ids"]))
    assert set(used) <= set(moved.nonzero().flatten().tolist()) and not moved[4]  # the mask


def test_both_towers_of_a_dual_encoder_keep_their_vocabulary(encoder_folders, tokenizer, tmp_path):
    folder = encoder_folders["bert"]
    base = XLingAlignModel.from_encoder(folder, LANGUAGES, target_encoder=folder, language_dropout=0.0)
    model = finetune(base, tokenizer, texts(), args=arguments(tmp_path, num_train_epochs=1)).model
    before, after = ([tower.get_input_embeddings().weight for tower in each.towers] for each in (base, model.xling))
    assert not torch.equal(before[0], after[0])  # English is read by the first
    assert torch.equal(before[1], after[1])


def test_frozen_embeddings_stay(base, tokenizer, tmp_path):
    args = arguments(tmp_path, num_train_epochs=1, freeze_embeddings=True)
    model = finetune(base, tokenizer, texts(), args=args).model
    assert torch.equal(model.xling.get_input_embeddings().weight, base.get_input_embeddings().weight)


def test_the_best_epoch_on_dev_is_kept(base, tokenizer, tmp_path, monkeypatch):
    scores = iter([0.2, 0.7, 0.7, 0.4])
    monkeypatch.setattr(selection, "dev_score", lambda *_: next(scores))
    weights = []

    class Watch(TrainerCallback):
        def on_epoch_end(self, args, state, control, model=None, **kwargs):
            weights.append(model.classifier.weight.detach().clone())

    args = arguments(tmp_path, num_train_epochs=4)
    model, history = finetune(base, tokenizer, texts(), args=args, dev_rows=texts(), callbacks=[Watch()])
    assert torch.equal(model.classifier.weight, weights[1]) and not torch.equal(weights[1], weights[3])
    assert [epoch["dev_score"] for epoch in history] == [0.2, 0.7, 0.7, 0.4]


@pytest.mark.parametrize(
    ("select", "dev", "expected"),
    [("last", True, 3), ("best", False, 3), ("average", True, None), ("average", False, None)],
)
def test_the_weights_that_are_asked_for_come_out(base, tokenizer, tmp_path, select, dev, expected):
    weights = []

    class Watch(TrainerCallback):
        def on_epoch_end(self, args, state, control, model=None, **kwargs):
            weights.append(model.classifier.weight.detach().clone())

    args, dev_rows = arguments(tmp_path, num_train_epochs=4, select=select), texts()[:9] if dev else None
    model, history = finetune(base, tokenizer, texts(), args=args, dev_rows=dev_rows, callbacks=[Watch()])
    wanted = torch.stack(weights).mean(0) if expected is None else weights[expected]
    torch.testing.assert_close(model.classifier.weight.detach(), wanted, atol=1e-7, rtol=1e-6)
    assert (wanted - weights[1]).abs().max() > 1e-4
    found = PairClassifier(model, tokenizer)([row["text"] for row in texts()[:9]], language="en")
    accuracy = np.mean([label == row["label"] for label, row in zip(found, texts()[:9], strict=True)])
    scored = {"last": "dev_score", "average": "average_dev_score"}.get(select)
    assert not dev or history[-1][scored] == pytest.approx(accuracy)


def test_merged_adapters_answer_as_they_did_apart(base, tokenizer, tmp_path, rows):
    pytest.importorskip("peft")
    batch, apart = tokenizer(["good sun", "night moon"], return_tensors="pt"), []

    class Watch(TrainerCallback):
        def on_train_end(self, args, state, control, model=None, **kwargs):
            with torch.no_grad():
                apart.append(model.eval()(batch["input_ids"], batch["attention_mask"], language_ids="de").logits)

    args = arguments(tmp_path, lora_rank=4, num_train_epochs=8, learning_rate=1e-2, weight_decay=1e-9)
    model, history = finetune(base, tokenizer, rows, args=args, callbacks=[Watch()])
    assert history[-1]["loss"] < history[0]["loss"]
    with torch.no_grad():
        merged = model(batch["input_ids"], batch["attention_mask"], language_ids="de").logits
    torch.testing.assert_close(merged, apart[0], atol=1e-5, rtol=1e-4)
    before = base.state_dict()
    after = {name.removeprefix("xling."): value for name, value in model.state_dict().items()}
    assert before.keys() <= after.keys() and not any("lora" in name for name in after)
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    linear = {name for name in moved if name.startswith("encoder.") and name.endswith(".weight")}
    assert len(linear) >= 6 and not any("embeddings" in name or "LayerNorm" in name for name in moved)


def test_adapters_are_refused_in_a_dual_encoder(encoder_folders, tokenizer, tmp_path):
    folder = encoder_folders["bert"]
    base = XLingAlignModel.from_encoder(folder, LANGUAGES, target_encoder=folder, language_dropout=0.0)
    with pytest.raises(InputError, match="--lora_rank is for one encoder"):
        finetune(base, tokenizer, texts(), args=arguments(tmp_path, lora_rank=4))


@pytest.mark.parametrize("plain", [False, True], ids=["ours", "plain"])
def test_pairs_keep_the_encoder_aligned_while_it_learns_the_task(base, encoder_folders, tokenizer, tmp_path, plain):
    given, codes = (encoder_folders["bert"], (None, None)) if plain else (base, ("en", "de"))
    read, labels = [row["text"] for row in texts()], [row["label"] for row in texts()]
    sides = [[pair[side] for pair in translations()] for side in ("source", "target")]
    found = {}
    for weight, pairs in ((0.0, None), (1.0, translations())):
        args = arguments(tmp_path, num_train_epochs=60, learning_rate=3e-3, alignment_weight=weight)
        model, history = finetune(given, tokenizer, texts(), args=args, pooling="mean", pairs=pairs)
        encode = TextEncoder(model.xling, tokenizer, "cls", normalize=True)
        source, target = (encode(side, code) for side, code in zip(sides, codes, strict=True))
        found[weight] = np.mean((source @ target.T).argmax(1) == np.arange(len(source)))
        assert PairClassifier(model, tokenizer)(read, language=codes[0]) == labels
        assert ("alignment_loss" in history[0]) == bool(weight)
    assert history[-1]["alignment_loss"] < history[0]["alignment_loss"] / 2
    assert found[1.0] > found[0.0] + 0.2, found


def test_the_dev_score_is_what_the_returned_model_scores(base, tokenizer, tmp_path):
    args = arguments(tmp_path, num_train_epochs=3, learning_rate=1e-3)
    dev = texts()[:9]
    model, history = finetune(base, tokenizer, texts(), args=args, dev_rows=dev)
    found = PairClassifier(model, tokenizer)([row["text"] for row in dev], language="en")
    accuracy = np.mean([label == row["label"] for label, row in zip(found, dev, strict=True)])
    assert max(epoch["dev_score"] for epoch in history) == pytest.approx(accuracy)


def test_tags_are_scored_by_entity_and_other_labels_by_accuracy():
    gold, predicted = [np.array([-100, 1, 2, 0])], [np.array([2, 1, 0, 0, 1])]
    assert selection.dev_score(gold, predicted, ["O", "B-X", "I-X"]) == 0
    assert selection.dev_score(gold, predicted, ["DET", "ADJ", "NOUN"]) == pytest.approx(2 / 3)
    assert selection.dev_score([1, 0], [np.array(1), np.array(1)], ["O", "B-X"]) == 0.5


def test_a_plain_encoder_is_wrapped_without_changing_its_vectors(encoder_folders, tokenizer, family):
    plain = AutoModel.from_pretrained(encoder_folders[family]).eval()
    batch = tokenizer(["good morning", "sun"], padding=True, return_tensors="pt")
    batch = {name: batch[name] for name in ("input_ids", "attention_mask")}
    for given in (plain, encoder_folders[family]):
        wrapped = load_base(given).eval()
        assert wrapped.config.languages == []
        with torch.no_grad():
            torch.testing.assert_close(wrapped(**batch).last_hidden_state, plain(**batch).last_hidden_state)


def test_the_forward_pass_is_the_class_own_after_bf16_training(base, tokenizer, tmp_path):
    args = arguments(tmp_path, num_train_epochs=1)
    args.bf16 = True
    model = finetune(base, tokenizer, texts(), args=args).model
    assert model.forward.__func__ is XLingAlignForSequenceClassification.forward
    assert not model.training and model.config._attn_implementation == base.config._attn_implementation


def test_a_loss_that_is_not_finite_is_an_error(base, tokenizer, tmp_path):
    with pytest.raises(FloatingPointError, match="lower --learning_rate"):
        finetune(base, tokenizer, texts(), args=arguments(tmp_path, learning_rate=1e30, max_grad_norm=0))


def test_the_first_piece_of_a_word_carries_its_tag(tokenizer, base):
    row = {"tokens": ["sun-night", " ", "good", "red"], "tags": ["B-X", "I-X", "O", "B-X"], "language": "de"}
    (given,) = tokenize_labelled([row], ["B-X", "I-X", "O"], tokenizer, base.config)
    #           <s> sun - night good red </s>; the lone space has no piece
    assert given["input_ids"].tolist() == [0, 9, 3, 7, 5, 11, 2]
    assert given["labels"].tolist() == [-100, 0, -100, -100, 2, 0, -100]
    assert given["language_ids"] == 2


def test_words_beyond_the_limit_have_no_label(tokenizer, base):
    row = {"tokens": ["sun"] * 9, "tags": ["B-X"] * 9}
    (given,) = tokenize_labelled([row], ["B-X"], tokenizer, base.config, max_length=6)
    assert given["labels"].tolist() == [-100, 0, 0, 0, 0, -100] and given["language_ids"] == 0


def test_batches_are_padded_with_what_the_loss_passes_over(tokenizer, base):
    rows = [{"tokens": ["sun"] * size, "tags": ["B-X"] * size} for size in (1, 3)]
    batch = LabelledCollator(1, max_length=24)(tokenize_labelled(rows, ["B-X"], tokenizer, base.config))
    assert batch["input_ids"].tolist() == [[0, 9, 2, 1, 1, 1, 1, 1], [0, 9, 9, 9, 2, 1, 1, 1]]
    assert batch["attention_mask"].tolist() == [[1] * 3 + [0] * 5, [1] * 5 + [0] * 3]
    assert batch["labels"].tolist() == [[-100, 0] + [-100] * 6, [-100, 0, 0, 0] + [-100] * 4]
    assert batch["language_ids"].tolist() == [0, 0]


def test_examples_in_docstrings_hold():
    import doctest

    outcome = doctest.testmod(labelled)
    assert outcome.attempted and not outcome.failed


def test_every_format_gives_the_same_rows(tmp_path):
    (tmp_path / "a.tsv").write_text('topic\tq1\tq2\nx\t"a\tb\n', encoding="utf-8")
    (tmp_path / "b.jsonl").write_text('{"topic": "x", "q1": "\\"a", "q2": "b"}\n', encoding="utf-8")
    columns = {"text": "q1", "text_pair": "q2", "label": "topic"}
    expected = {"text": '"a', "text_pair": "b", "label": "x", "language": "en"}
    for name, row in (("a.tsv", 2), ("b.jsonl", 1)):
        found = read_labelled(tmp_path / name, "pair", columns, "en")
        assert found == [{**expected, "place": f"{tmp_path / name}, row {row}"}]
    (tmp_path / "c.conll").write_text("-DOCSTART- -X- O O\n\nEU NNP I-NP B-ORG\nnow RB I-NP O\n\nRome\tB-LOC\n")
    sentences = [(3, ["EU", "now"], ["B-ORG", "O"]), (6, ["Rome"], ["B-LOC"])]
    assert list(conll_sentences(tmp_path / "c.conll")) == sentences
    rows = read_labelled(tmp_path / "c.conll", "token", language="en")
    (tmp_path / "d.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    found = read_labelled(tmp_path / "d.jsonl", "token", {"language": "language"})
    assert [{**row, "place": None} for row in found] == [{**row, "place": None} for row in rows]
    assert label_names(rows) == ["B-LOC", "B-ORG", "O"]


@pytest.mark.parametrize(
    ("name", "text", "task", "message"),
    [
        ("a.tsv", "text\tlabel\n", "sequence", "a.tsv is empty"),
        ("a.tsv", "text\tlabel\na\tx\nb\n", "sequence", "row 3: 1 column, 2 expected"),
        ("a.tsv", "text\tlabels\na\tx\n", "sequence", r"no column 'label' \(did you mean 'labels'\?\)"),
        ("a.tsv", "text\tlabel\na\t\n", "sequence", "row 2: no label"),
        ("a.tsv", "text\tlabel\n \tx\n", "sequence", "row 2: no text"),
        ("a.tsv", "text\tlabel\na\tx\n", "word", "'word' is not one of sequence, pair, token"),
        ("a.tsv", "tokens\ttags\na b\tO O\n", "token", "tokens and tags must be lists"),
        ("a.jsonl", '{"tokens": ["a", "b"], "tags": ["O"]}\n', "token", "row 1: 2 tokens and 1 tags"),
        ("a.conll", "a\tO\nb\n", "token", "a.conll, line 2: 'b' is not a word and its tag"),
        ("a.conll", "a\tO\n", "sequence", "suffix '.conll'; for --task sequence it can be .tsv"),
        ("b.tsv", "", "sequence", r"there is no .*a.tsv.*did you mean 'b.tsv'"),
    ],
)
def test_unusable_files_are_refused_in_one_line(tmp_path, name, text, task, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message) as error:
        read_labelled(tmp_path / name.replace("b.", "a."), task)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "got 0 of 0"),
        ([texts()[0], tagged()[0]], "got 2 of 2"),
        ([{"text": "sun", "label": "z"}], "row 1: label 'z' is not one of the training labels"),
        ([{"text": "sun", "label": "light", "language": "xx"}], "language 'xx'"),
        ([{"tokens": ["sun"], "tags": []}], "row 1: 1 tokens and 0 tags"),
    ],
)
def test_unusable_rows_are_refused_in_one_line(base, tokenizer, rows, message):
    with pytest.raises(InputError, match=message) as error:
        tokenize_labelled(rows, ["dark", "light"], tokenizer, base.config)
    assert "\n" not in str(error.value)


def test_one_label_is_nothing_to_learn(base, tokenizer, tmp_path):
    with pytest.raises(InputError, match="two or more labels; the training rows have light"):
        finetune(base, tokenizer, texts()[:1], args=arguments(tmp_path))
