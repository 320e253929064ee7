"""Talking to the Hub: waiting when it asks to, and one line for whatever it, or the way to it, refuses."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

Value = TypeVar("Value")

RETRIES = 5
LONGEST_WAIT = 300  # seconds, over all retries of a step


def patiently(step: Callable[[], Value]) -> Value:
    """Take a step again when the Hub says to come back later, up to `RETRIES` times and `LONGEST_WAIT` seconds.

    `Retry-After` is honoured. The library's own retries cover the upload of files, but not the other requests.

    Args:
        step: What to do; doing it twice must do no harm.

    Returns:
        What it returns.

    Raises:
        HfHubHTTPError: The Hub refuses it, or still says so in the end.
    """
    from huggingface_hub.errors import HfHubHTTPError

    waited, attempt = 0.0, 0
    while True:
        try:
            return step()
        except HfHubHTTPError as error:
            said = error.response.headers.get("Retry-After", "")
            wait = float(said) if said.isdigit() else 2.0**attempt
            if error.response.status_code not in (429, 503) or attempt == RETRIES or waited + wait > LONGEST_WAIT:
                raise
        print(f"the Hub asks to wait; going on in {wait:.0f} s", flush=True)
        time.sleep(wait)
        waited, attempt = waited + wait, attempt + 1


def explanation(error: BaseException, repo_id: str, revision: str | None) -> str:
    """One line for whatever stopped an upload, or for the request further down that did."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HTTPError,  # pyright: ignore[reportPrivateImportUsage]
    )

    from xling_align.cli.models import first_line

    cause: BaseException | None = error
    if isinstance(error, ValueError) and not isinstance(error, HfHubHTTPError):
        cause = None  # it says more than the answer that it is from, as of a card that is not valid
    while cause is not None:
        if isinstance(cause, HfHubHTTPError):
            return refusal(cause, repo_id, revision)
        if isinstance(cause, HTTPError):
            return f"the connection to {constants.ENDPOINT} failed ({first_line(cause)}); {AGAIN}"
        cause = cause.__cause__
    text = " ".join(str(error).split()) or type(error).__name__
    hint = ""
    if "xet" in text:
        hint = "; where HF_ENDPOINT is a hub without Xet storage, set HF_HUB_DISABLE_XET=1"
    return f"{repo_id} was not pushed: {text}{hint}"


AGAIN = "run the same command again, it goes on from what is there"
REFUSALS = {
    401: "the token is not accepted for {repo}; log in again by `hf auth login`, or set HF_TOKEN",
    403: "the token may not write to {repo}; use one with write access",
    404: "there is no {repo}, or the token does not see it; check the name",
    409: f"something else is changing {{repo}} right now; {AGAIN}",
    412: f"something else is changing {{repo}} right now; {AGAIN}",
    429: f"the Hub still asks to wait; later, {AGAIN}",
}


def refusal(error: Any, repo_id: str, revision: str | None) -> str:
    """One line for an answer of the Hub that says no.

    Args:
        error: An `HfHubHTTPError`.
        repo_id: Where to the model was to go.
        revision: Its branch.

    Returns:
        What was refused, why, and what to do.
    """
    status = error.response.status_code
    repo = f"{repo_id}, branch {revision}" if revision else repo_id
    why = REFUSALS.get(status, f"{{repo}} was not pushed; {AGAIN}").format(repo=repo)
    said = " ".join((error.server_message or "").split())
    return f"{why} (the Hub says: {status}{f' {said}' if said else ''})"
