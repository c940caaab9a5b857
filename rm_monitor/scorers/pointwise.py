"""The shared scorer of every pointwise family: format, batch, read, apply the head.

A family says how its input is written (an `Encoding`), where it is read (`Reader`) and how what was read
becomes a reward (`Head`); everything that makes a score right or repeatable is here, once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from rm_monitor.scorers.batching import Batch, Batcher, Row
from rm_monitor.scorers.describe import Description, describe_input
from rm_monitor.scorers.formatting import FLAGS, Formatter, Rendered
from rm_monitor.scorers.frozen import frozen, library_versions
from rm_monitor.types import BoolArray, Completion, FloatArray, Prompt, Scale, Scores

__all__ = ["SCHEMA", "Head", "PointwiseScorer", "Reader", "Readout"]

SCHEMA = 1  # raised when our own formatting or pooling changes a score: old cached scores must then miss


class Readout(NamedTuple):
    """What a head says of ``b`` rows: the reward ``(b,)``, and further scores by name."""

    reward: torch.Tensor
    attributes: Mapping[str, torch.Tensor] = {}


class Reader(Protocol):
    """Runs the network and gives what the head needs."""

    @property
    def model(self) -> Any:
        """The network."""

    @property
    def identity(self) -> Mapping[str, str]:
        """What its numbers depend on: weights, config, dtype, attention."""

    def __call__(self, batch: Batch) -> torch.Tensor:
        """``(b, positions, features)`` float32."""


class Head(Protocol):
    """Turns what was read into a reward; float32 weights, higher is better."""

    @property
    def scale(self) -> Scale:
        """What a difference of two rewards means."""

    @property
    def identity(self) -> Mapping[str, str]:
        """What decides the number apart from the weights: which label, which sign, which temperature."""

    def positions(self, ids: Sequence[int]) -> tuple[int, ...]:
        """Which tokens are read. Raises ScorerError if the ids do not have them."""

    def to(self, device: torch.device) -> Any:
        """Move the weights."""

    def __call__(self, read: torch.Tensor) -> Readout:
        """Rewards of ``(b, positions, features)``."""


class PointwiseScorer:
    """A reward model in this process: one number a completion.

    Scores depend on the model, the prompt and the completion; not on neighbours (beyond float noise of
    about 1e-5 of the score's size in float32), nor on training mode, autocast or global random state, none
    of which it touches.

    Args:
        name: For people.
        kind: The family, as in `rm_monitor.scorers.detect.KINDS`.
        formatter: Conversation -> ids.
        reader: ids -> features.
        head: Features -> reward.
        batcher: How many rows at once.
        device: Where the network is.
        notes: What a person should know, from loading.
    """

    cacheable = True

    def __init__(
        self,
        *,
        name: str,
        kind: str,
        formatter: Formatter,
        reader: Reader,
        head: Head,
        batcher: Batcher,
        device: torch.device,
        notes: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.kind = kind
        self.formatter = formatter
        self.reader = reader
        self.head = head
        self.batcher = batcher
        self.device = device
        self.notes = tuple(notes)

    @property
    def scale(self) -> Scale:
        """What a difference of two rewards means."""
        return self.head.scale

    @property
    def model_identity(self) -> dict[str, str]:
        """What a score depends on beside its ids: the fields behind the score cache's keys."""
        return {
            "schema": str(SCHEMA),
            "kind": self.kind,
            "device": _device_name(self.device),
            "batches": self.batcher.policy,
            **{f"model.{k}": v for k, v in self.reader.identity.items()},
            **{f"head.{k}": v for k, v in self.head.identity.items()},
            **library_versions(self.device),
        }

    @property
    def fingerprint(self) -> str:
        """Everything a score depends on: weights, template, dtype, longest input, versions."""
        return _digest(
            {**self.model_identity, **{f"input.{k}": v for k, v in self.formatter.identity.items()}}
        ).hex()

    def score(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scores:
        """Score row by row.

        Identical inputs are scored once, so equal answers to a prompt have exactly equal rewards.

        Args:
            prompts: ``n`` prompts.
            completions: ``n`` completions; row i answers prompt i.

        Returns:
            Rewards ``(n,)``, nan where an input is too long, forged or gives no finite score; the flags
            ``overflow``, ``special_text``, ``empty``, ``think`` and ``nonfinite`` say which.

        Raises:
            ValueError: If the rows do not belong together.
            ScorerError: If an input overflows under ``on_overflow="error"`` or a single row does not fit.
        """
        rendered = self._render(prompts, completions)
        unique: dict[Row, int] = {}
        place = np.full(len(rendered), -1)
        for i, one in enumerate(rendered):
            if one.usable:
                place[i] = unique.setdefault(self._row(one), len(unique))
        reward = np.full(len(rendered), np.nan)
        attributes: dict[str, FloatArray] = {}
        if unique:
            said = self._read(list(unique))
            scored = place >= 0
            reward[scored] = _numpy(said.reward)[place[scored]]
            for name, values in said.attributes.items():
                attributes[name] = np.full(len(rendered), np.nan)
                attributes[name][scored] = _numpy(values)[place[scored]]
        flags: dict[str, BoolArray] = {
            flag: np.array([flag in one.flags for one in rendered], dtype=bool) for flag in FLAGS
        }
        flags["nonfinite"] = (place >= 0) & ~np.isfinite(reward)
        reward[flags["nonfinite"]] = np.nan
        return Scores(reward=reward, attributes=attributes, flags=flags)

    def keys(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[bytes]:
        """The content address of each score: 16 bytes of the model's identity and the very ids it reads."""
        identity = _digest(self.model_identity)
        return [row_key(identity, one, self._positions(one)) for one in self._render(prompts, completions)]

    def to(self, device: torch.device | str) -> PointwiseScorer:
        """Move the weights, and score there from now on. The fingerprint tells a CPU from a GPU."""
        self.device = torch.device(device)
        if not getattr(self.reader.model, "hf_device_map", None):
            self.reader.model.to(self.device)
        self.head.to(self.device)
        return self

    def describe(self) -> Description:
        """What was detected and how inputs are built: the first thing to read when a score looks wrong."""
        return Description(
            name=self.name,
            kind=self.kind,
            scale=self.scale,
            head=", ".join(f"{k} {v}" for k, v in self.head.identity.items()),
            model=dict(self.reader.identity),
            device=_device_name(self.device),
            input=describe_input(self.formatter),
            notes=self.notes,
        )

    def _render(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[Rendered]:
        check_rows(prompts, completions)
        return [self.formatter.render(p, c.text) for p, c in zip(prompts, completions, strict=True)]

    def _positions(self, one: Rendered) -> tuple[int, ...]:
        return self.head.positions(one.ids) if one.usable else ()

    def _row(self, one: Rendered) -> Row:
        return Row(one.ids, one.encoded.types, self._positions(one))

    def _read(self, rows: list[Row]) -> Readout:
        with frozen(self.reader.model, self.device):
            read = self.batcher.run(rows, self.reader, device=self.device)
            return self.head(read.to(self.device))


def row_key(identity: bytes, one: Rendered, positions: Sequence[int]) -> bytes:
    """Address of one score: its model's identity, the ids, their types, and where they are read."""
    digest = hashlib.blake2b(identity, digest_size=16)
    for part in (one.ids, one.encoded.types or (), positions):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(np.asarray(part, dtype="<i4").tobytes())
    return digest.digest()


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
                    f"{completion.prompt_id!r}, the prompt is {prompt.id!r}"
                )


def _numpy(values: torch.Tensor) -> FloatArray:
    found: FloatArray = values.detach().double().cpu().numpy()
    return found


def _digest(facts: Mapping[str, str]) -> bytes:
    text = json.dumps(dict(facts), sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return device.type
