"""Scoring with as little work as a network allows: its rows packed, where they say what they say alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from rm_monitor.errors import is_out_of_memory
from rm_monitor.packed.linears import packed_linears
from rm_monitor.packed.memory import free_memory
from rm_monitor.packed.scope import OutOfScope, why_not_packed
from rm_monitor.scorers.run.batching import Batcher, Row, Work
from rm_monitor.scorers.run.packed import on_packed_rows, running
from rm_monitor.scorers.run.packing import Pack, lay_out, packs
from rm_monitor.scorers.run.prefix_cache import Hits, PrefixCache

__all__ = ["PackedReader", "run_packed", "why_not"]

log = logging.getLogger("rm_monitor")

WORTH_REORDERING = 4096  # tokens: reordering the weights costs what 1,500 tokens gain by it
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.1}  # of the largest number that was read


class PackedReader(Protocol):
    """A reader whose network may run on packed rows."""

    @property
    def model(self) -> Any:
        """The network."""

    @property
    def causal(self) -> bool:
        """Whether a token sees only those before it; rows may then share what they begin with."""

    @property
    def reads(self) -> tuple[int, ...] | None:
        """The positions that are read of every row; None: as each row says."""

    def packed(self, pack: Pack) -> torch.Tensor:
        """``(rows, positions, features)`` float32."""


def run_packed(
    reader: PackedReader,
    rows: Sequence[Row],
    batcher: Batcher,
    *,
    device: torch.device,
    many: bool = False,
    prefixes: PrefixCache | None = None,
) -> torch.Tensor:
    """All rows through packed forwards, in their order: ``(rows, positions, features)``.

    Args:
        reader: Of which `why_not` has nothing to say.
        rows: At least one.
        batcher: How many tokens at once.
        device: Where the network is.
        many: Reorder the weights even for few rows.
        prefixes: What is kept of earlier scorings, and where more is kept; None: nothing is.

    Raises:
        ScorerError: If a single row does not fit into memory.
    """

    def planned(todo: Sequence[int], budget: int) -> Iterator[Work]:
        chosen = [rows[i] for i in todo]
        known = _known(reader, chosen, prefixes)
        for together in packs(chosen, budget=budget, share=reader.causal, known=known):
            numbers = [i for group in together for i in group.rows]

            def forward(together: Any = together) -> torch.Tensor:
                pack = lay_out(
                    chosen, together, causal=reader.causal, reads=reader.reads, device=device, known=known
                )
                with running(pack, causal=reader.causal) as lines:
                    states = reader.packed(pack)
                if prefixes is not None:
                    for begin, ids in pack.fresh:
                        prefixes.keep(ids, _cut(lines, begin, begin + len(ids)))
                return states

            yield [todo[i] for i in numbers], forward

    kept = _known(reader, rows, prefixes).kept.values()
    many = many or sum(len(row.ids) for row in rows) - sum(n for _, n in kept) >= WORTH_REORDERING
    room = free_memory(device) if many and device.type == "cpu" else 0
    with on_packed_rows(reader.model, rowwise=not reader.causal), packed_linears(reader.model, room):
        read = batcher.run_as(rows, planned, device=device)
    if prefixes is not None:
        prefixes.note(rows)
    return read


def _known(reader: PackedReader, rows: Sequence[Row], prefixes: PrefixCache | None) -> Hits:
    return prefixes.look_up(rows) if prefixes is not None and reader.causal else Hits()


def _cut(
    lines: Mapping[int, tuple[Tensor, Tensor]], begin: int, end: int
) -> dict[int, tuple[Tensor, Tensor]]:
    return {layer: (k[:, begin:end].clone(), v[:, begin:end].clone()) for layer, (k, v) in lines.items()}


def why_not(reader: Any, rows: Sequence[Row], batcher: Batcher, device: torch.device) -> str:
    """Why a reader's rows are not packed; empty if they can be, tried on these rows.

    Args:
        reader: Of any kind.
        rows: A few of unequal lengths that begin alike, so that everything that packing does is tried.
        batcher: For the memory it may use.
        device: Where the network is.
    """
    if not hasattr(reader, "packed"):
        return "more is read of them than a few tokens"
    if device.type != "cpu":
        return f"on {device.type} padded batches are not known to be slower"
    if reason := why_not_packed(reader.model):
        return reason
    if len(rows) < 2:
        return "inputs of a few words do not fit into it, so packing could not be tried"
    try:
        found = run_packed(reader, rows, batcher, device=device, many=True)
    except OutOfScope as reason:
        return str(reason)
    except Exception as error:  # whatever a forward says that was not made for this
        if is_out_of_memory(error):
            raise
        log.debug("scoring packed rows was tried and failed", exc_info=True)
        return f"it failed on packed rows ({type(error).__name__})"
    expected = Batcher(tokens=batcher.tokens, single=True, pad_id=batcher.pad_id).run(
        rows, reader, device=device
    )
    tolerance = TOLERANCE.get(next(reader.model.parameters()).dtype, 0.1) * float(expected.abs().max())
    agrees = found.shape == expected.shape and float((found - expected).abs().max()) <= tolerance
    return "" if agrees else "it says something else on packed rows"
