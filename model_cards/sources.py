"""What cards cite: the papers behind each part of a recipe, and the licences of the corpora in `../shared/data`."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

PAPERS = {
    "multi_level": "Gui and Xiao (2024). Multi-level multilingual semantic alignment for zero-shot cross-lingual "
    "transfer learning. Neural Networks 173, 106217.",
    "review": "Lin Mei and Huiqin Zhao (2025). Cross-Lingual Semantic Alignment With Adaptive Transformer Models For "
    "Zero-Shot Text Categorization. Frontiers in Emerging Artificial Intelligence and Machine Learning 2(2), 1-6.",
    "cpc": "van den Oord, Li and Vinyals (2018). Representation learning with contrastive predictive coding. "
    "arXiv:1807.03748.",
    "labse": "Feng, Yang, Cer, Arivazhagan and Wang (2022). Language-agnostic BERT sentence embedding. ACL.",
    "siglip": "Zhai, Mustafa, Kolesnikov and Beyer (2023). Sigmoid loss for language image pre-training. ICCV.",
    "supcon": "Khosla et al. (2020). Supervised contrastive learning. NeurIPS.",
    "rince": "Chuang et al. (2022). Robust contrastive learning against noisy views. CVPR.",
    "macl": "Huang et al. (2023). Model-aware contrastive learning: Towards escaping the dilemmas. ICML.",
    "infoxlm": "Chi et al. (2021). InfoXLM: An information-theoretic framework for cross-lingual language model "
    "pre-training. NAACL.",
    "mlm": "Devlin, Chang, Lee and Toutanova (2019). BERT: Pre-training of deep bidirectional transformers for "
    "language understanding. NAACL.",
    "tlm": "Conneau and Lample (2019). Cross-lingual language model pretraining. NeurIPS.",
    "reversal": "Ganin and Lempitsky (2015). Unsupervised domain adaptation by backpropagation. ICML.",
    "keung": "Keung, Lu and Bhardwaj (2019). Adversarial learning with contextual embeddings for zero-resource "
    "cross-lingual classification and NER. EMNLP-IJCNLP.",
    "uncertainty": "Cipolla, Gal and Kendall (2018). Multi-task learning using uncertainty to weigh losses for scene "
    "geometry and semantics. CVPR.",
    "fasttext": "Bojanowski, Grave, Joulin and Mikolov (2017). Enriching word vectors with subword information. TACL.",
    "lora": "Hu et al. (2022). LoRA: Low-rank adaptation of large language models. ICLR.",
}

# By argument of the recipe and its value: what it does, and the paper that it comes from (None where it is ours).
PARTS: dict[str, dict[str, tuple[str, str | None]]] = {
    "inter_loss": {
        "infonce": ("Sentences: symmetric InfoNCE, the other pairs of the batch as negatives", "cpc"),
        "additive_margin": ("Sentences: additive margin softmax over the pairs of the batch", "labse"),
        "sigmoid": ("Sentences: pairwise sigmoid loss", "siglip"),
        "multi_positive": ("Sentences: InfoNCE with every translation in the batch as a positive", "supcon"),
        "rince": ("Sentences: robust InfoNCE, in which pairs that look wrong count less", "rince"),
        "paper": ("Sentences: InfoNCE by dot products in the batch, eq. 7", "multi_level"),
    },
    "intra_loss": {
        "stable": (
            "Sentences: like similarities within both languages, eq. 8 in a form that stays finite",
            "multi_level",
        ),
        "paper": ("Sentences: like similarities within both languages, eq. 8", "multi_level"),
    },
    "language_loss": {
        "gradient_reversal": ("Languages: a discriminator behind a gradient reversal", "reversal"),
        "alternating": ("Languages: a discriminator and the encoder against it in turn", "keung"),
        "confusion": ("Languages: a discriminator, and the encoder towards its indecision", "multi_level"),
    },
    "distribution_loss": {
        "mean": ("Words: each sentence predicts its translation's words, eq. 13", "multi_level"),
        "per_token": ("Words: each word predicts the translation's words, eq. 13", "multi_level"),
    },
    "losses": {
        "momentum": ("Sentences: contrast against a queue of a momentum encoder's vectors", "infoxlm"),
        "mlm": ("Words: masked language modelling, eq. 12", "mlm"),
        "tlm": ("Words: masked language modelling over both sides of a pair at once", "tlm"),
    },
    "pair_weights": {
        "adaptive": ("Pairs weighed by their margin in the batch, against that of the batch's wrong pairs", None),
        "scores": ("Pairs weighed by a score of the data", None),
    },
    "temperature": {
        "learnable": ("A learned temperature", None),
        "cosine": ("A temperature that falls with the training", None),
        "macl": ("A temperature that follows the batch's alignment", "macl"),
        "dynamic": ("A temperature that falls with the training and follows the batch's alignment", None),
    },
    "balance": {
        "loss": ("One learned weight per loss", "uncertainty"),
        "level": ("One learned weight per level, eq. 15", "uncertainty"),
    },
}
EXTRAS: dict[str, tuple[str, str | None]] = {
    "lexicon_start": (
        "Words: embeddings start at those of their translations, if more of the pairs find each other then",
        None,
    ),
    "share_subwords": ("Word pieces that are spelled alike learn together", "fasttext"),
    "lora_rank": ("Low-rank adapters (rank {}), merged into the encoder", "lora"),
    "added_languages": ("Languages added to a model that was aligned before: {}", None),
    "rounds": ("Rounds of training on the pairs that the round before finds in single sentences: {}", None),
}
LOSS_OF = {
    "inter_loss": "inter",
    "intra_loss": "intra",
    "language_loss": "language",
    "distribution_loss": "distribution",
}
LEVELS = {"sentence": {"inter", "intra", "momentum"}, "word": {"mlm", "tlm", "distribution"}}


def wrapping(config: Any) -> Iterator[tuple[str, str | None]]:
    """What a model's config says of the method: (sentence, paper or None)."""
    if getattr(config, "target_encoder_config", None) is not None:
        yield "Two encoders, one for the source language and one for all others", "review"
    tokens = {
        "insert": ("A language token after the first token", "multi_level"),
        "pool": ("A language embedding that attends over the finished token states", None),
    }
    if getattr(config, "language_token", None) in tokens:
        yield tokens[config.language_token]
    if getattr(config, "fusion_context", "none") != "none":
        yield "Attention fusion of language state, sentence vector and word states, eq. 4-6", "multi_level"


def training(recipe: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    """What a recipe says of the method, part by part: (sentence, paper or None).

    >>> [paper for _, paper in training({"losses": ["inter", "mlm"], "inter_loss": "infonce", "without": ["mlm"]})]
    ['cpc']
    """
    without = set(recipe.get("without") or ())
    losses = set(recipe.get("losses") or ()) - without
    for level in without & set(LEVELS):
        losses -= LEVELS[level]
    for argument, parts in PARTS.items():
        given = losses if argument == "losses" else {recipe.get(argument)}
        if argument == "balance" and len(losses) < 2 or argument in LOSS_OF and LOSS_OF[argument] not in losses:
            continue
        yield from (part for value, part in parts.items() if value in given)
    yield from extras(recipe, without)
    if schedule := told(recipe):
        yield f"Training: {schedule}", None
    if tuned := recipe.get("fine_tuning"):
        yield f"Fine-tuned on labelled rows in {tuned['language']}: {told(tuned)}", None
        if tuned.get("alignment"):
            yield "While fine-tuning, translation pairs kept near each other by symmetric InfoNCE", "cpc"


def extras(recipe: Mapping[str, Any], without: Collection[str]) -> Iterator[tuple[str, str | None]]:
    """What is on besides the losses: (sentence, paper or None)."""
    for argument, (sentence, paper) in EXTRAS.items():
        value = recipe.get(argument)
        if value and not (argument == "lexicon_start" and "lexicon" in without):
            yield sentence.format(", ".join(value) if isinstance(value, list) else value), paper


def told(recipe: Mapping[str, Any]) -> str:
    """Learning rate, batch, seed and length of a training, as far as they are given.

    >>> told({"learning_rate": 2e-5, "max_steps": 300, "tau": 0.05})
    'learning rate 2e-05, 300 steps'
    """
    forms = {
        "learning_rate": "learning rate {:g}",
        "per_device_train_batch_size": "{} rows per device and step",
        "num_train_epochs": "{:g} epochs",
        "max_steps": "{} steps",
        "seed": "seed {}",
    }
    return ", ".join(form.format(recipe[name]) for name, form in forms.items() if name in recipe)


# As stated by the sources that ../shared/data/README.md names.
CORPORA = {
    "tatoeba-anki": {"licence": "CC BY 2.0 FR", "source": "https://tatoeba.org, https://www.manythings.org/anki"},
    "bible": {
        "licence": "public domain, CC BY 3.0 BR, CC BY-SA 4.0, by translation",
        "source": "https://github.com/aicwebtech/biblesupersearch_api, https://github.com/davidbaines/ebible_data",
    },
    "tico19": {"licence": "CC0 1.0", "source": "https://github.com/tico-19/tico-19.github.io"},
    "ud-pud": {"licence": "CC BY-SA 3.0", "source": "https://universaldependencies.org (PUD treebanks)"},
    "xquad-questions": {"licence": "CC BY-SA 4.0", "source": "https://github.com/deepmind/xquad"},
    "indic-wiki": {"licence": "CC BY-SA 3.0", "source": "https://github.com/joshua-decoder/indian-parallel-corpora"},
    "multi30k": {"licence": "non-commercial research", "source": "https://github.com/multi30k/dataset"},
    "lafand-mt": {"licence": "CC BY-NC 4.0", "source": "https://github.com/masakhane-io/lafand-mt"},
    "menyo20k": {"licence": "CC BY-NC 4.0", "source": "https://github.com/uds-lsv/menyo-20k_MT"},
    "wmt-general": {"licence": None, "source": "https://github.com/wmt-conference"},
    "aau-ethiopic": {
        "licence": None,
        "source": "https://github.com/AAUThematic4LT/Parallel-Corpora-for-Ethiopian-Languages",
    },
    "emoji": {
        "licence": "BSD-3-Clause; names from CLDR, Unicode License v3",
        "source": "https://pypi.org/project/emoji",
    },
    "django": {"licence": "BSD-3-Clause", "source": "https://www.djangoproject.com"},
}
