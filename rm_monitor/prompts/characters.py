"""Bytes to characters, in the encoding that the first of them tell; only a newline ends a line."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TypeAlias

__all__ = ["MOST_BYTES", "MOST_LINE", "Bytes", "encoding_of", "lines", "whole"]

Bytes: TypeAlias = IO[bytes]

MOST_BYTES = 4 * 2**30  # of a file that must be held whole
MOST_LINE = 256 * 2**20  # of one row; a larger one is an attack or another kind of file

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as UTF-16's mark does: asked first
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def encoding_of(start: bytes) -> str:
    """The encoding by a byte order mark, or by where the zeros of the first characters are; else UTF-8.

    Example:
        >>> encoding_of("{}".encode("utf-16-be")), encoding_of(b"{}")
        ('utf-16-be', 'utf-8')
    """
    for mark, name in _MARKS:
        if start.startswith(mark):
            return name
    zeros = [byte == 0 for byte in start[:2]]
    if len(zeros) == 2 and any(zeros) and not all(zeros):
        return "utf-16-be" if zeros[0] else "utf-16-le"
    return "utf-8"


def lines(file: Bytes, path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines (1-based) with their newline; U+2028 and its like are letters of a line.

    Raises:
        ValueError: If a line is not of the file's encoding, or too long to be a row.
    """
    encoding = encoding_of(file.read(4))
    file.seek(0)
    if encoding.startswith("utf-8"):
        yield from _utf8(file, path)
        return
    reader = io.TextIOWrapper(file, encoding=encoding, newline="\n")
    try:
        for number in range(1, 2**62):
            line = reader.readline(MOST_LINE)
            if not line:
                return
            yield number, _checked(line, number, path)
    except UnicodeError as problem:
        raise ValueError(f"{path} begins as {encoding} and goes on as something else: {problem}") from problem
    finally:
        reader.detach()


def whole(file: Bytes, path: Path) -> str:
    """All characters of a file.

    Raises:
        ValueError: If it is too large to be held, or not of its encoding.
    """
    data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(
            f"{path} is one value of more than {MOST_BYTES:,} bytes: write it as JSON lines, which are "
            f"read one by one"
        )
    encoding = encoding_of(data[:4])
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as problem:
        line = data.count(b"\n", 0, problem.start) + 1
        raise ValueError(
            _wrong_bytes(path, line, problem.start - data.rfind(b"\n", 0, problem.start))
        ) from problem


def _utf8(file: Bytes, path: Path) -> Iterator[tuple[int, str]]:
    for number in range(1, 2**62):
        data = file.readline(MOST_LINE)
        if not data:
            return
        if number == 1:
            data = data.removeprefix(codecs.BOM_UTF8)
        try:
            line = data.decode("utf-8")
        except UnicodeDecodeError as problem:
            raise ValueError(_wrong_bytes(path, number, problem.start + 1)) from problem
        yield number, _checked(line, number, path)


def _checked(line: str, number: int, path: Path) -> str:
    if len(line) >= MOST_LINE:
        raise ValueError(f"{path} line {number} has more than {MOST_LINE:,} characters: no row is that long")
    return line


def _wrong_bytes(path: Path, line: int, column: int) -> str:
    return (
        f"{path} line {line} column {column} is not UTF-8, and the file does not say what else it is: "
        "save it as UTF-8 (`iconv -f LATIN1 -t UTF-8`)"
    )
