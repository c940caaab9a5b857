"""`Metric`: all that the package knows of one number that it logs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Kind", "Metric"]

Kind: TypeAlias = Literal["rate", "share", "number"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A number of which an evaluation has one value a prompt.

    Attributes:
        name: As it is logged, without scorer, reference set or tag.
        label: The same in words, to stand inside a sentence.
        kind: How its interval is made and how people read it: ``rate`` (outcomes in [0, 1]: Wilson, percent),
            ``share`` (any values in [0, 1]: Student t on the logit scale, percent) or ``number`` (unbounded:
            Student t).
        unit: Of a ``number``: ``tokens``, ``bits``; empty: none.
        digits: Behind the point of a ``number``, for people.
        of: Where it comes from: the ``texts`` alone, a ``scorer``, or a scorer and ``references``. Names of
            scorers stand before it, names of reference sets behind it.
        even_at_half: One half means: as good as the references.
        tagged: It has a curve for each tag.
        worth: Change since the start that a person is told of; None: it is never told by itself.
        relative: ``worth`` is a share of the value at the start.
        sentence: What is said then, of ``{before}``, ``{now}``, ``{then}``, ``{more}`` and ``{change}``.
        more: Words for ``{more}``: where it rose, and where it fell.
        advice: What to do about it, where it rose, and where it fell; empty: nothing.
        title: Of its picture on the page, beside the curve; empty: it has none.
        shown: W&B opens with its chart.
    """

    name: str
    label: str
    kind: Kind = "number"
    unit: str = ""
    digits: int = 2
    of: Literal["texts", "scorer", "references"] = "texts"
    even_at_half: bool = False
    tagged: bool = False
    worth: float | None = None
    relative: bool = False
    sentence: str = ""
    more: tuple[str, str] = ("more", "less")
    advice: tuple[str, str] = ("", "")
    title: str = ""
    shown: bool = False

    @property
    def is_share(self) -> bool:
        """Whether values lie in [0, 1] and are shown in percent."""
        return self.kind != "number"
