"""What the programs refuse about their arguments, and losses that are not finite, one line each."""

from pathlib import Path

from torch import Tensor

from xling_align.modeling_xling import InputError, nearest


def check_at_least(least: float, **values: float | None) -> None:
    """Refuse arguments that are too small.

    Args:
        least: Smallest accepted value.
        **values: Arguments by name; those that are None were not given.

    Raises:
        InputError: One of them is smaller, or not a number.
    """
    for name, value in values.items():
        if value is not None and not value >= least:
            raise InputError(f"--{name} is {value}; it must be at least {least}")


def check_between(least: float, most: float, **values: float) -> None:
    """Refuse arguments that are out of range.

    Args:
        least: Smallest accepted value.
        most: Greatest.
        **values: Arguments by name.

    Raises:
        InputError: One of them is smaller or greater, or not a number.
    """
    for name, value in values.items():
        if not least <= value <= most:
            raise InputError(f"--{name} is {value}; it must be between {least} and {most}")


def check_share(**values: float) -> None:
    """Refuse arguments that are no share.

    Args:
        **values: Arguments by name.

    Raises:
        InputError: One of them is not above 0 and at most 1.
    """
    for name, value in values.items():
        if not 0 < value <= 1:
            raise InputError(f"--{name} is {value}; it must be above 0 and at most 1")


def check_files(*paths: str | Path | None) -> None:
    """Refuse text files that are not there.

    Args:
        *paths: Of files; None stands for one that was not given.

    Raises:
        InputError: One of them is not there.
    """
    for path in paths:
        if path and not Path(path).is_file():
            raise InputError(f"there is no file {str(path)!r}; give a text file with an entry a line, also as .gz")


def check_choice(name: str, given: str | list[str], accepted: tuple[str, ...]) -> None:
    """Refuse words that an argument does not know.

    Args:
        name: The argument.
        given: One word or several.
        accepted: What it knows.

    Raises:
        InputError: One of them is unknown.
    """
    for word in [given] if isinstance(given, str) else given:
        if word not in accepted:
            raise InputError(f"--{name} {word!r} is not one of {', '.join(accepted)}{nearest(word, list(accepted))}")


def check_finite(losses: dict[str, Tensor], step: int) -> None:
    """Stop where training would go on with nothing.

    Args:
        losses: Scalars by name.
        step: The step that they are of.

    Raises:
        FloatingPointError: A loss is not finite.
    """
    for name, value in losses.items():
        if not value.isfinite():
            raise FloatingPointError(
                f"the {name} loss is {value.item()} at step {step}; lower --learning_rate, or --bf16 false"
            )
