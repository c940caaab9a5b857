"""The table of layouts as docs/inputs.md shows it: ``python -m rm_monitor.prompts.layout_table``."""

from __future__ import annotations

from rm_monitor.prompts.beside import BESIDE
from rm_monitor.prompts.layouts import CONVERSATIONS, LAYOUTS, Layout

__all__ = ["markdown"]


def markdown() -> str:
    """One row a layout: what it is recognised by, what is asked, what answers, whether it is of pairs."""
    head = ["| layout | recognised by | asked | answers | pairs |", "|---|---|---|---|---|"]
    return "\n".join([*head, *(_row(layout) for layout in LAYOUTS)])


def beside() -> str:
    """The columns that go with every layout."""
    return _names(BESIDE)


def _row(layout: Layout) -> str:
    one_of = "one of " if layout.asked == CONVERSATIONS else ""
    by = _names(layout.columns) or one_of + _names(CONVERSATIONS)
    answers = _names(layout.answers) or ("its last turn" if one_of else "what follows the common part")
    cells = (layout.name, by, one_of + _names(layout.asked), answers, "yes" if layout.pair else "")
    return f"| {' | '.join(cells)} |"


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    print(markdown())
