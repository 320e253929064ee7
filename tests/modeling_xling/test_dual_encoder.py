"""The dual encoder: each text goes through the tower of its language, and through that one alone."""

import logging

import pytest
import torch
from sentence_transformers import SentenceTransformer
from torch import nn
from transformers import AutoConfig, AutoModel, ElectraConfig

from tests.conftest import LANGUAGES, MAX_WORDS, encoder_config, make_tokenizer, stir
from tests.modeling_xling.test_hub import load_alone
from xling_align.modeling_xling import (
    InputError,
    XLingAlignConfig,
    XLingAlignForPreTraining,
    XLingAlignForSequenceClassification,
    XLingAlignModel,
)
from xling_align.trainers import XLingAlignTrainer, XLingAlignTrainingArguments, align
from xling_align.trainers.arguments import ModelArguments

close = torch.testing.assert_close
TOWERS = [("bert", "bert"), ("xlm-roberta", "xlm-roberta"), ("bert", "modernbert"), ("xlm-roberta", "distilbert")]
TEXTS = ["good morning", "guten morgen sonne mond rot", "sun", "bonjour", "red green blue"]
ROWS = torch.tensor([1, 2, 1, 3, 0])  # en, de, en, fr, unknown
SOURCE = ROWS == 1


@pytest.fixture(scope="module")
def target_folders(tmp_path_factory) -> dict[str, str]:
    """A second encoder of each family, with other weights than conftest's."""
    folders = {}
    for name in {target for _, target in TOWERS}:
        torch.manual_seed(7)
        folder = tmp_path_factory.mktemp(f"{name}_target")
        AutoModel.from_config(encoder_config(name)).save_pretrained(folder)
        make_tokenizer().save_pretrained(folder)
        folders[name] = str(folder)
    return folders


@pytest.fixture(params=TOWERS, ids="+".join)
def towers(request, encoder_folders, target_folders) -> dict:
    """The two towers, as arguments of `from_encoder`."""
    source, target = request.param
    return {"encoder": encoder_folders[source], "target_encoder": target_folders[target]}


@pytest.fixture
def pair(encoder_folders, target_folders) -> dict:
    """Towers of two families, where one pairing is enough."""
    return {"encoder": encoder_folders["bert"], "target_encoder": target_folders["xlm-roberta"]}


@pytest.fixture(scope="module")
def batch() -> dict:
    """Texts of different lengths, padded."""
    encoded = make_tokenizer()(TEXTS, padding=True, return_tensors="pt")
    return {name: encoded[name] for name in ("input_ids", "attention_mask")}


def dual(towers: dict, **config) -> XLingAlignModel:
    """A dual encoder in eval mode, its language rows and fusion away from their start."""
    torch.manual_seed(1)
    model = XLingAlignModel.from_encoder(languages=LANGUAGES, **towers, **config).eval()
    stir(model)
    return model


def alone(model: XLingAlignModel, side: str) -> XLingAlignModel:
    """One tower of a dual encoder as a model with one encoder, all else the same."""
    settings = {name: getattr(model.config, name) for name in ("language_token", "pooling", "fusion_context")}
    encoder = model.towers[("source", "target").index(side)]
    single = XLingAlignModel.from_encoder(type(encoder.config)(**encoder.config.to_dict()), LANGUAGES, **settings)
    weights = {name: value for name, value in model.state_dict().items() if "encoder." not in name}
    weights |= {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    single.load_state_dict(weights)
    return single.eval()


@pytest.mark.parametrize(
    ("language_token", "pooling"), [("insert", "cls"), ("insert", "mean"), ("pool", "cls"), ("none", "mean")]
)
def test_rows_of_each_language_equal_what_their_tower_alone_gives(towers, batch, language_token, pooling):
    model = dual(towers, language_token=language_token, pooling=pooling)
    segments = torch.zeros_like(batch["input_ids"])
    segments[:, 3:] = 1
    both = model(**batch, token_type_ids=segments, language_ids=ROWS)
    close(both.language_ids, ROWS)
    for side, mine in (("source", SOURCE), ("target", ~SOURCE)):
        single = alone(model, side)
        output = single(**batch, token_type_ids=segments, language_ids=ROWS)
        for name in ("last_hidden_state", "pooler_output", "language_state", "word_states"):
            close(both[name][mine], output[name][mine], atol=1e-5, rtol=1e-4)
        assert ((both.pooler_output - output.pooler_output)[~mine].abs().amax(1) > 1e-2).all()


def test_a_mixed_batch_equals_a_batch_for_each_side(towers, batch):
    model = dual(towers)
    mixed = model(**batch, language_ids=ROWS)
    for mine in (SOURCE, ~SOURCE):
        own = model(**{name: value[mine] for name, value in batch.items()}, language_ids=ROWS[mine])
        close(mixed.last_hidden_state[mine], own.last_hidden_state, atol=1e-5, rtol=1e-4)
    order = torch.tensor([4, 1, 3, 0, 2])
    shuffled = model(**{name: value[order] for name, value in batch.items()}, language_ids=ROWS[order])
    close(shuffled.pooler_output, mixed.pooler_output[order], atol=1e-5, rtol=1e-4)


def test_word_embeddings_serve_as_well_as_ids(encoder_folders, target_folders, batch):
    model = dual({"encoder": encoder_folders["xlm-roberta"], "target_encoder": target_folders["xlm-roberta"]})
    tables = [tower.get_input_embeddings() for tower in model.towers]
    words = torch.where(SOURCE[:, None, None], *(table(batch["input_ids"]) for table in tables))
    mask = batch["attention_mask"]
    by_words = model(inputs_embeds=words, attention_mask=mask, language_ids=ROWS).pooler_output
    close(by_words, model(**batch, language_ids=ROWS).pooler_output, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("language_ids", "calls"),
    [("en", ["encoder"]), ("de", ["target"]), (0, ["target"]), (ROWS, ["encoder", "target"])],
)
def test_each_tower_runs_at_most_once_and_only_for_its_own_rows(pair, batch, language_ids, calls):
    model, seen = dual(pair), []
    model.encoder.register_forward_hook(lambda *_: seen.append("encoder"))
    model.target_encoder.register_forward_hook(lambda *_: seen.append("target"))
    model(**batch, language_ids=language_ids)
    assert seen == calls


def test_without_ids_the_default_tower_reads_everything_and_says_so_once(pair, batch, caplog):
    logging.Logger.warning_once.cache_clear()
    model = dual(pair)
    with caplog.at_level(logging.WARNING):
        vectors = model(**batch).pooler_output
        close(vectors, model(**batch, language_ids=None).pooler_output, atol=0, rtol=0)
    messages = [record.getMessage() for record in caplog.records if "no language_ids" in record.getMessage()]
    assert len(messages) == 1
    assert "target tower reads every text" in messages[0]
    close(vectors, alone(model, "target")(**batch).pooler_output, atol=1e-5, rtol=1e-4)
    model.config.default_tower = "source"
    close(model(**batch).pooler_output, alone(model, "source")(**batch).pooler_output, atol=1e-5, rtol=1e-4)


def test_ids_give_no_warning_and_one_encoder_needs_none(pair, batch, caplog):
    logging.Logger.warning_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        dual(pair)(**batch, language_ids="de")
        XLingAlignModel.from_encoder(pair["encoder"], LANGUAGES)(**batch)
    assert "no language_ids" not in caplog.text


def test_hidden_languages_go_where_texts_without_ids_go(pair, batch):
    model = dual(pair, language_dropout=1.0)
    model.encoder.register_forward_hook(lambda *_: pytest.fail("the source tower read a text of hidden language"))
    assert model.train()(**batch, language_ids=ROWS).language_ids.tolist() == [0] * 5


def test_layers_are_put_back_in_row_order_where_both_towers_have_them(towers, batch):
    model = dual(towers)
    model.set_attn_implementation("eager")
    asked = {"output_hidden_states": True, "output_attentions": True}
    both = model(**batch, language_ids=ROWS, **asked)
    assert [tower.config._attn_implementation for tower in model.towers] == ["eager", "eager"]
    for mine in (SOURCE, ~SOURCE):
        own = model(**{name: value[mine] for name, value in batch.items()}, language_ids=ROWS[mine], **asked)
        for name, layers in (("hidden_states", 3), ("attentions", 2)):
            assert len(both[name]) == len(own[name]) == layers
            for together, separate in zip(both[name], own[name], strict=True):
                close(together[mine], separate, atol=1e-5, rtol=1e-4)


def test_towers_of_different_depth_and_length_go_together(batch):
    deep = encoder_config("bert")
    deep.num_hidden_layers, deep.max_position_embeddings = 3, MAX_WORDS - 6
    towers = {"encoder": encoder_config("bert"), "target_encoder": deep}
    for first, second in (("encoder", "target_encoder"), ("target_encoder", "encoder")):
        model = dual({"encoder": towers[first], "target_encoder": towers[second]})
        assert model.config.max_position_embeddings == MAX_WORDS - 7
        assert model(torch.full((2, MAX_WORDS - 7), 5), language_ids=ROWS[:2]).pooler_output.isfinite().all()
        assert model(**batch, language_ids=ROWS, output_hidden_states=True).hidden_states is None
        depth = model.config.target_encoder_config.num_hidden_layers + 1
        assert len(model(**batch, language_ids="de", output_hidden_states=True).hidden_states) == depth


def test_configs_of_both_towers_survive_the_round_trip(pair, tmp_path):
    dual(pair).config.save_pretrained(tmp_path)
    again = XLingAlignConfig.from_pretrained(tmp_path)
    assert set(again.sub_configs) == {"encoder_config", "target_encoder_config"}
    assert [again.encoder_config.model_type, again.target_encoder_config.model_type] == ["bert", "xlm-roberta"]
    again.vocab_size = 99
    assert [again.encoder_config.vocab_size, again.target_encoder_config.vocab_size] == [99, 99]
    XLingAlignModel.from_encoder(pair["encoder"], LANGUAGES).config.save_pretrained(tmp_path)
    assert XLingAlignConfig.from_pretrained(tmp_path).target_encoder_config is None


def test_a_saved_dual_encoder_loads_alone_with_the_same_vectors(pair, tmp_path):
    model, tokenizer = dual(pair), make_tokenizer()
    model.save_pretrained(tmp_path / "dual", tokenizer=tokenizer)
    XLingAlignForPreTraining.from_base(model).save_pretrained(tmp_path / "pretraining", tokenizer=tokenizer)
    folders = {name: str(tmp_path / name) for name in ("dual", "pretraining")}
    report = load_alone(folders, tmp_path)
    texts = ["good morning", "guten morgen sonne mond rot", "bonjour", "sun " * 60]
    batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    for code, side in (("en", "source"), ("de", "target"), (None, "target")):
        single = alone(model, side)
        vectors = single(batch["input_ids"], batch["attention_mask"], language_ids=code).pooler_output
        expected = nn.functional.normalize(vectors, dim=1)
        for name in folders:
            for way in ("auto", "sentence_transformers"):
                close(torch.tensor(report[name][str(code)][way]), expected, atol=1e-5, rtol=0)
    assert "dual encoder (bert for en, xlm-roberta for all others)" in (tmp_path / "dual" / "README.md").read_text()


def test_sentence_transformers_picks_the_tower_by_language(towers, tmp_path):
    model = dual(towers)
    model.save_pretrained(tmp_path, tokenizer=make_tokenizer())
    encoder = SentenceTransformer(str(tmp_path), trust_remote_code=True)
    batch = make_tokenizer()(TEXTS, padding=True, return_tensors="pt")
    for code, side in (("en", "source"), ("de", "target")):
        single = alone(model, side)(batch["input_ids"], batch["attention_mask"], language_ids=code)
        expected = nn.functional.normalize(single.pooler_output, dim=1)
        close(encoder.encode(TEXTS, language_ids=code, convert_to_tensor=True).cpu(), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_loads_both_towers_and_is_near(towers, batch, tmp_path, dtype):
    model = dual(towers)
    model.save_pretrained(tmp_path)
    half = XLingAlignModel.from_pretrained(tmp_path, dtype=dtype).eval()
    assert {parameter.dtype for parameter in half.parameters()} == {dtype}
    vectors = half(**batch, language_ids=ROWS).pooler_output
    cosine = torch.cosine_similarity(vectors.float(), model(**batch, language_ids=ROWS).pooler_output)
    assert cosine.min() > 0.99


def test_an_encoder_given_twice_is_two_copies_and_the_model_builds_without_memory(encoder_folders, batch):
    folder = encoder_folders["bert"]
    model = dual({"encoder": folder, "target_encoder": folder})
    single = alone(model, "source")
    close(model(**batch, language_ids=ROWS).pooler_output, single(**batch, language_ids=ROWS).pooler_output)
    source, target = (list(tower.parameters()) for tower in model.towers)
    assert not {value.data_ptr() for value in source} & {value.data_ptr() for value in target}
    with torch.device("meta"):
        empty = AutoModel.from_config(model.config)
    assert sum(p.numel() for p in empty.parameters()) == sum(p.numel() for p in model.parameters())


def test_gradient_checkpointing_gives_the_same_gradient_in_both_towers(pair, batch):
    model = dual(pair, language_dropout=0.0)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    model.train()

    def gradients() -> list[torch.Tensor]:
        model.zero_grad()
        model(**batch, language_ids=ROWS).pooler_output.square().sum().backward()
        return [tower.get_input_embeddings().weight.grad.clone() for tower in model.towers]

    plain = gradients()
    model.gradient_checkpointing_enable()
    assert all(tower.is_gradient_checkpointing for tower in model.towers)
    for again, before in zip(gradients(), plain, strict=True):
        assert before.abs().max() > 1e-3
        close(again, before, atol=1e-5, rtol=1e-4)


def test_a_text_moves_its_own_tower_only(towers, batch):
    model = dual(towers, language_dropout=0.0)
    for code, moved in (("en", [True, False]), ("de", [False, True])):
        model.zero_grad()
        model(**batch, language_ids=code).pooler_output.square().sum().backward()
        assert [any(p.grad is not None for p in tower.parameters()) for tower in model.towers] == moved


@pytest.mark.parametrize("row_groups", [1, 2])
def test_training_moves_every_layer_of_both_towers(towers, tmp_path, row_groups):
    words = [("good morning", "guten morgen"), ("sun", "sonne"), ("moon", "mond"), ("red", "rot"), ("blue", "blau")]
    pairs = [
        {"source": s, "target": t, "source_language": "en", "target_language": "de"}
        for s, t in [*words, ("good night", "nacht"), ("day", "tag"), ("green", "grün")]
    ]
    arguments = XLingAlignTrainingArguments(
        output_dir=str(tmp_path),
        max_steps=3,
        learning_rate=1e-3,
        per_device_train_batch_size=4,
        bf16=False,
        disable_tqdm=True,
        row_groups=row_groups,
    )
    model = dual(towers)
    start = {name: value.clone() for name, value in model.named_parameters()}
    trainer = XLingAlignTrainer(model, arguments, pairs, processing_class=make_tokenizer())
    trainer.train()
    trainer.save_model()
    again = XLingAlignModel.from_pretrained(tmp_path)
    for tower in ("encoder", "target_encoder"):
        layers = {name for name in start if name.startswith(f"{tower}.") and name.endswith("weight")}
        still = [name for name in layers if torch.equal(start[name], again.get_parameter(name))]
        unread = [name for name in still if "token_type" not in name and "position" not in name]
        assert len(layers) > 10
        assert not unread


def test_resize_save_reload_keeps_vectors_of_both_towers(towers, batch, tmp_path):
    full = XLingAlignForPreTraining.from_base(dual(towers)).eval()
    expected, rows = full(**batch, language_ids=ROWS).pooler_output, full.config.vocab_size
    full.resize_token_embeddings(rows + 7)
    full.save_pretrained(tmp_path)
    for cls in (XLingAlignForPreTraining, XLingAlignModel, XLingAlignForSequenceClassification):
        again = cls.from_pretrained(tmp_path).eval()
        base = getattr(again, "xling", again)
        sizes = [tower.get_input_embeddings().weight.shape[0] for tower in base.towers]
        assert sizes == [tower.config.vocab_size for tower in base.towers] == [rows + 7, rows + 7]
        close(base(**batch, language_ids=ROWS).pooler_output, expected, atol=1e-6, rtol=1e-5)
    base.resize_token_embeddings(rows)
    assert base.config.target_encoder_config.vocab_size == base.config.encoder_config.vocab_size == rows
    close(base(**batch, language_ids=ROWS).pooler_output, expected, atol=1e-6, rtol=1e-5)


def test_one_decoder_that_shares_the_source_towers_words_reads_both_sides(pair, batch):
    full = XLingAlignForPreTraining.from_base(dual(pair)).eval()
    assert full.lm_head.decoder.weight is full.xling.encoder.get_input_embeddings().weight
    positions = torch.zeros_like(batch["input_ids"], dtype=torch.bool)
    positions[1, 1] = True  # a German word
    states = full(**batch, language_ids=ROWS, lm_positions=positions).lm_states
    close(states, full.lm_head.transform(full(**batch, language_ids=ROWS).last_hidden_state[1:2, 1]))
    full.lm_head.decoder(states).square().sum().backward()
    assert all(tower.get_input_embeddings().weight.grad.abs().max() > 1e-3 for tower in full.xling.towers)


def test_each_language_starts_at_the_words_of_its_own_tower(towers):
    model = dual(towers)
    counts = torch.zeros(4, model.config.vocab_size)
    counts[1, 5], counts[1, 6], counts[2, 7] = 1, 3, 2
    untouched = model.language.embedding.weight[3].clone()
    model.init_language_embeddings(counts)
    source, target = (tower.get_input_embeddings().weight for tower in model.towers)
    table = model.language.embedding.weight
    close(table[1], source[5] / 4 + source[6] * 3 / 4)
    close(table[2], target[7])
    close(table[0], (target[5] / 4 + target[6] * 3 / 4 + target[7]) / 2)  # as texts without ids are read
    close(table[3], untouched)


@pytest.mark.parametrize("tower", ["target", "source"])
def test_stock_export_writes_the_chosen_tower_and_its_card_says_which(pair, tmp_path, tower):
    untouched = {"language_token": "none", "fusion_context": "none"}
    model = dual(pair, **untouched)
    own = {"source": {"en": ["good morning", "sun"]}, "target": {"de": ["guten morgen"], "fr": ["bonjour"]}}
    distance = model.export_stock(tmp_path / "stock", make_tokenizer(), own[tower], tower=tower)
    assert distance["min_cosine"] == pytest.approx(1.0, abs=1e-6)
    other = {"source": "target", "target": "source"}[tower]
    assert model.export_stock(tmp_path / "other", make_tokenizer(), own[other], tower=tower)["mean_cosine"] < 0.99
    stock = SentenceTransformer(str(tmp_path / "stock"))
    expected = alone(model, tower)(**make_tokenizer()("rot", return_tensors="pt", return_token_type_ids=False))
    vectors = stock.encode(["rot"], convert_to_tensor=True).cpu()
    close(vectors, nn.functional.normalize(expected.pooler_output, dim=1), atol=1e-5, rtol=0)
    assert f"The {tower} tower" in (tmp_path / "stock" / "README.md").read_text()
    with pytest.raises(InputError, match="tower 'both' is not one of target, source"):
        model.export_stock(tmp_path, make_tokenizer(), tower="both")


def larger(**changes):
    """A tiny BERT with some settings changed."""
    config = encoder_config("bert")
    for name, value in changes.items():
        setattr(config, name, value)
    return config


@pytest.mark.parametrize(
    ("target", "languages", "message"),
    [
        (larger(vocab_size=99), LANGUAGES, "24 word embeddings and target_encoder 99"),
        (larger(hidden_size=64), LANGUAGES, "hidden size 32 and target_encoder 64"),
        (encoder_config("bert"), [], "languages is empty"),
        (
            ElectraConfig(
                vocab_size=24, hidden_size=32, embedding_size=16, num_attention_heads=2, num_hidden_layers=1
            ),
            LANGUAGES,
            "size 32 and target_encoder of 16.*language_token='pool'",
        ),
        ("no/such-encoder", LANGUAGES, "'no/such-encoder' is neither a folder nor a Hub id"),
    ],
)
def test_towers_that_do_not_go_together_are_refused_in_one_line(target, languages, message):
    with pytest.raises(InputError, match=message) as caught:
        XLingAlignModel.from_encoder(encoder_config("bert"), languages, target_encoder=target)
    assert "\n" not in str(caught.value)


def test_word_embeddings_of_another_size_serve_where_no_language_token_is_inserted(batch):
    small = ElectraConfig(
        vocab_size=24, hidden_size=32, embedding_size=16, num_attention_heads=2, num_hidden_layers=2, pad_token_id=1
    )
    model = dual({"encoder": encoder_config("bert"), "target_encoder": small}, language_token="pool")
    mixed = model(**batch, language_ids=ROWS).pooler_output
    close(mixed[~SOURCE], alone(model, "target")(**batch, language_ids=ROWS).pooler_output[~SOURCE])


def test_the_program_builds_a_dual_encoder_and_goes_on_from_one(pair, batch, tmp_path):
    model = align.load_model(ModelArguments(**pair), LANGUAGES, "en").eval()
    assert isinstance(model.config.target_encoder_config, type(AutoConfig.from_pretrained(pair["target_encoder"])))
    target = AutoModel.from_pretrained(pair["target_encoder"], add_pooling_layer=False).state_dict()
    assert all(torch.equal(value, target[name]) for name, value in model.target_encoder.state_dict().items())
    model.save_pretrained(tmp_path, tokenizer=make_tokenizer())
    again = align.load_model(ModelArguments(encoder=str(tmp_path)), LANGUAGES, "en").eval()
    close(again(**batch, language_ids=ROWS).pooler_output, model(**batch, language_ids=ROWS).pooler_output)
    with pytest.raises(InputError, match="is aligned already"):
        align.load_model(ModelArguments(encoder=str(tmp_path), target_encoder=pair["encoder"]), LANGUAGES, "en")
    with pytest.raises(InputError, match="is wrapped already"):
        align.load_model(ModelArguments(encoder=pair["encoder"], target_encoder=str(tmp_path)), LANGUAGES, "en")


def test_the_program_refuses_towers_of_other_tokenizers(pair, tmp_path):
    AutoModel.from_config(encoder_config("bert")).save_pretrained(tmp_path)
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    file = tmp_path / "tokenizer.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"bonjour"', '"salut"'), encoding="utf-8")
    with pytest.raises(InputError, match="differ in 2 entries"):
        align.load_model(ModelArguments(encoder=pair["encoder"], target_encoder=str(tmp_path)), LANGUAGES, "en")
