import itertools
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

from tests.conftest import LANGUAGES, MAX_WORDS, encoder_config
from xling_align.eval.predicting import PairClassifier, Tagger
from xling_align.modeling_xling import InputError, XLingAlignForTokenClassification, XLingAlignModel

LABELS = ["O", "B-X", "I-X"]
IDS = {"good": 5, "morning": 6, "night": 7, "sun": 9, "red": 11}  # of conftest's tokenizer


class ById(torch.nn.Module):
    """Its best label of a token is the token's id modulo 3; it remembers what it was given."""

    def __init__(self, per_text=False, languages=None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.config = SimpleNamespace(id2label=dict(enumerate(LABELS)), max_position_embeddings=MAX_WORDS)
        if languages is not None:
            self.config.languages = languages
        self.per_text, self.calls = per_text, []

    def forward(self, input_ids, attention_mask, token_type_ids=None, language_ids="not given"):
        self.calls.append((input_ids, attention_mask, language_ids))
        logits = torch.nn.functional.one_hot(input_ids % 3, 3).float()  # (batch, seq, 3)
        return SimpleNamespace(logits=logits[:, 1] if self.per_text else logits)


def expected(words):
    return [LABELS[IDS[word.split("-")[0]] % 3] for word in words]


def test_a_word_gets_the_tag_of_its_first_subword(tokenizer):
    sentence = ["morning-good-night", "good", "night-sun", "sun"]  # `-` is a piece of its own
    assert len(tokenizer(sentence, is_split_into_words=True)["input_ids"]) == 12
    assert Tagger(ById(), tokenizer)([sentence]) == [["O", "I-X", "B-X", "O"]] == [expected(sentence)]


def test_a_word_without_subwords_is_outside(tokenizer):
    assert Tagger(ById(), tokenizer)([["good", " ", "night"], [" "]]) == [["I-X", "O", "B-X"], ["O"]]


@pytest.mark.parametrize("limit", [4, 5, 9, 24])
def test_long_sentences_go_through_in_windows(tokenizer, limit):
    model = ById()
    sentences = [["good", "night-sun-red", "morning"] * 17, ["night"], ["sun", "good-night"] * 9]
    assert Tagger(model, tokenizer, max_length=limit)(sentences) == [expected(words) for words in sentences]
    assert max(ids.shape[1] for ids, _, _ in model.calls) == limit


def test_batches_are_sorted_by_length_and_padding_is_masked(tokenizer):
    model = ById()
    tagger = Tagger(model, tokenizer, batch_size=2)
    assert tagger([["good"], ["night"] * 5, ["sun"], ["red"] * 4]) == [
        expected(words) for words in (["good"], ["night"] * 5, ["sun"], ["red"] * 4)
    ]
    assert [mask.sum(1).tolist() for _, mask, _ in model.calls] == [[7, 6], [3, 3]]
    assert model.calls[0][0][1, 6] == tokenizer.pad_token_id


def test_labels_come_in_the_order_of_the_texts(tokenizer):
    classify = PairClassifier(ById(per_text=True), tokenizer, batch_size=2)  # the first word decides
    assert classify(["good", "night sun red", "sun red"]) == ["I-X", "B-X", "O"]
    assert classify(["good", "night sun red"], ["sun", "sun"]) == ["I-X", "B-X"]
    assert classify.model.calls[-1][0][0].tolist() == [0, 7, 9, 11, 2, 9, 2]  # <s> night sun red </s> sun </s>


@pytest.mark.parametrize(
    ("languages", "reached"), [(["en", "de"], "de"), (None, "de"), ([], "not given")], ids=["some", "no list", "none"]
)
def test_the_language_reaches_models_that_know_one(tokenizer, languages, reached):
    model = ById(languages=languages)
    Tagger(model, tokenizer)([["good"]], language="de")
    assert model.calls[0][2] == reached


def lively_classifier():
    """A classifier whose answers differ from text to text."""
    torch.manual_seed(0)
    config = encoder_config("bert")
    config.id2label = dict(enumerate("abcdefgh"))
    model = AutoModelForSequenceClassification.from_config(config)
    for weight in (weight for weight in model.parameters() if weight.ndim > 1):
        torch.nn.init.normal_(weight, std=0.5)
    return model


def test_plain_classifiers_give_the_labels_of_a_forward_pass(tokenizer):
    model = lively_classifier()
    texts = ["good morning", "red", "sun moon red green blue", "tag nacht mond", "rot", "blue blue"]
    second = texts[::-1]
    classify = PairClassifier(model.train(), tokenizer, batch_size=2)
    found = classify(texts, second, language="de")
    assert model.training and len(set(found)) > 1
    model.eval()
    for first, other, label in zip(texts, second, found, strict=True):
        with torch.no_grad():
            best = model(**tokenizer(first, other, return_tensors="pt")).logits.argmax(-1).item()
        assert label == model.config.id2label[best]


def test_segments_reach_the_model(tokenizer):
    model = ById(per_text=True)
    given = []
    model.forward = lambda input_ids, attention_mask, token_type_ids: (  # type: ignore[method-assign]
        given.append(token_type_ids) or ById.forward(model, input_ids, attention_mask)
    )
    wrapped = lambda *texts, **options: {  # noqa: E731
        **tokenizer(*texts, **options),
        "token_type_ids": [[0, 0, 1]],
    }
    wrapped.pad_token_id, wrapped.model_max_length = 1, MAX_WORDS
    PairClassifier(model, wrapped)(["good"], ["night"])
    assert given[0].tolist() == [[0, 0, 1]]


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_a_plain_and_an_aligned_tagger_agree_with_one_sentence_at_a_time(tokenizer, encoder_folders, family):
    torch.manual_seed(0)
    plain = AutoModelForTokenClassification.from_config(encoder_config(family))
    plain.config.id2label = dict(enumerate(LABELS))
    plain.classifier = torch.nn.Linear(32, 3)
    base = XLingAlignModel.from_encoder(encoder_folders[family], LANGUAGES)
    base.config.id2label = dict(enumerate(LABELS))
    aligned = XLingAlignForTokenClassification(base.config)
    sentences = [["good", "sun"], ["red", "moon", "blue", "night"], ["tag"]]
    for model in (plain, aligned):
        tagger = Tagger(model, tokenizer)
        assert tagger(sentences, language="de") == [tagger([words], language="de")[0] for words in sentences]
        assert tagger.types == ["X"]


def test_bf16_is_used_where_asked_for(tokenizer):
    model = ById()
    kinds = []
    model.forward = lambda input_ids, attention_mask: (  # type: ignore[method-assign]
        kinds.append((torch.ones(2, 2) @ torch.ones(2, 2)).dtype) or ById.forward(model, input_ids, attention_mask)
    )
    Tagger(model, tokenizer, bf16=True)([["good"]])
    Tagger(model, tokenizer)([["good"]])
    assert kinds == [torch.bfloat16, torch.float32]


def test_labels_of_bf16_are_those_of_float32_where_these_are_clear(tokenizer):
    model = lively_classifier().eval()
    texts = [" ".join(words) for words in itertools.permutations(IDS, 3)]
    exact, rounded = (PairClassifier(model, tokenizer, bf16=given)(texts) for given in (False, True))
    with torch.no_grad():
        logits = model(**tokenizer(texts, return_tensors="pt")).logits
    first, second = logits.topk(2).values.T
    clear = (first - second > 0.1 * logits.abs().max()).tolist()
    assert sum(clear) > len(texts) / 2 and len(set(exact)) > 3
    for one, other, sure in zip(exact, rounded, clear, strict=True):
        assert one == other or not sure


def test_unusable_input_is_refused_in_one_line(tokenizer):
    refused = [
        lambda: Tagger(ById(), tokenizer, batch_size=0),
        lambda: Tagger(ById(), tokenizer)([]),
        lambda: Tagger(ById(), tokenizer)([["a"], []]),
        lambda: Tagger(ById(), tokenizer)(["a sentence"]),
        lambda: PairClassifier(ById(), tokenizer)([]),
        lambda: PairClassifier(ById(), tokenizer)("a text"),
        lambda: PairClassifier(ById(), tokenizer)(["a"], "b"),
        lambda: PairClassifier(ById(), tokenizer)(["a"], ["b", "c"]),
    ]
    for call in refused:
        with pytest.raises(InputError) as error:
            call()
        assert "\n" not in str(error.value)
