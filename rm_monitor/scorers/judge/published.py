"""A judge's prompt from where its authors publish it: a file of theirs, read without running it.

The prompts of published judges are long texts of their authors, and a judge that is asked in other words is
another judge. They are not part of this package: the user names the authors' file, and where their text is
known it is checked to the last character.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rm_monitor.errors import ScorerError

__all__ = ["constants", "fill", "prompts_of"]

_BLOCK = re.compile(r"^```(?:python|py)?\s*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def prompts_of(
    given: Any, names: Sequence[str], *, where: str, digests: Sequence[str] = (), places: Sequence[str] = ()
) -> list[str]:
    """The texts of these names, from what the user gave as ``judge_prompt=``.

    Args:
        given: A file of the authors (``.py``, ``.ipynb``, ``.md``), in which the names are assigned; or,
        where
            one text is asked for, that text or a text file with it.
        names: Of the constants in the authors' file.
        where: Where it is published, for people.
        digests: BLAKE2 digests of the texts, in the order of the names; empty: not known.
        places: What the last text must have a place for.

    Raises:
        ValueError: If there is no prompt, it is not the authors', or a place is missing.
    """
    if given is None:
        raise ValueError(
            "`judge_prompt` is the prompt this judge was trained with, which is its authors' text and no "
            f"part of this package: download {where} and pass its path"
        )
    texts = _texts(given, names, where)
    for i, (name, expected) in enumerate(zip(names, digests, strict=False)):
        if (found := digest_of(texts[i])) != expected:
            raise ValueError(
                f"`judge_prompt` is not the published text: {name} in {given!r} has the digest {found}, and "
                f"that of {where} is {expected}"
            )
    missing = [place for place in places if f"{{{place}}}" not in texts[-1]]
    if missing:
        raise ValueError(f"`judge_prompt` has no place {{{missing[0]}}}; it needs {', '.join(places)}")
    return texts


def digest_of(text: str) -> str:
    """16 hexadecimal digits that name a text."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def fill(template: str, **values: str) -> str:
    """The template with these places filled, each once and nothing that a value holds.

    Example:
        >>> fill("{a} and {b}", a="{b}", b="2")
        '{b} and 2'
    """
    return re.sub(r"\{(" + "|".join(map(re.escape, values)) + r")\}", lambda m: values[m[1]], template)


def constants(path: Path) -> dict[str, str]:
    """Every text that a Python file, a notebook or the code blocks of a page assign to a name.

    Raises:
        ScorerError: If the file is none of these.
    """
    found: dict[str, str] = {}
    for code in _codes(path):
        try:
            tree = ast.parse(code)
        except SyntaxError:  # a cell or block in another language
            continue
        for node in tree.body:
            if isinstance(node, ast.Assign):
                text = _literal(node.value)
                if text is not None:
                    found |= {t.id: text for t in node.targets if isinstance(t, ast.Name)}
    return found


def _texts(given: Any, names: Sequence[str], where: str) -> list[str]:
    path = Path(given) if isinstance(given, Path) or (isinstance(given, str) and "\n" not in given) else None
    if path is not None and path.suffix in (".py", ".ipynb", ".md"):
        known = constants(path)
        absent = [name for name in names if name not in known]
        if absent:
            raise ValueError(f"`judge_prompt`: {str(path)!r} assigns no text to {absent[0]}; give {where}")
        return [known[name] for name in names]
    if len(names) > 1:
        raise ValueError(f"`judge_prompt` needs the texts {', '.join(names)}: give {where}")
    if path is not None and path.is_file():
        return [path.read_text(encoding="utf-8")]
    if not isinstance(given, str):
        raise TypeError(f"`judge_prompt` is a path or a text, got {type(given).__name__}")
    return [given]


def _codes(path: Path) -> Iterator[str]:
    try:
        text = path.expanduser().read_text(encoding="utf-8")
    except OSError as problem:
        raise ScorerError(f"`judge_prompt` {str(path)!r} cannot be read: {problem}") from problem
    if path.suffix == ".ipynb":
        for cell in json.loads(text).get("cells", ()):
            if cell.get("cell_type") == "code":
                yield "".join(cell.get("source", ()))
    elif path.suffix == ".md":
        yield from _BLOCK.findall(text)
    else:
        yield text


def _literal(node: ast.expr) -> str | None:
    """A text as Python writes it: literals, also several added, and ``.strip()`` of one."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _literal(node.left), _literal(node.right)
        return None if left is None or right is None else left + right
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "strip"
        and not node.args
    ):
        inner = _literal(node.func.value)
        return None if inner is None else inner.strip()
    return None
