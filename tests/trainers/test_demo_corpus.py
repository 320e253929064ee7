import subprocess
import sys
from collections import Counter
from hashlib import sha256

import pytest

from xling_align.modeling_xling import InputError
from xling_align.trainers.data import demo_corpus
from xling_align.trainers.data.demo_corpus import (
    LANGUAGES,
    base_emoji,
    classification_items,
    cldr_names,
    emoji_names,
    held_out_order,
    load_demo_corpus,
    message_pairs,
    training_pairs,
)

FINGERPRINT = """
from hashlib import sha256
from xling_align.trainers.data.demo_corpus import load_demo_corpus
print(sha256(repr(load_demo_corpus()).encode()).hexdigest())
"""


@pytest.fixture(scope="module", params=["test", "dev"])
def corpus(request):
    return load_demo_corpus(request.param)


@pytest.fixture(scope="module")
def test_corpus():
    return load_demo_corpus("test")


@pytest.fixture(scope="module")
def cldr():
    return {language: cldr_names(language) for language in ("en", *LANGUAGES)}


def training_texts(corpus):
    return {text.casefold() for pair in corpus.pairs for text in (pair["source"], pair["target"])}


def held_out_names(corpus):
    return {name.casefold() for names in corpus.retrieval.values() for name in names}


def test_no_held_out_name_of_any_language_is_a_training_text(corpus):
    assert len(held_out_names(corpus)) > 1000
    assert not training_texts(corpus) & held_out_names(corpus)


def test_dev_holds_out_other_meanings_and_codes(test_corpus):
    dev = load_demo_corpus("dev")
    assert set(dev.retrieval["en"]).isdisjoint(test_corpus.retrieval["en"])
    for language in LANGUAGES:
        assert set(dev.classification[language][0]).isdisjoint(test_corpus.classification[language][0])


def test_variants_of_a_held_out_emoji_are_not_trained(corpus):
    names = emoji_names()
    held_out = set(corpus.retrieval["en"])
    bases = {base_emoji(symbol) for symbol in names if names[symbol]["en"] in held_out}
    variants = {names[symbol]["en"].casefold() for symbol in names if base_emoji(symbol) in bases}
    assert len(variants) > len(held_out)
    assert not {pair["source"].casefold() for pair in corpus.pairs} & variants


def test_gender_and_zwj_variants_share_their_base():
    for variants in (
        ("👨‍🚀", "👩‍🚀", "🧑‍🚀"),
        ("🤷", "🤷‍♀️", "🤷‍♂️"),
        ("🐻", "🐻‍❄️"),
        ("👫", "👬", "👭"),
        ("😮", "😮‍💨"),
    ):
        assert len({base_emoji(symbol) for symbol in variants}) == 1
    assert base_emoji("🐻") != base_emoji("🐼")


def test_flags_of_territories_and_skin_tones_are_left_out(corpus):
    assert {"🇫🇷", "👋🏽", "🧑🏿‍🚀", "🏽", "🏴󠁧󠁢󠁷󠁬󠁳󠁿"}.isdisjoint(emoji_names())
    assert "👋" in emoji_names()
    assert not [text for text in training_texts(corpus) if "skin tone" in text]


def test_no_cldr_name_is_a_training_text(corpus, cldr):
    names = {name.casefold() for items in cldr.values() for name, _, _ in items}
    assert {"france", "フランス", "arabisch", "euro"} <= names
    assert not training_texts(corpus) & names


def test_the_cldr_filter_is_not_vacuous(cldr):
    names = emoji_names()
    unfiltered = {pair["source"] for pair in training_pairs(names, [], {"en": []})}
    assert {"German", "Afrikaans"} <= unfiltered
    assert unfiltered - {pair["source"] for pair in training_pairs(names, [], cldr)} >= {"German", "Afrikaans"}


def test_sources_differ_from_targets_and_no_pair_comes_twice(corpus):
    keys = [(pair["source"], pair["target"], pair["target_language"]) for pair in corpus.pairs]
    assert all(source.casefold() != target.casefold() for source, target, _ in keys)
    assert len(set(keys)) == len(keys)


def test_sizes(test_corpus):
    per_language = Counter(pair["target_language"] for pair in test_corpus.pairs)
    assert 23_000 < len(test_corpus.pairs) < 28_000
    assert set(per_language) == set(LANGUAGES)
    assert len(per_language) == 13
    assert min(per_language.values()) > 1700


def test_equal_english_text_and_only_that_has_an_equal_pair_id(corpus):
    sources = {pair["source"].casefold() for pair in corpus.pairs}
    both = {(pair["source"].casefold(), pair["pair_id"]) for pair in corpus.pairs}
    assert len(both) == len(sources) == len({pair_id for _, pair_id in both})
    assert all(0 <= pair_id < 2**63 for _, pair_id in both)


def test_retrieval_lists_are_aligned_and_distinct(corpus):
    retrieval = corpus.retrieval
    by_english = {names["en"]: names for names in emoji_names().values()}
    assert list(retrieval) == ["en", *LANGUAGES]
    for language, names in retrieval.items():
        assert names == [by_english[english][language] for english in retrieval["en"]]
        assert len(names) == 300
        assert len({name.casefold() for name in names}) >= 295  # a language may have one name for two meanings


def test_held_out_emoji_hardly_move_when_emoji_are_added():
    names = emoji_names()
    old = dict(list(names.items())[:-100])
    kept = set(held_out_order(old)[:300]) & set(held_out_order(names)[:300])
    assert len(kept) > 250


def test_classification_texts_have_one_label_and_are_not_english_names(corpus, cldr):
    english = {name.casefold() for name, _, _ in cldr["en"]}
    for language, (texts, labels) in corpus.classification.items():
        assert len(texts) == len(labels) == len(set(texts))
        assert set(labels) == {"territory", "language", "script", "currency"}
        assert max(Counter(labels).values()) <= 120
        assert english.isdisjoint(text.casefold() for text in texts), language
    assert list(corpus.classification) == list(LANGUAGES)
    texts, labels = corpus.classification_train
    assert len(set(texts)) == len(texts) == len(labels) > 800


def test_names_of_two_categories_and_names_with_years_are_left_out():
    names = [("Arabic", "language", "ar"), ("arabic", "script", "Arab"), ("Lek (1946–1965)", "currency", "ALK")]
    names += [(f"name {chr(97 + i)}", "language", str(i)) for i in range(20)]
    texts = [text for fold in ("dev", "test") for text in classification_items({"en": names}, "en", fold)[0]]
    assert sorted(texts) == [f"name {chr(97 + i)}" for i in range(20)]


def test_messages_pair_one_with_one_and_many_with_many():
    russian = dict(message_pairs("ru"))
    assert russian["%(num)d year"] == "%(num)d год"
    assert russian["%(num)d years"] == "%(num)d лет"
    assert dict(message_pairs("ja"))["%(num)d years"] == "%(num)d年"


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("Log in", True),
        ("Changed {fields}.", True),
        ("%(num)d years", False),
        ("Ensure this value is less than or equal to %(limit_value)s.", True),
        ("%(name)s: {}", False),
        (":", False),
    ],
)
def test_messages_that_are_mostly_placeholders_are_skipped(message, kept):
    assert demo_corpus._mostly_text(message) is kept


def test_two_processes_read_the_same_corpus(test_corpus):
    other = subprocess.run([sys.executable, "-c", FINGERPRINT], check=True, capture_output=True, text=True)
    assert other.stdout.strip() == sha256(repr(test_corpus).encode()).hexdigest()


def test_unknown_held_out_is_named():
    with pytest.raises(InputError, match="held_out 'train' is not one of test, dev"):
        load_demo_corpus("train")


def test_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "emoji", None)
    with pytest.raises(InputError, match=r"'emoji'.*pip install \"xling-align\[demo\]\"$") as caught:
        load_demo_corpus()
    assert "\n" not in str(caught.value)


def test_rows_have_the_columns_of_training_pairs(test_corpus):
    columns = {"source", "target", "source_language", "target_language", "pair_id", "score"}
    assert all(set(pair) == columns for pair in test_corpus.pairs)
    assert {(pair["source_language"], pair["score"]) for pair in test_corpus.pairs} == {("en", None)}
