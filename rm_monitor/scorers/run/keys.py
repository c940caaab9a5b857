"""Content addresses of scores, and the check that rows belong together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from rm_monitor.scorers.text.formatting import Rendered
from rm_monitor.types import Completion, Prompt

__all__ = ["SCHEMA", "check_rows", "device_name", "digest", "row_key"]

SCHEMA = 1  # raised when our own formatting or pooling changes a score: old cached scores must then miss


def check_rows(prompts: Sequence[Prompt], *columns: Sequence[Completion]) -> None:
    """Row i answers prompt i.

    Raises:
        ValueError: If it does not.
    """
    for completions in columns:
        if len(prompts) != len(completions):
            raise ValueError(
                f"row i of `completions` answers row i of `prompts`: got {len(prompts)} prompts and "
                f"{len(completions)} completions"
            )
        for i, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
            if prompt.id != completion.prompt_id:
                raise ValueError(
                    f"`completions` are not in prompt order (first differs at row {i}): it answers "
                    f"the id {completion.prompt_id!r}, and the prompt {prompt.label} has {prompt.id!r}"
                )


def digest(facts: Mapping[str, Any]) -> bytes:
    """16 bytes that name these facts."""
    text = json.dumps(dict(facts), sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def row_key(identity: bytes, one: Rendered, positions: Sequence[int]) -> bytes:
    """Address of one score: its model's identity, the ids, their types, and where they are read."""
    address = hashlib.blake2b(identity, digest_size=16)
    for part in (one.ids, one.encoded.types or (), positions):
        address.update(len(part).to_bytes(8, "little"))
        address.update(np.asarray(part, dtype="<i4").tobytes())
    return address.digest()


def device_name(device: torch.device) -> str:
    """What the numbers of a device depend on: its type, and the model of a GPU."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return device.type
