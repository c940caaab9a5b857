"""Text from models, data, files and errors made inert for the place it goes to; secrets left out.

The one choke point: what is shown goes through here. The log of ``rm_monitor`` is filtered as a whole
(`InertLog`), and all that is printed goes through `for_screen`.
"""

from __future__ import annotations

import html
import logging
import os
import re
import traceback
import unicodedata

__all__ = [
    "InertLog",
    "cut",
    "for_csv",
    "for_html",
    "for_markdown",
    "for_screen",
    "for_terminal",
    "of_error",
    "prose",
    "redact",
    "visible",
]

_CONTROLS = {i: chr(0x2400 + i) for i in range(32)} | {127: "\u2421"}
_INVISIBLE = re.compile(
    "[\u0080-\u009f\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_LONGEST_ERROR = 2000  # characters

_NAMED = re.compile(r"KEY|TOKEN(?!IZERS)|SECRET|PASS|CREDENTIAL", re.IGNORECASE)  # of environment variables
_KINDS = (
    (re.compile(r"\bhf_[A-Za-z0-9]{12,}\b"), "[secret]"),
    (re.compile(r"\b(sk-|gh[pousr]_|github_pat_|glpat-|xox[abprs]-|AKIA)[\w-]{12,}"), "[secret]"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), "[secret]"),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE), r"\1 [secret]"),
    (re.compile(r"(?<=://)[^/\s@]+(?=@)"), "[secret]"),
    (
        re.compile(
            r"\b((?:api|access|auth|x-api|secret|private)?[_-]?"
            r"(?:key|token|secret|password|passwd|sig|signature))"
            r"([\"']?(?:=|:(?!//))\s*[\"']?)[^\s&\"',;]{6,}",
            re.IGNORECASE,
        ),
        r"\1\2[secret]",
    ),
)


def visible(text: str, *, keep: str = "\n\t") -> str:
    r"""Control, bidirectional and zero-width characters as something one can see; lone surrogates replaced.

    A joiner or non-joiner stays where a script needs it: in an emoji family, in Persian, in Hindi.

    Example:
        >>> visible("a\x1b[31mb\u202e")
        'a␛[31mb[U+202E]'
    """
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    shown = text.translate({i: mark for i, mark in _CONTROLS.items() if chr(i) not in keep})
    return _INVISIBLE.sub(lambda m: m.group() if _joins(m) else f"[U+{ord(m.group()):04X}]", shown)


def _joins(found: re.Match[str]) -> bool:
    """Whether it is a zero-width (non-)joiner between two letters of a joining script, or two emoji."""
    text, i = found.string, found.start()
    if found.group() not in "\u200c\u200d" or not 0 < i < len(text) - 1:
        return False
    before, after = text[i - 1], text[i + 1]
    if found.group() == "\u200d" and (before == "\ufe0f" or unicodedata.category(before) in ("So", "Sk")):
        return unicodedata.category(after) == "So"
    return all(ord(c) > 0x590 and unicodedata.category(c)[0] in "LM" for c in (before, after))


def cut(text: str, longest: int) -> str:
    """At most so many characters, and how many there were.

    Example:
        >>> cut("a" * 9, 4)
        'aaaa … (9 characters)'
    """
    return text if len(text) <= longest else f"{text[:longest]} … ({len(text):,} characters)"


def redact(text: str) -> str:
    """Without what looks like a secret: keys, tokens, passwords in URLs, environment variables named so.

    Example:
        >>> redact("401 from https://me:hunter2@host/v1?api_key=abcdef123, Authorization: Bearer abc.def.ghi")
        '401 from https://[secret]@host/v1?api_key=[secret], Authorization: Bearer [secret]'
    """
    known = {v for name, v in os.environ.items() if _NAMED.search(name) and len(v) >= 8 and v[0] not in "/~."}
    for value in sorted(known, key=len, reverse=True):
        text = text.replace(value, "[secret]")
    for pattern, instead in _KINDS:
        text = pattern.sub(instead, text)
    return text


def of_error(problem: BaseException) -> str:
    """An error in one line, for records and people: inert, without secrets, not long.

    Example:
        >>> of_error(RuntimeError("401 for token=hf_abcdefghijklmnopq"))
        'RuntimeError: 401 for token=[secret]'
    """
    return cut(for_terminal(redact(f"{type(problem).__name__}: {str(problem)[:100_000]}")), _LONGEST_ERROR)


class InertLog(logging.Filter):
    """Makes every record of a logger inert, tracebacks included."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the record's texts; never drop it."""
        record.msg, record.args = for_screen(redact(record.getMessage())), ()
        if record.exc_info and record.exc_info[0] is not None:
            text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            record.exc_text, record.exc_info = for_screen(redact(text)), None
        return True


def for_screen(text: str) -> str:
    r"""Lines that move no cursor and set no colour.

    Example:
        >>> for_screen("two\nlines\x07")
        'two\nlines␇'
    """
    return visible(text, keep="\n")


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


def prose(text: str) -> str:
    """A sentence of ours as HTML; what stands between backticks is shown as code.

    Example:
        >>> prose("Run `rm-monitor best <DIR>` & read on.")
        'Run <code>rm-monitor best &lt;DIR&gt;</code> &amp; read on.'
    """
    return re.sub("`([^`]+)`", r"<code>\1</code>", for_html(text))


def for_csv(text: str) -> str:
    """A cell that no spreadsheet takes for a formula; a number stays one.

    Example:
        >>> for_csv("=1+1"), for_csv(" @SUM(A1)"), for_csv("-1.5")
        ("'=1+1", "' @SUM(A1)", '-1.5')
    """
    text = visible(text)
    if text.lstrip()[:1] not in tuple("=+-@＝＋－＠") and text[:1] not in ("\t", "\n"):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


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
