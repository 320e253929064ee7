"""`xling info MODEL`: what a model is, from its config and file headers; no weights are read."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("model", help="folder or Hub id")


def run(args: argparse.Namespace) -> None:
    """Print one line per fact."""
    from xling_align.cli.models import load_config, quiet
    from xling_align.modeling_xling import XLingAlignConfig
    from xling_align.modeling_xling.modeling_xling import longest_text

    quiet()
    config = load_config(args.model)
    aligned = isinstance(config, XLingAlignConfig)
    encoder = config.encoder_config if aligned else config
    towers = [encoder, *([config.target_encoder_config] if aligned and config.target_encoder_config else [])]
    model = empty_model(config)
    longest = longest_text(model, "none") if not aligned else model.config.max_position_embeddings
    facts = {
        "model": args.model,
        "kind": "aligned by xling-align" if aligned else "plain encoder",
        "encoder": " and ".join(
            f"{tower.model_type}, {tower.num_hidden_layers} layers x {tower.hidden_size}" for tower in towers
        ),
        "vocabulary": f"{encoder.vocab_size:,}",
        "parameters": f"{sum(parameter.numel() for parameter in model.parameters()):,}",
        "longest text": f"{longest} tokens" if longest else "any length",
    }
    if aligned:
        facts |= {
            "languages": f"{len(config.languages)} ({', '.join(config.languages)}), source {config.source_language}",
            "language token": f"{config.language_token}, hidden from {config.language_dropout:.0%} of training rows",
            "fusion": f"context {config.fusion_context}, {config.fusion_activation}",
            "pooling": config.pooling,
        }
    if Path(args.model).is_dir():
        facts["loads in"] = ", ".join(["transformers", *loaders(Path(args.model))])
    width = max(map(len, facts)) + 2
    for name, value in facts.items():
        print(f"{name:{width}}{value}")


def loaders(folder: Path) -> list[str]:
    """What else a folder loads in."""
    return ["sentence-transformers"] if (folder / "modules.json").is_file() else []


def empty_model(config):
    """The base model without memory for its parameters, to count them."""
    import torch
    from transformers import AutoModel

    with torch.device("meta"):
        return AutoModel.from_config(config)
