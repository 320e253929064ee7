"""The optional packages of the extra `eval`."""

from collections.abc import Iterator
from contextlib import contextmanager

from xling_align.modeling_xling import InputError


@contextmanager
def eval_extra() -> Iterator[None]:
    """Turn the failed import of an optional package inside the `with` into one line that says what to install.

    Yields:
        Nothing.

    Raises:
        InputError: A package is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(f'{error.name} is not installed; run: pip install "xling-align[eval]"') from error
