"""Single sentences by language, and the queue that they feed."""

import gzip

import numpy as np
import pytest
from transformers import AutoModel

from tests.conftest import LANGUAGES, encoder_config, make_tokenizer
from tests.trainers.test_trainer import PAIRS, arguments, fresh_model
from xling_align.modeling_xling import InputError, XLingAlignModel
from xling_align.trainers import XLingAlignTrainer
from xling_align.trainers.align import PairData, build
from xling_align.trainers.arguments import DataArguments, ModelArguments
from xling_align.trainers.data.monolingual import MonolingualTexts, read_monolingual
from xling_align.trainers.data.pairs import pair_id_of


@pytest.fixture(scope="module")
def config():
    return XLingAlignModel.from_encoder(encoder_config("bert"), LANGUAGES).config


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "de.txt").write_text("guten morgen\n\nsonne\n", encoding="utf-8")
    (tmp_path / "news.en.txt.gz").write_bytes(gzip.compress(b"Red!\n"))
    (tmp_path / "notes.md").write_text("not text")
    return tmp_path


def read(paths, config) -> MonolingualTexts:
    return read_monolingual([str(path) for path in paths], make_tokenizer(), config, 16)


def test_a_folder_gives_its_texts_with_languages_and_meanings(folder, config):
    texts = read([folder], config)
    assert texts.languages.tolist() == [config.language_id(code) for code in ("de", "de", "en")]
    assert texts.texts.text(1).tolist() == make_tokenizer()("sonne")["input_ids"]
    assert texts.ids[2] == pair_id_of("red", "en")  # that of a pair whose source is the same sentence


def test_a_sentence_is_no_negative_of_its_own_translation(folder, tmp_path):
    (tmp_path / "pairs.tsv").write_text("Good morning!\tGuten Morgen.\nmoon\tmond\nnight\tnacht\nday\ttag\n")
    AutoModel.from_config(encoder_config("bert")).save_pretrained(tmp_path / "encoder")
    make_tokenizer().save_pretrained(tmp_path / "encoder")
    args = arguments(
        tmp_path / "out", losses=["inter", "momentum"], queue_size=8, max_steps=1, per_device_train_batch_size=2
    )
    data = DataArguments([str(tmp_path / "pairs.tsv")], target_language="de", monolingual_files=[str(folder)])
    trainer = build(ModelArguments(encoder=str(tmp_path / "encoder")), PairData(data), args)
    expected = [pair_id_of("good morning", "en"), pair_id_of("sonne", "de"), pair_id_of("red", "en")]
    assert trainer.monolingual.ids.tolist() == expected


def test_a_meaning_that_the_data_names_counts_on_both_sides(folder, config):
    pair = {"source": "red", "target": "sonne", "source_language": "en", "target_language": "de", "pair_id": 7}
    texts = read_monolingual([str(folder)], make_tokenizer(), config, 16, [{**pair, "score": None}])
    assert texts.ids.tolist() == [pair_id_of("guten morgen", "de"), 7, 7]


def test_a_language_without_pairs_is_one_of_the_models(folder, tmp_path):
    (folder / "fr.txt").write_text("bonjour\n")
    (tmp_path / "pairs.tsv").write_text("sun\tsonne\n")
    data = DataArguments([str(tmp_path / "pairs.tsv")], target_language="de", monolingual_files=[str(folder)])
    assert PairData(data).languages == ["de", "en", "fr"]


def test_rows_go_round_in_another_order_each_time(folder, config):
    texts = read([folder], config)
    whole = texts.rows(0, 12)
    assert np.array_equal(np.concatenate([texts.rows(0, 5), texts.rows(5, 7)]), whole)
    epochs = whole.reshape(4, 3)
    assert all(sorted(epoch) == [0, 1, 2] for epoch in epochs.tolist())
    assert len({tuple(epoch) for epoch in epochs.tolist()}) > 1


def test_single_sentences_follow_the_keys_into_the_queue(folder, config, tmp_path):
    texts = read([folder], config)
    args = arguments(tmp_path / "out", losses=["inter", "momentum"], queue_size=32, max_steps=2, monolingual_share=0.5)
    trainer = XLingAlignTrainer(fresh_model(), args, PAIRS, processing_class=make_tokenizer(), monolingual=texts)
    trainer.train()
    ids = trainer.momentum_contrast.queue.negatives()[1].tolist()
    assert len(ids) == 2 * (8 + 2)
    assert ids[8:10] == texts.ids[texts.rows(0, 2)].tolist()
    assert ids[18:20] == texts.ids[texts.rows(2, 2)].tolist()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("sentences.txt", "sun\n", "does not end in its language"),
        ("de.csv", "sun\n", "does not end in its language"),
        ("xx.txt", "sun\n", "language 'xx' is not one of"),
        ("de.txt", "\n\n", "holds no sentence"),
    ],
)
def test_unusable_files_are_one_line(tmp_path, config, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read([tmp_path / name], config)


def test_absent_and_empty_folders_are_one_line(tmp_path, config):
    with pytest.raises(InputError, match="there is no file or folder"):
        read([tmp_path / "nothing"], config)
    with pytest.raises(InputError, match="holds no text file"):
        read([tmp_path], config)


def test_single_sentences_without_a_queue_are_refused(folder, config, tmp_path):
    with pytest.raises(InputError, match="add momentum to --losses"):
        XLingAlignTrainer(
            fresh_model(),
            arguments(tmp_path),
            PAIRS,
            processing_class=make_tokenizer(),
            monolingual=read([folder], config),
        )
