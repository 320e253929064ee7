import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from xling_align.eval.data_dir import ByLanguage, Pairs, Tagged, Texts, Translations
from xling_align.eval.metrics.retrieval import retrieval_scores
from xling_align.eval.tasks import classification, ner, nli, paraphrase, retrieval
from xling_align.eval.tasks.result import TaskResult
from xling_align.modeling_xling import InputError

SHIFT = {"en": 0.0, "de": 0.6, "ar": 3.0}
LABELS = ["sun", "rain", "snow"]
COUNT = 90


def texts(language):
    return [f"{language} {i}" for i in range(COUNT)]


def labels(start=0):
    return [LABELS[i % 3] for i in range(start, start + COUNT)]


def encode(given, language):
    """Text i lies near the corner of its label; a language moves everything by its shift."""
    numbers = [int(text.split()[1]) for text in given]
    noise = np.random.default_rng(0).normal(size=(COUNT, 3)) * 0.4
    shift = SHIFT[language] * np.array([1.0, -1.0, 0.0])
    return np.array([np.eye(3)[i % 3] + noise[i] + shift for i in numbers], dtype=np.float32)


def constant(given, language):
    return np.ones((len(given), 3), dtype=np.float32)


def test_retrieval_scores_every_language_but_the_source():
    result = retrieval.run(encode, {language: texts(language) for language in SHIFT})
    expected = retrieval_scores(encode(texts("en"), "en"), encode(texts("ar"), "ar"))
    assert set(result.scores) == {"de", "ar"}
    assert result.details["ar"] == expected and result.scores["ar"] == expected["accuracy"]
    assert result.scores["de"] > result.scores["ar"]
    assert result.mean == pytest.approx((result.scores["de"] + result.scores["ar"]) / 2)
    assert result.summary() == {"mean_others": result.mean}


def test_retrieval_of_a_constant_encoder_is_at_chance():
    assert retrieval.run(constant, {language: texts(language) for language in SHIFT}).mean <= 1 / COUNT


@pytest.mark.parametrize("data", [{"de": ["a"], "fr": ["b"]}, {"en": ["a"]}, {"en": ["a"], "de": ["a", "b"]}])
def test_retrieval_refuses_lists_that_are_not_aligned(data):
    with pytest.raises(InputError, match="retrieval needs"):
        retrieval.run(constant, data)


def test_classification_equals_a_plain_scikit_learn_run():
    train = (texts("en"), labels())
    result = classification.run(encode, train, {language: (texts(language), labels()) for language in ("de", "ar")})

    def unit(language):
        vectors = encode(texts(language), language)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    x, x_test, y, y_test = train_test_split(unit("en"), labels(), test_size=0.2, stratify=labels(), random_state=0)
    scaler = StandardScaler().fit(x)
    classifier = LogisticRegression(max_iter=2000).fit(scaler.transform(x), y)
    for language, vectors, gold in [
        ("en", x_test, y_test),
        ("ar", unit("ar"), labels()),
        ("de", unit("de"), labels()),
    ]:
        predicted = classifier.predict(scaler.transform(vectors))
        assert result.scores[language] == pytest.approx(f1_score(gold, predicted, average="macro"))
    assert result.details["en"]["texts"] == COUNT / 5
    assert result.scores["en"] > result.scores["ar"]
    assert result.summary()["gap"] == pytest.approx(result.scores["en"] - result.mean)


def test_classification_is_the_same_twice():
    tests = {"de": (texts("de"), labels())}
    first, second = (classification.run(encode, (texts("en"), labels()), tests) for _ in range(2))
    assert first == second


def test_a_test_set_in_the_source_language_replaces_the_held_out_part():
    tests = {"en": (texts("en")[:30], labels()[:30]), "de": (texts("de"), labels())}
    result = classification.run(encode, (texts("en"), labels()), tests)
    assert result.details["en"]["texts"] == 30
    assert result.metadata["train_texts"] == COUNT


def test_classification_of_a_constant_encoder_is_at_chance():
    result = classification.run(constant, (texts("en"), labels()), {"de": (texts("de"), labels())})
    assert result.scores["de"] == pytest.approx(1 / 6)  # one label of three predicted: F1 0.5, 0, 0
    assert result.details["de"]["accuracy"] == pytest.approx(1 / 3)


def test_labels_that_a_test_lacks_do_not_change_its_denominator():
    def corners(given, language):
        return np.array([np.eye(3)[int(text.split()[1]) % 3] for text in given])

    gold = ["rain" if label == "rain" else "sun" for label in labels()]  # half of the suns look like snow
    result = classification.run(corners, (texts("en"), labels()), {"de": (texts("de"), gold)})
    assert result.scores["de"] == pytest.approx((1 + 2 / 3) / 2)


@pytest.mark.parametrize(
    ("train", "tests", "message"),
    [
        ((["a"], ["x"]), {}, "two or more labels"),
        ((["a", "b"], ["x", "y"]), {"de": (["c"], ["z"])}, "de: label 'z'"),
        ((["a", "b"], ["x", "y"]), {"de": (["c"], ["x", "y"])}, "1 texts for 2 labels"),
        ((["a", "b"], ["x", "y"]), {"de": ([], [])}, "0 texts"),
        ((["a", "b"], ["x", "y"]), {"de": (["c"], ["x"])}, "cannot hold out 20%"),
    ],
)
def test_classification_refuses_data_that_do_not_fit(train, tests, message):
    with pytest.raises(InputError, match=message):
        classification.run(constant, train, tests)


def test_the_mean_leaves_the_source_out_and_needs_another_language():
    assert TaskResult("t", "m", {"en": 1.0, "de": 0.5, "fr": 0.25}).mean == 0.375
    assert TaskResult("t", "m", {"en": 1.0, "de": 0.5}, source="de").mean == 1.0
    with pytest.raises(InputError, match="besides 'en'"):
        _ = TaskResult("t", "m", {"en": 1.0}).mean


def test_tatoeba_pairs_each_language_with_its_own_english():
    data = {"de": Translations(texts("en")[:30], texts("de")[:30]), "ar": Translations(texts("en"), texts("ar"))}
    result = retrieval.run_tatoeba(encode, ByLanguage(data, limit=90))
    for language, (english, foreign) in data.items():
        expected = retrieval_scores(encode(english, "en"), encode(foreign, language))
        assert result.details[language] == {**expected, "sentences": len(english)}
        assert result.scores[language] == expected["accuracy"] > 0
    assert result.metadata == {"limit": 90}


@pytest.mark.parametrize("data", [{}, {"de": (["a"], ["b", "c"])}, {"de": ([], [])}])
def test_tatoeba_refuses_sides_that_are_not_aligned(data):
    with pytest.raises(InputError, match="tatoeba|N > 0"):
        retrieval.run_tatoeba(constant, data)


def test_classification_states_the_limit_of_its_tests():
    tests = ByLanguage({"de": Texts(texts("de"), labels())}, limit=COUNT)
    assert classification.run(encode, (texts("en"), labels()), tests).metadata["limit"] == COUNT


PAIRS = {"en": Pairs(list("abcd"), list("abcx"), list("1110")), "de": Pairs(list("ab"), list("xb"), list("10"))}


def test_paraphrase_scores_the_share_of_right_labels():
    def same(first, second, language):
        assert language in PAIRS
        return [str(int(one == other)) for one, other in zip(first, second, strict=True)]

    result = paraphrase.run(same, ByLanguage(PAIRS, limit=4))
    assert result.scores == {"en": 1.0, "de": 0.0}
    confusion = {"labels": ["0", "1"], "counts": [[1, 0], [0, 3]]}
    assert result.details["en"] == {"accuracy": 1.0, "majority": 0.75, "pairs": 4, "confusion": confusion}
    assert result.summary()["gap"] == 1.0 and result.metadata == {"limit": 4}


def test_an_answer_that_is_always_the_same_scores_the_majority():
    result = paraphrase.run(lambda first, second, language: ["1"] * len(first), PAIRS)
    assert all(scores["accuracy"] == scores["majority"] for scores in result.details.values())


def test_a_test_with_one_label_may_get_the_other():
    tests = {"de": Pairs(["a", "b"], ["c", "d"], ["0", "0"])}
    assert paraphrase.run(lambda *_, **__: ["1", "1"], tests, labels=["0", "1"]).scores == {"de": 0.0}


@pytest.mark.parametrize(
    ("answers", "tests", "message"),
    [
        (["1"] * 4, {}, "got none"),
        (["1"] * 3, {"en": PAIRS["en"]}, "en: the classifier gave 3 labels for 4 pairs"),
        (["yes"] * 4, {"en": PAIRS["en"]}, "en: label '0' is not one of the classifier's labels, 'no', 'yes'"),
        ([], {"en": Pairs(["a"], ["b"], [])}, "en: 1, 1 texts for 0 labels"),
    ],
)
def test_paraphrase_refuses_what_does_not_match(answers, tests, message):
    with pytest.raises(InputError, match=message):
        paraphrase.run(lambda *_, **__: answers, tests, labels=["yes", "no"] if "yes" in answers else None)


SENTENCES = {
    "en": Tagged([["Anna", "left"], ["Rome"]], [["B-PER", "O"], ["B-LOC"]]),
    "sw": Tagged([["Anna", "leo"]], [["B-PER", "B-DATE"]]),
}


def tag_names(sentences, language):
    return [["B-PER" if word == "Anna" else "O" for word in words] for words in sentences]


def test_ner_leaves_out_types_that_training_lacked_and_names_them():
    result = ner.run(tag_names, ByLanguage(SENTENCES, limit=2), types=["PER", "LOC", "ORG"])
    assert result.scores == {"en": pytest.approx(2 / 3), "sw": 1.0}
    assert result.details["sw"] == {"f1": 1.0, "precision": 1.0, "recall": 1.0, "entities": 1, "sentences": 1}
    assert result.metadata == {"types": ["LOC", "ORG", "PER"], "left_out_types": ["DATE"], "limit": 2}


def test_ner_counts_all_types_unless_told_otherwise():
    result = ner.run(tag_names, SENTENCES)
    assert result.details["sw"]["recall"] == 0.5 and result.metadata["left_out_types"] == []


@pytest.mark.parametrize(
    ("answers", "tests", "message"),
    [
        ([], {}, "got none"),
        ([["O"]], {"en": SENTENCES["en"]}, "ner, en: .* 1 sentences predicted for 2"),
        ([["O"], ["O"]], {"en": SENTENCES["en"]}, "ner, en: .*sentence 1: 1 tags predicted for 2 words"),
        ([], {"en": Tagged([["a", "b"]], [["O"]])}, "ner, en, sentence 1: 2 words and 1 tags"),
    ],
)
def test_ner_refuses_what_does_not_match(answers, tests, message):
    with pytest.raises(InputError, match=message):
        ner.run(lambda *_, **__: answers, tests)


@pytest.mark.parametrize(("task", "name"), [(paraphrase, "paraphrase"), (nli, "nli")])
def test_pairs_in_two_languages_are_classified_without_a_language(task, name):
    seen = []

    def classify(first, second, language):
        seen.append(language)
        return ["1"] * len(first)

    result = task.run(classify, PAIRS, first="en")
    assert seen == ["en", None] and result.metadata == {"first_language": "en"} and result.task == name
    task.run(classify, PAIRS)
    assert seen[2:] == ["en", "de"]


def test_inference_is_scored_as_paraphrases_are():
    def answers(first, second, language):
        return ["1"] * len(first)

    one, other = (task.run(answers, ByLanguage(PAIRS, limit=4)) for task in (paraphrase, nli))
    assert one.scores == other.scores == {"en": 0.75, "de": 0.5} and one.details == other.details
    with pytest.raises(InputError, match="nli, en: the classifier gave 1 labels for 4 pairs"):
        nli.run(lambda *_, **__: ["1"], PAIRS)
