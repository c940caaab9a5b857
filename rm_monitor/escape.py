"""Text from models, data and files made inert for the place it goes to."""

from __future__ import annotations

import html
import re

__all__ = ["for_csv", "for_html", "for_markdown", "for_terminal", "visible"]

_CONTROLS = {i: chr(0x2400 + i) for i in range(32)} | {127: "\u2421"}
_INVISIBLE = re.compile(
    "[\u0080-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]"
)


def visible(text: str, *, keep: str = "\n\t") -> str:
    r"""Control, bidirectional and zero-width characters as something one can see; lone surrogates replaced.

    Example:
        >>> visible("a\x1b[31mb\u202e")
        'a␛[31mb[U+202E]'
    """
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    shown = "".join(c if c in keep else c.translate(_CONTROLS) for c in text)
    return _INVISIBLE.sub(lambda m: f"[U+{ord(m.group()):04X}]", shown)


def for_terminal(text: str) -> str:
    r"""One line that moves no cursor and sets no colour.

    Example:
        >>> for_terminal("two\nlines\x07")
        'two lines␇'
    """
    return visible(" ".join(text.split("\n")), keep="")


def for_html(text: str) -> str:
    """Text for element content and for quoted attributes.

    Example:
        >>> for_html('<b class="x">')
        '&lt;b class=&quot;x&quot;&gt;'
    """
    return html.escape(visible(text), quote=True)


def for_csv(text: str) -> str:
    """A cell that no spreadsheet takes for a formula.

    Example:
        >>> for_csv("=1+1")
        "'=1+1"
    """
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def for_markdown(text: str) -> str:
    """A fenced block whose fence is longer than any run of backticks inside.

    Example:
        >>> print(for_markdown("a ``` b"))
        ````text
        a ``` b
        ````
    """
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{visible(text)}\n{fence}"
