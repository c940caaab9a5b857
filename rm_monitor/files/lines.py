"""JSON lines that know when they are damaged: one object a line, whose last field ``crc`` is its checksum.

The checksum is the CRC-32 of the line as it would be without that field. Whatever happened to a file, reading
it gives the records that are whole, and nothing else: a torn, flipped, cut or merged line does not fit its
checksum. Lines are only ever appended.
"""

from __future__ import annotations

import logging
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rm_monitor.files.atomic import sync
from rm_monitor.files.strict_json import dumps, loads

__all__ = ["append", "line", "parse", "read"]

log = logging.getLogger("rm_monitor")

LONGEST = 4_194_304  # bytes of a line; ours are far below
_END = re.compile(rb'"crc":"([0-9a-f]{8})"\}')
_LENGTH = len('"crc":"00000000"}')
_OLD = re.compile(rb"[0-9a-f]{8} \{")  # the checksum stood before the object, which no JSON reader takes


def line(record: Mapping[str, Any]) -> str:
    r"""A record as a line; unknown numbers are null.

    Raises:
        ValueError: If the record has a field called ``crc``.

    Example:
        >>> line({"step": 10, "value": float("nan")})
        '{"step":10,"value":null,"crc":"931ab83a"}\n'
    """
    if "crc" in record:
        raise ValueError("a record's field `crc` is its checksum: call this one something else")
    body = dumps(record)
    comma = "," if len(record) else ""
    return f'{body[:-1]}{comma}"crc":"{zlib.crc32(body.encode("ascii")):08x}"}}\n'


def parse(data: bytes) -> dict[str, Any] | None:
    """The record of a line without its end; None if it is damaged.

    Example:
        >>> whole = line({"step": 10}).encode().rstrip()
        >>> parse(whole), parse(whole.replace(b"10", b"11"))
        ({'step': 10}, None)
    """
    end = _END.fullmatch(data[-_LENGTH:])
    if len(data) > LONGEST or end is None:
        return None
    body = data[:-_LENGTH].removesuffix(b",") + b"}"
    if int(end[1], 16) != zlib.crc32(body):
        return None
    try:
        record = loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    del record["crc"]
    return record


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Every record of a file that is whole; what is not is counted in the log."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    except OSError as problem:
        log.warning("rm_monitor: %s cannot be read: %s", path, problem)
        return
    old = 0
    for place, data in enumerate(lines, 1):
        record = parse(data)
        if record is not None:
            yield record
        elif _OLD.match(data):
            old += 1
        elif data:
            log.warning("rm_monitor: %s line %d is damaged and left out", path, place)
    if old:
        log.warning(
            "rm_monitor: %d line(s) of %s were written by a version before history schema 3, which put the "
            "checksum before the object; they are left out: read this run with the version that wrote it",
            old,
            path,
        )


def append(path: Path, record: Mapping[str, Any]) -> None:
    """One write, one sync. What an earlier process left torn at the end stays a line of its own.

    Raises:
        OSError: If the disk refuses; the file is as it was before.
    """
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
    try:
        before = os.fstat(file).st_size
        torn = before > 0 and os.pread(file, 1, before - 1) != b"\n"
        data = ("\n" * torn + line(record)).encode("ascii")
        try:
            if os.write(file, data) != len(data):
                raise OSError(f"only part of a line was written to {path}: is the disk full?")
            os.fdatasync(file)
            if not before:  # a new file: its name is its folder's
                sync(path.parent)
        except OSError:
            os.ftruncate(file, before)
            raise
    finally:
        os.close(file)
