"""Lines that know when they are damaged: ``<crc32> <json>``, one record a line, only ever appended.

Whatever happened to a file, reading it gives the records that are whole, and nothing else: a torn, flipped,
cut or merged line does not fit its checksum.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["append", "line", "number", "parse", "read"]

log = logging.getLogger("rm_monitor")

LONGEST = 4_194_304  # bytes of a line; ours are far below
_CRC = re.compile(rb"[0-9a-f]{8}")


def line(record: Mapping[str, Any]) -> str:
    r"""A record as a line; nan and infinities are written as text, for JSON has none.

    Example:
        >>> line({"step": 10, "value": float("nan")})
        '994e00aa {"step":10,"value":"nan"}\n'
    """
    body = json.dumps(_plain(record), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return f"{zlib.crc32(body.encode('ascii')):08x} {body}\n"


def parse(data: bytes) -> dict[str, Any] | None:
    """The record of a line without its end; None if it is damaged.

    Example:
        >>> whole = line({"step": 10}).encode().rstrip()
        >>> parse(whole), parse(whole.replace(b"10", b"11"))
        ({'step': 10}, None)
    """
    crc, _, body = data.partition(b" ")
    if len(data) > LONGEST or not _CRC.fullmatch(crc) or int(crc, 16) != zlib.crc32(body):
        return None
    try:
        record = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Every record of a file that is whole; what is not is counted in the log."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    except OSError as problem:
        log.warning("rm_monitor: %s cannot be read: %s", path, problem)
        return
    for place, data in enumerate(lines, 1):
        if data:
            record = parse(data)
            if record is None:
                log.warning("rm_monitor: %s line %d is damaged and left out", path, place)
            else:
                yield record


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
        except OSError:
            os.ftruncate(file, before)
            raise
    finally:
        os.close(file)


def number(value: Any) -> float:
    """A number as it was before it was written."""
    return float(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else str(float(value))
    return value
