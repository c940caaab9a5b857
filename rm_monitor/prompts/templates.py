r"""Format strings: where the texts of a prompt belong, and which string a prompt fits.

``{prompt}`` is the whole turn. Where a row's columns were joined in it (Alpaca's ``instruction`` and
``input``), a string may name them instead, and a further string may serve the rows that lack one: Alpaca
trains rows with and without an input under different headings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

__all__ = ["PARTS", "fields", "filled"]

PARTS = ("instruction", "input", "context", "question")
_FIELD = re.compile(r"\{(prompt|system|" + "|".join(PARTS) + r")\}")


def fields(template: str) -> frozenset[str]:
    """The names in braces that stand for a text of the prompt; other braces are text.

    Example:
        >>> sorted(fields('{instruction} {"json": {input}}'))
        ['input', 'instruction']
    """
    return frozenset(_FIELD.findall(template))


def filled(templates: Sequence[str], text: str, parts: Mapping[str, str], system: str) -> str | None:
    r"""The first of the strings that has a place for every part, filled; None if none has.

    Args:
        templates: Format strings.
        text: The turn as it is joined.
        parts: Its columns; empty where it is of one piece, which is then ``{instruction}`` and ``{question}``
            as well as ``{prompt}``.
        system: For ``{system}``.

    Example:
        >>> both = ["I: {instruction}\nIn: {input}\nR:", "I: {instruction}\nR:"]
        >>> filled(both, "Add\n2 2", {"instruction": "Add", "input": "2 2"}, "")
        'I: Add\nIn: 2 2\nR:'
        >>> filled(both, "Hi {input}", {}, "")
        'I: Hi {input}\nR:'
        >>> filled(both[1:], "Add\n2 2", {"instruction": "Add", "input": "2 2"}, "") is None
        True
    """
    values = dict(parts) or {"instruction": text, "question": text}
    for template in templates:
        names = fields(template) - {"system"}
        if names == {"prompt"} or names == (set(parts) or names & set(values)):
            every = {**values, "prompt": text, "system": system}
            return "".join(  # once: texts are full of braces
                every[piece] if i % 2 else piece for i, piece in enumerate(_FIELD.split(template))
            )
    return None
