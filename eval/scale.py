"""How a task's scores are shown: in percent or as they are, and which way is better."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MINUS, ABSENT = "\N{MINUS SIGN}", "\N{EN DASH}"


@dataclass(frozen=True)
class Scale:
    """The unit of scores and their direction.

    Attributes:
        percent: Fractions shown in percent with one decimal; otherwise scores are shown as they are, with three.
        higher_is_better: Whether a gain is a rise.
    """

    percent: bool = True
    higher_is_better: bool = True

    @classmethod
    def of(cls, task: Mapping[str, Any]) -> "Scale":
        """The scale of a report's task, by its `unit` and `higher_is_better`."""
        return cls(task["unit"] == "%", task["higher_is_better"])

    @property
    def unit(self) -> str:
        """What a caption adds in brackets to the name of the metric."""
        return ", %" if self.percent else ""

    @property
    def change_unit(self) -> str:
        """What changes are counted in."""
        return "points" if self.percent else ""

    def rounded(self, score: float) -> float:
        """A score as a reader sees it.

        >>> Scale().rounded(0.87314), Scale(percent=False).rounded(0.87314)
        (87.3, 0.873)
        """
        return round(100 * score, 1) if self.percent else round(score, 3)

    def show(self, score: float | None) -> str:
        """A score as text, an en dash where there is none.

        >>> Scale().show(0.87314), Scale(percent=False).show(0.5)
        ('87.3', '0.500')
        """
        if score is None:
            return ABSENT
        return typographic(f"{self.rounded(score) + 0.0:.{1 if self.percent else 3}f}")

    def change(self, before: float | None, after: float | None) -> float | None:
        """Difference of two scores as they are shown, so that the columns of a table add up.

        >>> Scale().change(0.5, 0.4731), Scale().change(0.5, None)
        (-2.7, None)
        """
        if before is None or after is None:
            return None
        return round(self.rounded(after) - self.rounded(before), 3) + 0.0  # no -0.0

    def show_change(self, before: float | None, after: float | None) -> str:
        """A change with its sign.

        >>> Scale().show_change(0.5, 0.625), Scale().show_change(0.5, 0.5)
        ('+12.5', '0.0')
        """
        points = self.change(before, after)
        return ABSENT if points is None else self.signed(points)

    def show_difference(self, difference: float | None) -> str:
        """A difference of scores that were not rounded before, with its sign."""
        return ABSENT if difference is None else self.signed(self.rounded(difference))

    def signed(self, points: float) -> str:
        """Points with their sign."""
        text = f"{points + 0.0:+.{1 if self.percent else 3}f}"
        return typographic(text if points else text.lstrip("+"))

    def worse(self, before: float | None, after: float | None) -> bool:
        """Whether a score lost what a reader can see.

        >>> Scale().worse(0.5, 0.48), Scale(higher_is_better=False).worse(0.5, 0.48), Scale().worse(0.5, 0.4999)
        (True, False, False)
        """
        points = self.change(before, after)
        return points is not None and (points < 0 if self.higher_is_better else points > 0)


def typographic(number: str) -> str:
    """A number with a true minus sign; exponents and words keep theirs.

    >>> typographic("-0.5") == "\N{MINUS SIGN}0.5"
    True
    """
    return re.sub(r"^-(?=[0-9.])", MINUS, number)
