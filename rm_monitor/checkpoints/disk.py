"""Is a checkpoint on disk complete and loadable? Told from names, sizes and headers; no weights are read."""

from __future__ import annotations

import json
import re
import struct
from math import prod
from pathlib import Path
from typing import Any

__all__ = ["problem", "step_of"]

_STEP = re.compile(r"(?:checkpoint|step)-(\d+)")
_BITS = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16}
_BITS |= {"I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64}
_LONGEST_HEADER = 100_000_000  # as the safetensors library has it


def step_of(path: str | Path) -> int | None:
    """The step in a checkpoint folder's name; None if it is not one.

    Example:
        >>> step_of("out/checkpoint-200"), step_of("out/best")
        (200, None)
    """
    match = _STEP.fullmatch(Path(path).name)
    return int(match.group(1)) if match else None


def problem(path: str | Path) -> str | None:
    """Why a folder is not a complete, loadable checkpoint; None if it is.

    A safetensors file says in its header how long it must be, an index which files there are, and the
    Trainer writes ``trainer_state.json`` last.
    """
    path = Path(path)
    if not path.is_dir():
        return "it is not a folder"
    if path.name.startswith("checkpoint-") and step_of(path) is not None:  # a Trainer's
        state = path / "trainer_state.json"
        if not state.is_file():
            return "trainer_state.json, which the Trainer writes last, is not there"
        found = _json(state)
        if found is None or "global_step" not in found:
            return "trainer_state.json is not whole"
        if found["global_step"] != step_of(path):
            return f"trainer_state.json is of step {found['global_step']!r:.100}"
    return _weights_problem(path)


def _weights_problem(path: Path) -> str | None:
    config = "config.json"
    if (path / "model.safetensors.index.json").is_file():
        index = _json(path / "model.safetensors.index.json")
        weights = None if index is None else index.get("weight_map")
        if not isinstance(weights, dict) or not weights:
            return "model.safetensors.index.json is not whole"
        shards: dict[str, set[str]] = {}
        for tensor, name in weights.items():
            if not isinstance(name, str) or Path(name).name != name:
                return f"model.safetensors.index.json names {name!r:.100}, which is no file of this folder"
            shards.setdefault(name, set()).add(tensor)
    elif (path / "model.safetensors").is_file():
        shards = {"model.safetensors": set()}
    elif (path / "adapter_model.safetensors").is_file():
        shards, config = {"adapter_model.safetensors": set()}, "adapter_config.json"
    else:
        return "no safetensors weights are there"
    if not (path / config).is_file():
        return f"{config} is not there"
    if _json(path / config) is None:
        return f"{config} is not whole"
    return next((why for name in sorted(shards) if (why := _file_problem(path / name, shards[name]))), None)


def _file_problem(path: Path, tensors: set[str]) -> str | None:
    """Whether a safetensors file has the tensors it must have, and the length they ask for."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _LONGEST_HEADER:
                return f"the header of {path.name} is not whole"
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        end = 0
        for start, stop, bits in sorted((*e["data_offsets"], _bits(e)) for e in header.values()):
            if start != end or (bits is not None and 8 * (stop - start) != bits):
                return f"the tensors of {path.name} do not fit into each other"
            end = stop
        size = path.stat().st_size
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error, RecursionError) as why:
        return f"{path.name} cannot be read ({type(why).__name__})"
    if size != 8 + length + end:
        return f"{path.name} is not whole: {size} bytes of {8 + length + end}"
    missing = tensors - set(header)
    return f"{path.name} lacks {len(missing)} of its tensors: {min(missing)!r:.100}" if missing else None


def _bits(entry: dict[str, Any]) -> int | None:
    """How many bits a tensor takes; None for a type that is not known here."""
    bits = _BITS.get(entry["dtype"])
    return None if bits is None else bits * prod(entry["shape"])


def _json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
