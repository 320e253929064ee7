import doctest

import numpy as np
import pytest
from sklearn.metrics import f1_score

from xling_align.eval.data_dir import ByLanguage, Texts
from xling_align.eval.tasks import label_names as task
from xling_align.eval.tasks.label_names import Prompts, label_vectors, plain_prompts, read_prompts
from xling_align.modeling_xling import InputError

TOPICS = ["sports", "travel"]
WORDS = {"sports": 0, "Sport": 0, "ball": 0, "travel": 1, "Reisen": 1, "train": 1, "about": 2, "über": 3, "Zug": 1}


def encode(texts, language):
    """How often each of four meanings occurs."""
    return np.array([sum(np.eye(4)[WORDS[word]] for word in text.split()) for text in texts])


ENGLISH = Prompts(["{}", "about {}"], {"sports": "sports", "travel": "travel"})
GERMAN = Prompts(["über {}"], {"sports": "Sport", "travel": "Reisen"}, "de")
TESTS = {"en": Texts(["ball ball about", "train", "ball train ball"], ["sports", "travel", "travel"])}


def test_examples_in_docstrings_hold():
    outcome = doctest.testmod(task)
    assert outcome.attempted and not outcome.failed


def test_a_labels_vector_is_the_mean_of_its_unit_prompts():
    labels, vectors = label_vectors(encode, [ENGLISH, GERMAN])
    half = 1 / np.sqrt(2)
    mean = np.array([1 + half + half, 0, half, half])  # "sports", "about sports", "über Sport"
    assert labels == TOPICS
    np.testing.assert_allclose(vectors[0], mean / np.linalg.norm(mean))
    np.testing.assert_allclose(vectors[1], (mean / np.linalg.norm(mean))[[1, 0, 2, 3]])


def test_texts_get_the_label_that_they_are_nearest_to():
    result = task.run(encode, ByLanguage(TESTS, limit=3), [ENGLISH], calibrate=False)
    predicted = ["sports", "travel", "sports"]
    assert result.scores["en"] == pytest.approx(f1_score(TESTS["en"].labels, predicted, average="macro"))
    assert result.details["en"]["accuracy"] == pytest.approx(2 / 3)
    assert result.metadata == {"prompts": 2, "prompt_languages": ["en"], "calibrated": False, "limit": 3}


def test_calibration_takes_away_what_a_label_gets_from_every_text():
    """All texts are about balls; those with a train besides are told apart by what exceeds the mean alone."""
    tests = {"en": Texts(["ball ball", "ball ball train"] * 3, TOPICS * 3)}
    assert task.run(encode, tests, [ENGLISH], calibrate=False).details["en"]["accuracy"] == 0.5
    assert task.run(encode, tests, [ENGLISH], calibrate=True).details["en"]["accuracy"] == 1.0


def test_prompts_are_encoded_in_their_own_language_and_texts_in_theirs():
    seen = set()

    def remember(texts, language):
        seen.update((text, language) for text in texts)
        return encode(texts, language)

    tests = {"de": Texts(["Zug", "ball"], ["travel", "sports"])}
    result = task.run(remember, tests, [GERMAN, ENGLISH])
    assert result.scores == {"de": 1.0} and result.metadata["prompt_languages"] == ["de", "en"]
    assert {("über Sport", "de"), ("about sports", "en"), ("Zug", "de")} <= seen


def test_a_constant_encoder_is_at_chance():
    tests = {"en": Texts(["ball"] * 6, TOPICS * 3)}
    result = task.run(lambda texts, language: np.ones((len(texts), 3)), tests, [plain_prompts(TOPICS)])
    assert result.details["en"]["accuracy"] == 0.5 and result.scores["en"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("tests", "prompts", "message"),
    [
        ({}, [ENGLISH], "got none"),
        (TESTS, [], "got none"),
        (TESTS, [ENGLISH._replace(templates=["about"])], "needs one {} where .* got 'about'"),
        (TESTS, [ENGLISH._replace(templates=[])], "got none"),
        (TESTS, [ENGLISH, GERMAN._replace(names={"sports": "Sport"})], "they name sports in de and sports, travel"),
        (TESTS, [Prompts(["{}"], {"sports": "sports"})], "en: label 'travel' has no name"),
        ({"en": Texts(["ball"], [])}, [ENGLISH], "en: 1 texts for 0 labels"),
    ],
)
def test_unusable_input_is_refused(tests, prompts, message):
    with pytest.raises(InputError, match=message):
        task.run(encode, tests, prompts)


def test_prompts_are_read_in_several_languages(tmp_path):
    text = "en:\n  templates: ['{}', 'about {}']\n  names: {sports: sports, travel: travel}\n"
    text += "de:\n  templates: ['über {}']\n  names: {sports: Sport, travel: Reisen}\n"
    (tmp_path / "prompts.yaml").write_text(text, encoding="utf-8")
    assert read_prompts(tmp_path / "prompts.yaml") == [ENGLISH, GERMAN]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must give templates"),
        ("en: [", "can't be read as YAML"),
        ("en: {templates: ['{}']}", "en: it must give templates"),
        ("en: {templates: '{}', names: {a: b}}", "all of them text"),
        ("en: {templates: ['{}'], names: {a: 1}}", "all of them text"),
        ("en: {templates: ['{}'], names: {1: a}}", "all of them text"),
        ("no: {templates: ['{}'], names: {a: b}}", "in quotes if it is no"),
        ("en: {templates: [about], names: {a: b}}", "needs one {}"),
        ("en: {templates: ['{}'], names: {a: b}}\nde: {templates: ['{}'], names: {c: d}}", "the same labels"),
    ],
)
def test_a_file_of_prompts_with_a_mistake_is_refused(tmp_path, text, message):
    (tmp_path / "prompts.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message) as raised:
        read_prompts(tmp_path / "prompts.yaml")
    assert "\n" not in str(raised.value)
