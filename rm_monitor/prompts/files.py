"""Files as rows: the first bytes tell what a file is, its ending settles what they leave open."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from rm_monitor.prompts import binary, delimited, jsontext
from rm_monitor.prompts.characters import MOST_BYTES, Bytes

__all__ = ["Row", "read_files"]

_PACKED: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_ENDINGS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".feather", ".eval")
_SIDE_FILES = re.compile(r"^[._]|^(dataset_infos?|state|dataset_dict)\.json$")
_SPLIT = re.compile(r"^(train|test|valid|validation|dev|eval|holdout)(?=[-_.\d]|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a source.

    Attributes:
        value: What stands there: a text, turns, a mapping of columns.
        place: Where, for people: ``prompts.jsonl line 4``, ``row 7``.
    """

    value: Any
    place: str


def read_files(source: str | Path) -> Iterator[Row]:
    """Rows of a file, of a folder of shards, or of the files that a pattern names.

    Raises:
        ValueError: If there is no such file, or it is damaged or of no known kind.
    """
    for path in _shards(source):
        try:
            for value, place in _rows_of(path):
                yield Row(value, f"{path}{place}")
        except (OSError, EOFError, lzma.LZMAError, zlib.error, RecursionError, MemoryError) as problem:
            why = "it is nested too deeply" if isinstance(problem, RecursionError) else problem
            raise ValueError(f"{path} cannot be read: {why or type(problem).__name__}") from problem


def _rows_of(path: Path) -> Iterator[tuple[Any, str]]:
    endings = [ending.lower() for ending in path.suffixes]
    with _open(path) as stream:
        start = stream.read(512)
        stream.seek(0)
        kind = _kind(start, next((e for e in reversed(endings) if e in _ENDINGS), ""), path)
        yield from kind(stream, path)


def _kind(start: bytes, ending: str, path: Path) -> Callable[[Bytes, Path], Iterator[tuple[Any, str]]]:
    if not start:
        raise ValueError(f"{path} is empty")
    for magic, reader in binary.READERS.items():
        if start.startswith(magic):
            return reader
    if ending in (".parquet", ".arrow", ".feather", ".eval"):
        raise ValueError(
            f"{path} ends in {ending} but does not hold what that says: its bytes begin {start[:8]!r}"
        )
    first = start.lstrip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n")[:1]
    if first == b"{" or (first == b"[" and ending not in (".csv", ".tsv")):
        return jsontext.read
    if ending in (".csv", ".tsv"):
        return delimited.read
    if ending in (".json", ".jsonl", ".ndjson"):
        return jsontext.read
    if start[257:262] == b"ustar":
        raise ValueError(f"{path} is an archive (tar): unpack it and pass the file of rows in it")
    if start.startswith(b"SQLite format 3"):
        raise ValueError(f"{path} is an SQLite database: pass pandas.read_sql(...) of it")
    if start[:1] == b"\x80" and ending == "":
        raise ValueError(f"{path} is a pickle, which runs code when it is read: save its rows as JSON lines")
    raise ValueError(
        f"{path} holds no rows that can be told from its bytes, and must then end in one of "
        f"{', '.join(_ENDINGS)} (perhaps .gz after it), got {path.suffix!r}. Of a text with a prompt a line "
        f"pass the lines: open({path.name!r}).read().splitlines()"
    )


def _open(path: Path) -> IO[bytes]:
    """The bytes of a file, unpacked where it is packed."""
    with path.open("rb") as file:
        start = file.read(6)
    if start.startswith(b"\x28\xb5\x2f\xfd"):
        raise ValueError(
            f"{path} is packed by zstd, which cannot be read here: unpack it first (`unzstd {path}`)"
        )
    opened = next((opener for magic, opener in _PACKED.items() if start.startswith(magic)), None)
    if opened is None and path.stat().st_size > MOST_BYTES * 16:
        raise ValueError(
            f"{path} has {path.stat().st_size:,} bytes; cut it into files of at most {MOST_BYTES * 16:,}"
        )
    return cast("IO[bytes]", opened(path) if opened else path.open("rb"))


def _shards(source: str | Path) -> list[Path]:
    path = Path(source).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        return _in_folder(path)
    text = str(source)
    if any(mark in text for mark in "*?["):
        base = Path(path.anchor) if path.is_absolute() else Path()
        found = sorted(
            p for p in base.glob(str(path.relative_to(base) if path.is_absolute() else path)) if p.is_file()
        )
        if found:
            return found
    raise ValueError(_no_such(text))


def _no_such(text: str) -> str:
    if re.match(r"[a-z][a-z0-9+.-]+:/", text):
        return f"{text} is an address: download it, and pass the path; nothing is fetched from here"
    if re.fullmatch(r"[\w.-]+/[\w.-]+", text) and not Path(text).suffix:
        return (
            f"no such file: {text}. Of a data set on the hub, pass its rows: "
            f'datasets.load_dataset("{text}", split="...")'
        )
    if " " in text.strip() and "/" not in text:
        return f"no such file: {text!r:.120}. One prompt is given as a list: [{text!r:.60}]"
    return f"no such file: {text}"


def _in_folder(folder: Path) -> list[Path]:
    """The shards of a folder, in the order of their numbers."""
    if (folder / "dataset_dict.json").is_file():
        splits = sorted(p.name for p in folder.iterdir() if p.is_dir())
        raise ValueError(
            f"{folder} holds the splits {splits}: pass one, such as {folder / splits[0] if splits else ''}"
        )
    files = [p for p in folder.iterdir() if p.is_file() and not _SIDE_FILES.match(p.name)]
    shards = [p for p in files if any(e.lower() in _ENDINGS for e in p.suffixes)]
    if not shards and (folder / "data").is_dir():
        return _in_folder(folder / "data")
    if not shards:
        raise ValueError(f"{folder} has no files of rows; they end in {', '.join(_ENDINGS)}")
    for what, names in (
        ("kinds of files", {next(e for e in reversed(p.suffixes) if e.lower() in _ENDINGS) for p in shards}),
        ("splits", {m[1].lower() if (m := _SPLIT.match(p.name)) else "" for p in shards}),
    ):
        if len(names) > 1:
            raise ValueError(
                f"{folder} holds several {what} ({', '.join(sorted(n or 'others' for n in names))}): pass "
                f"one file, or a "
                f"pattern such as {folder / ('train-*' + shards[0].suffix)}"
            )
    return sorted(shards, key=lambda p: [int(t) if t.isdigit() else t for t in re.split(r"(\d+)", p.name)])
