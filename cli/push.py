"""`xling push MODEL REPO_ID`: put a model on the Hub, and nothing else that lies in its folder.

What goes up is named by pattern, so that checkpoints, optimiser states, pickles, tokens and caches stay behind,
whatever they are called. A rerun after a failure uploads only what is missing.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xling_align.cli.hub import explanation, patiently

if TYPE_CHECKING:
    from huggingface_hub import HfApi

ROOT_FILES = (
    "README.md",
    "LICENSE*",
    "NOTICE*",
    "config.json",
    "generation_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "*.model",
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
)
FOLDER_FILES = (  # modules of sentence-transformers, and results
    "[0-9]_*/config.json",
    "[0-9]_*/*.safetensors",
    ".eval_results/*.yaml",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("model", help="folder of a saved model")
    parser.add_argument("repo_id", help="where to: name, or user/name")
    parser.add_argument("--private", action="store_true", help="a new repository that only you can see")
    parser.add_argument("--revision", help="branch to write; made if it is not there; main unless given")
    parser.add_argument("--message", default="Model saved by xling-align", help="commit message")
    parser.add_argument("--report", help="results.json of xling eval, or report.json, for the card")


def run(args: argparse.Namespace) -> None:
    """Check the folder, write its card, and upload."""
    from huggingface_hub import HfApi, constants, get_token
    from huggingface_hub.errors import (
        HFValidationError,
        HTTPError,  # pyright: ignore[reportPrivateImportUsage]  # of httpx2 or httpx, by version
    )
    from huggingface_hub.utils import validate_repo_id

    from xling_align.cli.models import first_line, load_config, quiet
    from xling_align.modeling_xling import InputError

    quiet()
    try:
        validate_repo_id(args.repo_id)
    except HFValidationError as error:
        raise InputError(f"repository id {args.repo_id!r} is not valid: {first_line(error)}") from error
    folder = Path(args.model)
    check_model(folder)
    config, report = load_config(str(folder)), read_report(args.report)
    if constants.is_offline_mode():
        raise InputError("nothing can be pushed in offline mode; unset HF_HUB_OFFLINE")
    if get_token() is None:
        raise InputError("there is no token to write with; log in by `hf auth login`, or set HF_TOKEN")
    api = HfApi()
    try:
        repo_id = make_repository(api, args)
        refresh_card(folder, config, repo_id, report)
        pushed = files_to_push(folder)
        address = send(api, folder, pushed, repo_id, args)
    except InputError:
        raise
    except (HTTPError, OSError, RuntimeError, ValueError) as error:  # the Hub's, the connection's, and hf_xet's
        raise InputError(explanation(error, args.repo_id, args.revision)) from error
    left = [path.relative_to(folder).as_posix() for path in files(folder) if path not in pushed]
    print(f"{folder} is at {address}")
    if left:
        print(f"left behind: {', '.join(left[:10])}{f' and {len(left) - 10} more' if len(left) > 10 else ''}")


def files(folder: Path) -> Iterator[Path]:
    """All files below a folder."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def files_to_push(folder: Path) -> list[Path]:
    """The files below a folder that belong to the model."""
    from xling_align.modeling_xling.configuration_xling import CODE_FILES

    patterns = (*ROOT_FILES, *CODE_FILES, *FOLDER_FILES)
    return [path for path in files(folder) if any(belongs(path.relative_to(folder), each) for each in patterns)]


def belongs(path: Path, pattern: str) -> bool:
    """Whether a relative path matches a pattern part by part, so that `*` does not reach into folders.

    >>> belongs(Path("model.safetensors"), "*.safetensors"), belongs(Path("old/model.safetensors"), "*.safetensors")
    (True, False)
    """
    parts, patterns = path.parts, pattern.split("/")
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))


def check_model(folder: Path) -> None:
    """Refuse a folder that holds no complete model.

    Args:
        folder: The folder.

    Raises:
        InputError: Config or weights are missing, or a file of weights is cut.
    """
    from safetensors import SafetensorError, safe_open

    from xling_align.modeling_xling import InputError

    if not (folder / "config.json").is_file():
        raise InputError(f"{folder} is no model folder: it has no config.json; name the folder of a saved model")
    weights = set(folder.glob("*.safetensors"))
    for index in folder.glob("*.safetensors.index.json"):
        try:
            weights |= {folder / name for name in json.loads(index.read_text("utf-8"))["weight_map"].values()}
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            raise InputError(f"{index} can't be read; save the model again") from error
    if not weights:
        raise InputError(f"{folder} is no model folder: it has no weights (*.safetensors); save the model again")
    for path in sorted(weights):
        try:
            with safe_open(path, "pt"):  # reads the header, and compares it with the file's size
                pass
        except (OSError, SafetensorError) as error:
            raise InputError(f"{path} is missing or cut; save the model again") from error


def read_report(path: str | None) -> dict[str, Any] | None:
    """A report's content, None where none is named.

    Args:
        path: Of a `report.json`.

    Returns:
        Its mapping.

    Raises:
        InputError: It can't be read, or is none.
    """
    from xling_align.modeling_xling import InputError

    if path is None:
        return None
    try:
        report = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--report {path} can't be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"--report {path} is not JSON; give the report.json of a run") from error
    if not isinstance(report, dict):
        raise InputError(f"--report {path} is a list and no report; give the report.json of a run")
    return report


def refresh_card(folder: Path, config: Any, repo_id: str, report: dict[str, Any] | None) -> None:
    """Write a card where there is none, or where a report has more to say than the one that saving wrote.

    A card that somebody wrote or edited is kept.
    """
    from xling_align.model_cards.card import MARK, facts_of, write_card

    path = folder / "README.md"
    if path.is_file():
        text = path.read_text(encoding="utf-8", errors="replace")
        if report is None:
            return
        if MARK not in text and not is_plain_card(text, config):
            print(f"{path} is not one that xling-align wrote, so it stays, without the results of the report")
            return
    write_card(folder, config, repo_id.split("/")[-1], repo_id=repo_id, **facts_of(report or {}, folder))


def is_plain_card(text: str, config: Any) -> bool:
    """Whether a card is what `save_pretrained` writes, whatever the folder was called then."""
    from xling_align.modeling_xling import XLingAlignConfig
    from xling_align.modeling_xling.configuration_xling import write_hub_files

    title = next((line[2:] for line in text.splitlines() if line.startswith("# ")), "")
    if not isinstance(config, XLingAlignConfig) or not title or Path(title).name != title:
        return False
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / title
        folder.mkdir()
        write_hub_files(folder, config)
        return (folder / "README.md").read_text(encoding="utf-8") == text


def make_repository(api: "HfApi", args: argparse.Namespace) -> str:
    """Make the repository and the branch, where they are not there yet.

    Args:
        api: Of the Hub.
        args: The command's flags.

    Returns:
        The repository's id with its namespace.

    Raises:
        InputError: It is there already and public, and should be private.
    """
    from xling_align.modeling_xling import InputError

    repo_id = patiently(lambda: api.create_repo(args.repo_id, private=args.private or None, exist_ok=True)).repo_id
    if args.private and not patiently(lambda: api.model_info(repo_id)).private:
        raise InputError(f"{repo_id} is there already and public; make it private in its settings, or leave --private")
    if args.revision and args.revision != "main":
        patiently(lambda: api.create_branch(repo_id, branch=args.revision, exist_ok=True))
    return repo_id


def send(api: "HfApi", folder: Path, pushed: list[Path], repo_id: str, args: argparse.Namespace) -> str:
    """Upload what is not there yet, and commit.

    Args:
        api: Of the Hub.
        folder: The model's.
        pushed: Its files that go up.
        repo_id: The repository.
        args: The command's flags.

    Returns:
        Address of the commit.
    """
    commit = patiently(
        lambda: api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            revision=args.revision,
            commit_message=args.message,
            allow_patterns=[escape(path.relative_to(folder).as_posix()) for path in pushed],
        )
    )
    return commit.commit_url
