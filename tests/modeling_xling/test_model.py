"""The base model over four encoder families."""

import pytest
import torch
from transformers import AutoModel

from tests.conftest import FAMILIES, LANGUAGES, MAX_WORDS, encoder_config, stir
from xling_align.modeling_xling import InputError, XLingAlignConfig, XLingAlignForPreTraining, XLingAlignModel

close = torch.testing.assert_close


def ids_of(codes: list[str]) -> torch.Tensor:
    return torch.tensor([LANGUAGES.index(code) + 1 for code in codes])


@pytest.mark.parametrize("language_token", ["pool", "none"])
def test_wrapping_leaves_the_encoder_untouched(family, encoder_folders, batch, language_token):
    plain = AutoModel.from_pretrained(encoder_folders[family]).eval()(**batch).last_hidden_state
    model = XLingAlignModel.from_encoder(encoder_folders[family], LANGUAGES, language_token=language_token).eval()
    states = model(**batch, language_ids="de").last_hidden_state
    close(states[batch["attention_mask"] == 1], plain[batch["attention_mask"] == 1], atol=1e-5, rtol=1e-5)


def test_fusion_starts_as_identity_whatever_the_language(family, encoder_folders, batch):
    model = XLingAlignModel.from_encoder(encoder_folders[family], LANGUAGES).eval()
    output = model(**batch, language_ids="fr")
    close(output.last_hidden_state, output.word_states)
    close(output.pooler_output, output.word_states[:, 0])


def test_first_position_is_the_pooler_output_and_lengths_equal_the_input(model, batch):
    output = model(**batch, language_ids="de", output_hidden_states=True)
    assert output.last_hidden_state.shape[:2] == batch["input_ids"].shape
    close(output.last_hidden_state[:, 0], output.pooler_output)
    assert all(states.shape[:2] == batch["input_ids"].shape for states in output.hidden_states)


@pytest.mark.parametrize("language_token", ["insert", "pool", "none"])
def test_codes_and_ids_are_the_same_and_languages_differ(family, encoder_folders, batch, language_token):
    model = XLingAlignModel.from_encoder(encoder_folders[family], LANGUAGES, language_token=language_token).eval()
    stir(model)
    code, number = model(**batch, language_ids="de"), model(**batch, language_ids=2)
    rows = model(**batch, language_ids=torch.tensor([2, 2, 2]))
    close(code.pooler_output, number.pooler_output)
    close(code.pooler_output, rows.pooler_output)
    close(code.pooler_output, model(**batch, language_ids=["de", "de", "de"]).pooler_output)
    for other in ("fr", None):
        difference = (code.pooler_output - model(**batch, language_ids=other).pooler_output).abs().amax(1)
        assert (difference > 1e-3).all()


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("language_token", ["insert", "pool", "none"])
def test_padding_does_not_change_a_text(family, encoder_folders, batch, language_token, pooling):
    model = XLingAlignModel.from_encoder(
        encoder_folders[family], LANGUAGES, language_token=language_token, pooling=pooling
    ).eval()
    stir(model)
    together = model(**batch, language_ids=ids_of(["en", "de", "fr"])).pooler_output
    for row, code in enumerate(["en", "de", "fr"]):
        length = int(batch["attention_mask"][row].sum())
        alone = model(input_ids=batch["input_ids"][row : row + 1, :length], language_ids=code).pooler_output
        close(alone, together[row : row + 1], atol=1e-5, rtol=1e-4)


def test_mean_pooling_of_two_words_is_their_mean(encoder_folders):
    model = XLingAlignModel.from_encoder(
        encoder_folders["bert"], LANGUAGES, pooling="mean", fusion_context="none"
    ).eval()
    ids, mask = torch.tensor([[0, 5, 1]]), torch.tensor([[1, 1, 0]])
    output = model(input_ids=ids, attention_mask=mask)
    close(output.pooler_output, output.word_states[:, :2].mean(1))


def test_text_at_the_length_limit_runs_and_one_more_token_is_refused(model):
    assert model.config.max_position_embeddings == MAX_WORDS - 1
    assert model(input_ids=torch.full((2, MAX_WORDS - 1), 5)).pooler_output.isfinite().all()
    with pytest.raises(InputError, match=f"{MAX_WORDS} tokens.*at most {MAX_WORDS - 1}"):
        model(input_ids=torch.full((2, MAX_WORDS), 5))


def test_without_language_token_the_limit_is_the_encoders_own(family, encoder_folders):
    model = XLingAlignModel.from_encoder(encoder_folders[family], LANGUAGES, language_token="pool").eval()
    assert model(input_ids=torch.full((1, MAX_WORDS), 5)).pooler_output.isfinite().all()


def test_sdpa_and_eager_agree_and_eager_gives_attention(model, batch):
    model.set_attn_implementation("sdpa")
    fast = model(**batch, language_ids="de").pooler_output
    model.set_attn_implementation("eager")
    slow = model(**batch, language_ids="de", output_attentions=True)
    close(fast, slow.pooler_output, atol=1e-5, rtol=1e-4)
    words = batch["input_ids"].shape[1] + 1
    assert len(slow.attentions) == 2
    assert slow.attentions[0].shape == (3, 2, words, words)


def test_gradient_checkpointing_gives_the_same_gradient(model, batch):
    model.config.language_dropout = 0.0
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model.train()

    def gradient() -> torch.Tensor:
        model.zero_grad()
        model(**batch, language_ids="de").pooler_output.square().sum().backward()
        return model.get_input_embeddings().weight.grad.clone()

    plain = gradient()
    model.gradient_checkpointing_enable()
    close(gradient(), plain, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_loads_and_is_near(model, batch, tmp_path, dtype):
    model.save_pretrained(tmp_path)
    half = XLingAlignModel.from_pretrained(tmp_path, dtype=dtype).eval()
    assert half.dtype == dtype
    cosine = torch.cosine_similarity(
        half(**batch, language_ids="de").pooler_output.float(), model(**batch, language_ids="de").pooler_output
    )
    assert cosine.min() > 0.99


def test_reload_is_exact_with_buffers(model, batch, tmp_path):
    model.save_pretrained(tmp_path)
    again = XLingAlignModel.from_pretrained(tmp_path).eval()
    close(again.language.mean, model.language.mean, atol=0, rtol=0)
    close(again.language.count, model.language.count, atol=0, rtol=0)
    before, after = model(**batch, language_ids="fr"), again(**batch, language_ids="fr")
    close(after.last_hidden_state, before.last_hidden_state, atol=0, rtol=0)


def test_weights_absent_from_a_checkpoint_get_their_start_and_not_old_memory(family, encoder_folders, tmp_path):
    small = XLingAlignModel.from_encoder(encoder_folders[family], LANGUAGES, fusion_context="none")
    small.save_pretrained(tmp_path)
    grown = XLingAlignForPreTraining.from_pretrained(tmp_path, fusion_context="own", projection_dim=8)
    base = grown.xling
    assert base.sentence_fusion.dense.weight.abs().max() == 0
    assert base.word_fusion.dense.bias.abs().max() == 0
    assert 0 < base.projection.out.weight.abs().max() < 1
    assert 0 < grown.discriminator.dense.weight.abs().max() < 1
    close(base.language.embedding.weight, small.language.embedding.weight, atol=0, rtol=0)
    assert grown.lm_head.decoder.weight is base.get_input_embeddings().weight


def test_fresh_weights_from_a_config(family, batch):
    model = XLingAlignModel.from_encoder(encoder_config(family), LANGUAGES).eval()
    assert model(**batch, language_ids="de").pooler_output.isfinite().all()
    assert model.language.count.sum() == 0


def test_resize_save_reload_keeps_vectors_and_ties(model, batch, tmp_path):
    full = XLingAlignForPreTraining.from_base(model).eval()
    expected = full(**batch, language_ids="de").pooler_output
    rows = full.config.vocab_size
    full.resize_token_embeddings(rows + 7)
    assert full.lm_head.decoder.weight is full.get_input_embeddings().weight
    full.save_pretrained(tmp_path)
    for cls in (XLingAlignForPreTraining, XLingAlignModel):
        again = cls.from_pretrained(tmp_path).eval()
        assert again.config.vocab_size == again.config.encoder_config.vocab_size == rows + 7
        assert again.get_input_embeddings().weight.shape[0] == rows + 7
        close(again(**batch, language_ids="de").pooler_output, expected, atol=1e-6, rtol=1e-5)


def test_language_embeddings_start_at_the_mean_word_vector(model):
    counts = torch.zeros(4, model.config.vocab_size)
    counts[1, 5], counts[1, 6], counts[2, 7] = 1, 3, 2
    untouched = model.language.embedding.weight[3].clone()
    model.init_language_embeddings(counts)
    words, table = model.get_input_embeddings().weight, model.language.embedding.weight
    close(table[1], words[5] / 4 + words[6] * 3 / 4)
    close(table[2], words[7])
    close(table[0], (table[1] + table[2]) / 2)
    close(table[3], untouched)


def test_language_dropout_hides_the_language_in_training_only(model, batch):
    model.config.language_dropout = 1.0
    close(model(**batch, language_ids="de").language_ids, torch.tensor([2, 2, 2]))
    close(model.train()(**batch, language_ids="de").language_ids, torch.tensor([0, 0, 0]))


@pytest.mark.parametrize(
    ("language_ids", "message"),
    [
        ("xx", "'xx' is not one of this model's 3 languages \\(en, de, fr\\)"),
        (7, "not within 0..3"),
        (["de", "fr", "en"], "several languages"),
        (torch.tensor([1, 2]), "2 ids for 3 texts"),
    ],
)
def test_bad_language_ids_are_named(batch, encoder_folders, language_ids, message):
    model = XLingAlignModel.from_encoder(encoder_folders["bert"], LANGUAGES)
    with pytest.raises(InputError, match=message):
        model(**batch, language_ids=language_ids)


@pytest.mark.parametrize(
    ("field", "value"), [("pooling", "max"), ("language_token", "add"), ("languages", ["de", "de"])]
)
def test_bad_config_is_refused(field, value):
    with pytest.raises(InputError, match=field):
        XLingAlignConfig(**{"encoder_config": encoder_config("bert"), "languages": ["en"], field: value})


def test_unknown_encoder_is_one_line():
    with pytest.raises(InputError, match="neither a folder nor a Hub id") as caught:
        XLingAlignModel.from_encoder("no/such-encoder", ["en"])
    assert "\n" not in str(caught.value)


def test_a_remote_or_plain_encoder_config_survives_the_round_trip(family, tmp_path):
    config = XLingAlignConfig(encoder_config=encoder_config(family), languages=["de"])
    assert config.languages == ["en", "de"]
    config.save_pretrained(tmp_path)
    again = XLingAlignConfig.from_pretrained(tmp_path)
    assert type(again.encoder_config) is type(config.encoder_config)
    assert again.hidden_size == 32


def test_all_four_families_are_covered():
    assert {encoder_config(name).model_type for name in FAMILIES} == set(FAMILIES)
