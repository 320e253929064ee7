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
    parser.add_argument("--licence", help="licence of the weights for the card, such as apache-2.0")


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
    config, facts = load_config(str(folder)), card_facts(folder, args)
    if constants.is_offline_mode():
        raise InputError("nothing can be pushed in offline mode; unset HF_HUB_OFFLINE")
    if get_token() is None:
        raise InputError("there is no token to write with; log in by `hf auth login`, or set HF_TOKEN")
    api = HfApi()
    try:
        repo_id = make_repository(api, args)
        refresh_card(folder, config, repo_id, facts)
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


def read_report(path: str | None) -> dict[str, Any]:
    """A report's content, nothing where none is named.

    Args:
        path: Of a `report.json`.

    Returns:
        Its mapping.

    Raises:
        InputError: It can't be read, or is none.
    """
    from xling_align.modeling_xling import InputError

    if path is None:
        return {}
    try:
        report = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--report {path} can't be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"--report {path} is not JSON; give the report.json of a run") from error
    if not isinstance(report, dict):
        raise InputError(f"--report {path} is a list and no report; give the report.json of a run")
    return report


def card_facts(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """What the card is made of: what the training left beside the model, then the report, then the flags.

    Args:
        folder: The model's.
        args: The command's flags.

    Returns:
        Arguments of `build_card`; an InputError says where the report is of other weights.
    """
    from xling_align.cli.subject import Subject
    from xling_align.model_cards.card import facts_of
    from xling_align.trainers.facts import read_facts

    report = {**read_facts(folder), **read_report(args.report)}
    facts = facts_of(report, Subject(str(folder)).digest if "models" in report else "")
    return {**facts, "licence": args.licence or facts.get("licence")}


def refresh_card(folder: Path, config: Any, repo_id: str, facts: dict[str, Any]) -> None:
    """Write the card, even over one of ours, which may tell of weights that were there before.

    A card that somebody wrote or edited stays.

    Args:
        folder: The model's.
        config: Its config.
        repo_id: The repository, with its namespace.
        facts: As `build_card` takes them.
    """
    from xling_align.model_cards.card import MARK, write_card

    path = folder / "README.md"
    if path.is_file():
        text = path.read_text(encoding="utf-8", errors="replace")
        if MARK not in text and not is_plain_card(text, config):
            print(f"{path} is not one that xling-align wrote, so it stays as it is, without results of a report")
            return
    write_card(folder, config, repo_id.split("/")[-1], repo_id=repo_id, **facts)


def is_plain_card(text: str, config: Any) -> bool:
    """Whether a card is what `save_pretrained` writes, whatever the folder was called then."""
    from xling_align.modeling_xling import XLingAlignConfig
    from xling_align.modeling_xling.configuration_xling import plain_card

    title = next((line[2:] for line in text.splitlines() if line.startswith("# ")), "")
    return isinstance(config, XLingAlignConfig) and text == plain_card(title, config)


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


def stale_results(api: "HfApi", repo_id: str, revision: str | None, kept: set[str]) -> list[str]:
    """Files of results that an earlier push left in the repository.

    Args:
        api: Of the Hub.
        repo_id: The repository.
        revision: Its branch.
        kept: Files that this push has.

    Returns:
        Their names there; a file that somebody else wrote is none of them.
    """
    from xling_align.model_cards.results import MARK

    def is_ours(name: str) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            local = patiently(lambda: api.hf_hub_download(repo_id, name, revision=revision, local_dir=folder))
            return Path(local).read_bytes().startswith(MARK.encode())

    there = set(patiently(lambda: api.list_repo_files(repo_id, revision=revision))) - kept
    return [name for name in sorted(there) if belongs(Path(name), ".eval_results/*.yaml") and is_ours(name)]


def send(api: "HfApi", folder: Path, pushed: list[Path], repo_id: str, args: argparse.Namespace) -> str:
    """Upload what is not there yet, remove what an earlier push said of other results, and commit.

    Args:
        api: Of the Hub.
        folder: The model's.
        pushed: Its files that go up.
        repo_id: The repository.
        args: The command's flags.

    Returns:
        Address of the commit.
    """
    names = [path.relative_to(folder).as_posix() for path in pushed]
    stale = stale_results(api, repo_id, args.revision, set(names))
    commit = patiently(
        lambda: api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            revision=args.revision,
            commit_message=args.message,
            allow_patterns=[escape(name) for name in names],
            delete_patterns=[escape(name) for name in stale] or None,
        )
    )
    return commit.commit_url
