import doctest

import numpy as np
import pytest

from tests.conftest import make_tokenizer
from xling_align.eval.metrics import similarity
from xling_align.eval.metrics.tokens import token_figures
from xling_align.eval.preflight import ADD, FULL, LIGHT, MINE, NOTHING, VOCABULARY, Limits, Sample, advise, preflight
from xling_align.modeling_xling import InputError

COUNT = 40
CONTENT = np.random.default_rng(0).normal(size=(COUNT, 8))
SOURCE = [f"en {row}" for row in range(COUNT)]
GOOD = {"known": True, "unknown": 0.0, "premium": 1.0, "tokens_per_word": 1.5, "sentences": 300, "pairs": 5000}


def encode(texts, language):
    """Content of the text; the second half of the content of German is lost, and Polish lies elsewhere."""
    rows = CONTENT[[int(text.split()[1]) for text in texts]].copy()
    codes = [text.split()[0] for text in texts]
    rows[[code == "fr" for code in codes]] = 1.0
    rows[[code == "pl" for code in codes]] += 3.0
    return rows


def sample(code: str) -> Sample:
    return Sample([f"{code} {row}" for row in range(COUNT)], SOURCE, 5000)


def test_examples_in_docstrings_hold():
    outcome = doctest.testmod(similarity)
    assert outcome.attempted and not outcome.failed


def test_tokens_are_counted_by_hand():
    figures = token_figures(make_tokenizer(), ["guten morgen xyz", "nacht"], ["good morning", "night"])
    assert figures == {
        "tokens_per_word": 1.0,
        "characters_per_token": (5 + 6 + 3 + 5) / 4,
        "unknown": 0.25,
        "premium": 4 / 3,
    }
    unspaced = token_figures(make_tokenizer(), ["x" * 40])
    assert unspaced["tokens_per_word"] is None and unspaced["premium"] is None


def test_a_language_that_is_one_with_the_source_needs_nothing_and_one_without_content_needs_all():
    found = preflight(encode, make_tokenizer(), {"de": sample("de"), "fr": sample("fr"), "pl": sample("pl")})
    assert found["de"]["forward"] == found["de"]["backward"] == 1 and found["de"]["offset"] == 0
    assert found["de"]["leakage"] == pytest.approx(0.5)  # equal vectors: one of two is right
    assert found["fr"]["forward"] == 0 and found["fr"]["isomorphism"] == 0
    assert found["pl"]["offset"] > 0.5 and found["pl"]["leakage"] > 0.9


def test_without_translations_only_what_needs_none_is_measured():
    mono = Sample(sample("pl").texts)
    found = preflight(encode, make_tokenizer(), {"pl": mono}, source_texts=SOURCE)["pl"]
    assert found["offset"] > 0.5 and found["forward"] is None and found["premium"] is None
    assert found["actions"][-1] == MINE
    assert preflight(encode, make_tokenizer(), {"pl": mono})["pl"]["offset"] is None


@pytest.mark.parametrize(
    ("change", "actions"),
    [
        ({"forward": 0.95, "offset": 0.1}, [NOTHING]),
        ({"forward": 0.95, "offset": 0.9}, [LIGHT]),
        ({"forward": 0.7}, [LIGHT]),
        ({"forward": 0.3}, [FULL]),
        ({"forward": 0.3, "pairs": 100}, [MINE]),
        ({"forward": None}, [MINE]),
        ({"forward": 0.3, "unknown": 0.02}, [VOCABULARY, FULL]),
        ({"forward": 0.3, "premium": 2.5}, [VOCABULARY, FULL]),
        ({"forward": 0.3, "premium": None, "tokens_per_word": 4.0}, [VOCABULARY, FULL]),
        ({"forward": 0.3, "premium": 1.0, "tokens_per_word": 4.0}, [FULL]),
        ({"forward": 0.3, "known": False}, [ADD, FULL]),
    ],
)
def test_advice_follows_the_limits(change, actions):
    figures = {**GOOD, "offset": 0.1, **change}
    figures["backward"] = figures["forward"]
    advice = advise("xx", figures, Limits())
    assert advice.actions == actions and len(advice.reasons) == len(actions)


def test_a_language_that_the_model_lacks_is_encoded_as_unknown():
    seen = set()

    def noting(texts, language):
        seen.add((texts[0].split()[0], language))
        return encode(texts, language)

    preflight(noting, make_tokenizer(), {"de": sample("de")}, known=["en"])
    assert ("de", None) in seen and ("de", "de") not in seen and ("en", "en") in seen


def test_too_few_sentences_are_refused():
    with pytest.raises(InputError, match="de: 3 sentences"):
        preflight(encode, make_tokenizer(), {"de": Sample(["de 1", "de 2", "de 3"])})
