"""The tasks that a model is measured on: where each finds its data, and how it is run.

A task on frozen vectors is run once. One that needs a classifier names its training; tasks of one training share the
fine-tuned model, and are run with several seeds.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from xling_align.cli.subject import Data, Setting, Subject

if TYPE_CHECKING:
    from xling_align.eval.data_dir import WordAligned
    from xling_align.eval.tasks.result import TaskResult


class Task(NamedTuple):
    """A task.

    `load(setting)` gives its `Data`. `run(subject, data)` gives its result; where there is a `training`,
    `run(subject, data, model)` does, `model` being the fine-tuned classifier.
    """

    title: str
    folder: str
    load: Callable[[Setting], Data]
    run: Callable[..., "TaskResult"]
    training: str | None = None
    unit: str = "%"
    dataset: str | None = None


def load_tatoeba(setting: Setting) -> Data:
    """Sentences and translations; of XNLI's development set where there is to be none of the test."""
    from xling_align.eval import data_dir

    if setting.dev:
        return Data(data_dir.xnli_translations(setting.data_dir, limit=setting.limit or 1000))
    return Data(data_dir.tatoeba(setting.data_dir))


def load_split(name: str, setting: Setting, **options: Any) -> Data:
    """One split of a data set of `data_dir`, all of its languages."""
    from xling_align.eval import data_dir

    return Data(getattr(data_dir, name)(setting.data_dir, setting.split, limit=setting.limit, **options))


def load_topics(name: str, setting: Setting) -> Data:
    """Labelled texts of all languages, and the English training texts."""
    from xling_align.eval import data_dir

    read = getattr(data_dir, name)
    return Data(read(setting.data_dir, setting.split), read(setting.data_dir, "train", ["en"])["en"])


def load_label_names(setting: Setting) -> Data:
    """Labelled texts of all languages, and the prompts that stand for the labels."""
    from xling_align.eval import data_dir
    from xling_align.eval.tasks import label_names

    tests = data_dir.sib200(setting.data_dir, setting.split)
    if setting.label_prompts:
        prompts = label_names.read_prompts(setting.label_prompts)
    else:
        labels = data_dir.sib200(setting.data_dir, "train", ["en"])["en"].labels
        prompts = [label_names.plain_prompts(labels)]
    label_names.check_labels(tests, prompts)
    return Data(tests, prompts)


def load_leakage(setting: Setting) -> Data:
    """Texts that mean the same in all languages, row by row."""
    from xling_align.eval import data_dir

    tests = data_dir.sib200(setting.data_dir, setting.split, limit=setting.limit)
    data_dir.check_parallel(tests, f"{setting.data_dir}/sib200")
    return Data(tests)


def load_sts17(setting: Setting) -> Data:
    """Rated pairs of STS 2017."""
    from xling_align.eval import data_dir
    from xling_align.modeling_xling import InputError

    if setting.dev:
        raise InputError("task 'sts17' has no development set; leave --dev, or the task")
    return Data(data_dir.sts17(setting.data_dir, limit=setting.limit))


def load_lexicon(setting: Setting) -> Data:
    """Words and translations; the part for training is not trained on here, and serves as development set."""
    from xling_align.eval import data_dir

    return Data(data_dir.lexicon(setting.data_dir, "train" if setting.dev else "test", limit=setting.limit))


def load_word_alignment(setting: Setting) -> Data:
    """Sentences and gold links, and those to choose a layer on."""
    from xling_align.eval import data_dir

    if setting.dev:  # one half of the sentences is scored, on the other the layer is chosen
        sets = data_dir.wordalign(setting.data_dir, "dev", limit=setting.limit)
        return Data(*({code: halved(own, half) for code, own in sets.items()} for half in (0, 1)))
    return Data(
        data_dir.wordalign(setting.data_dir, "test", limit=setting.limit), data_dir.wordalign(setting.data_dir, "dev")
    )


def halved(rows: "WordAligned", half: int) -> "WordAligned":
    """Every second of the sentences."""
    return type(rows)(rows.english[half::2], rows.foreign[half::2], rows.links[half::2])


def load_mining(setting: Setting) -> Data:
    """Pools of sentences of which most have no translation, and others to choose the threshold on."""
    from xling_align.eval import data_dir
    from xling_align.eval.tasks.mining import pools

    dev = data_dir.xnli_translations(setting.data_dir)
    if setting.dev:
        halves = {code: (len(sides.english) // 2, sides) for code, sides in dev.items()}
        first, second = (
            {
                code: data_dir.Translations(*(side[part(half)] for side in sides))
                for code, (half, sides) in halves.items()
            }
            for part in (lambda half: slice(half), lambda half: slice(half, None))
        )
        return Data(pools(first), pools(second))
    return Data(pools(data_dir.xnli_translations(setting.data_dir, setting.limit, "test")), pools(dev))


def load_bucc(setting: Setting) -> Data:
    """Pools of BUCC, and others to choose the threshold on."""
    from xling_align.eval.bucc import bucc

    scored, chosen = ("training", "sample") if setting.dev else ("test", "training")
    tests = bucc(setting.data_dir, scored, limit=setting.limit)
    return Data(tests, bucc(setting.data_dir, chosen, list(tests)))


def run_tatoeba(subject: Subject, data: Data) -> "TaskResult":
    """Retrieval of translations, both ways."""
    from xling_align.eval.tasks import retrieval

    return retrieval.run_tatoeba(subject.encode, data.tests)


def run_mining(subject: Subject, data: Data) -> "TaskResult":
    """Mining of translations."""
    from xling_align.eval.tasks import mining

    return mining.run(subject.encode, data.tests, data.more)


def run_lexicon(subject: Subject, data: Data) -> "TaskResult":
    """Translation of words."""
    from xling_align.eval.tasks import lexicon

    return lexicon.run(subject.encode, data.tests)


def run_word_alignment(subject: Subject, data: Data) -> "TaskResult":
    """Links between the words of translations, by the layer that is best on development sets."""
    from xling_align.eval.encoding import WordEncoder
    from xling_align.eval.tasks import word_alignment

    layers = [None, *WordEncoder(subject.encoder).layers]
    return word_alignment.run(subject.encode_words, data.tests, data.more, layers, [None, 1e-3])


def run_similarity(subject: Subject, data: Data) -> "TaskResult":
    """Similarity of sentences against human judgement."""
    from xling_align.eval.tasks import similarity

    return similarity.run(subject.encode, data.tests, source="en-en" if "en-en" in data.tests else "en")


def run_translations(subject: Subject, data: Data) -> "TaskResult":
    """How translations lie beside each other."""
    from xling_align.eval.tasks import similarity

    return similarity.run_translations(subject.encode, data.tests)


def run_leakage(subject: Subject, data: Data) -> "TaskResult":
    """How well the language is told from vectors of texts whose language the model was not told."""
    from xling_align.eval.tasks import leakage

    return leakage.run(subject.encode_untold, {code: rows.texts for code, rows in data.tests.items()})


def run_topics(subject: Subject, data: Data) -> "TaskResult":
    """Topics, by a linear classifier of English vectors."""
    from xling_align.eval.tasks import classification

    return classification.run(subject.encode, data.more, data.tests)


def run_label_names(subject: Subject, data: Data) -> "TaskResult":
    """Topics, by the names of the labels."""
    from xling_align.eval.tasks import label_names

    return label_names.run(subject.encode, data.tests, data.more)


def tuned(name: str) -> Callable[..., "TaskResult"]:
    """What runs a task of `tuning`, which is imported only where it is needed."""

    def run(*given: Any) -> "TaskResult":
        from xling_align.cli import tuning

        return getattr(tuning, name)(*given)

    return run


TASKS = {
    "tatoeba": Task(
        "Sentence retrieval (Tatoeba)",
        "tatoeba",
        load_tatoeba,
        run_tatoeba,
        dataset="mteb/tatoeba-bitext-mining",
    ),
    "mining": Task("Bitext mining (XNLI sentences)", "xnli", load_mining, run_mining),
    "bucc": Task("Bitext mining (BUCC 2018)", "bucc2018", load_bucc, run_mining),
    "lexicon": Task("Bilingual lexicon induction", "lexicon", load_lexicon, run_lexicon),
    "wordalign": Task("Word alignment", "wordalign", load_word_alignment, run_word_alignment),
    "stsb": Task(
        "Sentence similarity (STS benchmark)",
        "stsb",
        partial(load_split, "stsb"),
        run_similarity,
        dataset="mteb/stsb_multi_mt",
    ),
    "sts17": Task("Sentence similarity (STS 2017)", "sts17", load_sts17, run_similarity),
    "pair_similarity": Task(
        "Similarity of translations above that of others", "tatoeba", load_tatoeba, run_translations, unit=""
    ),
    "leakage": Task("Language leakage (SIB-200)", "sib200", load_leakage, run_leakage),
    "sib200": Task(
        "Topics on frozen vectors (SIB-200)",
        "sib200",
        partial(load_topics, "sib200"),
        run_topics,
        dataset="mteb/sib200",
    ),
    "label_names": Task("Topics by label names (SIB-200)", "sib200", load_label_names, run_label_names),
    "mldoc": Task("Topics on frozen vectors (MLDoc)", "mldoc", partial(load_topics, "mldoc"), run_topics),
    "sib200_tuned": Task(
        "Topics, fine-tuned (SIB-200)",
        "sib200",
        partial(load_split, "sib200"),
        tuned("run_texts"),
        "sib200",
        dataset="mteb/sib200",
    ),
    "panx": Task("Named entities (PAN-X)", "ner/panx", partial(load_split, "panx"), tuned("run_words"), "panx"),
    "masakhaner": Task(
        "Named entities (MasakhaNER)",
        "ner/masakhaner",
        partial(load_split, "panx", corpus="masakhaner"),
        tuned("run_words"),
        "panx",
    ),
    "pawsx": Task(
        "Paraphrases (PAWS-X)",
        "pawsx",
        partial(load_split, "pawsx"),
        tuned("run_paraphrase"),
        "pawsx",
        dataset="google-research-datasets/paws-x",
    ),
    "pawsx_mixed": Task(
        "Paraphrases, first text English (PAWS-X)",
        "pawsx",
        partial(load_split, "pawsx", first="en"),
        tuned("run_paraphrase_mixed"),
        "pawsx",
    ),
    "xnli": Task(
        "Inference (XNLI)", "xnli", partial(load_split, "xnli"), tuned("run_nli"), "xnli", dataset="facebook/xnli"
    ),
    "xnli_mixed": Task(
        "Inference, premise English (XNLI)",
        "xnli",
        partial(load_split, "xnli", first="en"),
        tuned("run_nli_mixed"),
        "xnli",
    ),
}


def results(subject: Subject, data: dict[str, Data], setting: Setting) -> dict[str, "TaskResult"]:
    """Run a task, or several tasks of one training.

    Args:
        subject: The model.
        data: What each task is scored on, in the languages that are wanted.
        setting: How.

    Returns:
        Each task's result.
    """
    if training := TASKS[next(iter(data))].training:
        from xling_align.cli.tuning import fine_tuned

        runs = {name: partial(TASKS[name].run, subject, own) for name, own in data.items()}
        return fine_tuned(subject, training, setting, runs)
    return {name: TASKS[name].run(subject, own) for name, own in data.items()}


def load(task: str, setting: Setting) -> Data:
    """A task's data in the languages that are wanted; how many rows there are at most goes with them."""
    from xling_align.eval.data_dir import ByLanguage

    tests, more = TASKS[task].load(setting)
    return Data(
        ByLanguage({code: rows for code, rows in tests.items() if setting.wants(code)}, getattr(tests, "limit", None)),
        more,
    )


def measure(model: str | Path, task: str, setting: Setting) -> dict:
    """One task's result as plain data.

    Args:
        model: Folder or Hub id.
        task: One of `TASKS`.
        setting: How.

    Returns:
        `score` (mean over the languages besides English, in %), `source`, `gap`, `worst_five`, `languages`, `metric`,
        `metadata`.
    """
    result = results(Subject(str(model)), {task: load(task, setting)}, setting)[task]
    figures = {name: 100 * value for name, value in result.summary().items()}
    languages = {code: 100 * value for code, value in result.scores.items()}
    metadata = {**result.metadata, "split": setting.split}
    return {
        "score": 100 * result.mean,
        **figures,
        "languages": languages,
        "metric": result.metric,
        "metadata": metadata,
    }
