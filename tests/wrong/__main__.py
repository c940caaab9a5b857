"""Write docs/errors.md: ``python -m tests.wrong``."""

import re
import sys
import tempfile
from pathlib import Path

from tests.wrong.inputs import EVERY
from tests.wrong.said import said

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"


def row(code, message):
    """A line of the table."""
    parts = re.split(r"(`[^`]*`)", " ".join(message.split()))  # code stays as it is
    shown = "".join(
        part.replace("|", "\\|") if part.startswith("`") else re.sub(r"([<>|\\*_\[\]{}])", r"\\\1", part)
        for part in parts
    )
    return f"| `{code}` | {shown} |"


def table():
    """The page."""
    lines = [
        "# What goes wrong, and what is said",
        "",
        "What is mis-set is refused before training, in one message that names the argument, the rule, the "
        "value and the way out. This table comes from `python -m tests.wrong`, and `make test` holds it to "
        "be true; `judge` is a function, `PROMPTS` and `ANSWERS` are lists of two texts, `p.jsonl` is a file "
        "of two prompts.",
    ]
    for title, inputs in EVERY.items():
        lines += ["", f"## {title}", "", "| written | said |", "|---|---|"]
        for one in inputs:
            with tempfile.TemporaryDirectory() as folder:
                message, _ = said(one.code, Path(folder))
            lines.append(row(one.code, message.replace(folder, "…")))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    text = table()
    if "--print" in sys.argv:
        print(text)
    else:
        PAGE.write_text(text, encoding="utf-8")
