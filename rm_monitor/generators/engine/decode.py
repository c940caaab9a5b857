"""The loop: admit rows, run a step, keep what it said, let finished rows go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rm_monitor.generators.engine.attention import Piece, Rows, Step
from rm_monitor.generators.engine.layout import Layout
from rm_monitor.generators.engine.prefill import SIZE, Chunk, chunks
from rm_monitor.generators.engine.schedule import Answer, Job, Queue, shared_prefix
from rm_monitor.generators.engine.scope import OutOfScope
from rm_monitor.generators.noise import choose
from rm_monitor.generators.pick import sharpness
from rm_monitor.types import Progress, Sampling

__all__ = ["Decoder", "Facts"]

IntArray = NDArray[np.int64]

REFILL = 0.75  # new rows are admitted when the rows in flight need less than this share of the room
NOTHING: IntArray = np.zeros(0, dtype=np.int64)


@dataclass(slots=True)
class Facts:
    """What a run cost.

    Attributes:
        steps: Forwards that decoded.
        row_steps: Tokens that went through those forwards; each useful one is somebody's next token.
        tokens: Tokens generated.
        prefilled: Prompt tokens that went through the model.
        trajectory: Tokens of every forward, prefills included, and how many of them reached the head.
    """

    steps: int = 0
    row_steps: int = 0
    tokens: int = 0
    prefilled: int = 0
    trajectory: list[tuple[int, int]] = field(default_factory=list)


class Decoder:
    """Answers rows with a model whose attention is ours (see `attending`).

    Args:
        model: The model, in eval mode.
        jobs: Rows to answer.
        sampling: How to choose.
        ends: Tokens that end an answer.
        room: Slots that all rows in flight together may come to need.
        overhead: Slots' worth of memory that a row needs besides.
        progress: Told how many rows are done.
    """

    def __init__(
        self,
        model: Any,
        jobs: Sequence[Job],
        sampling: Sampling,
        ends: Sequence[int],
        *,
        room: int,
        overhead: int,
        progress: Progress | None = None,
    ) -> None:
        n, longest = len(jobs), sampling.max_new_tokens
        self.model, self.jobs, self.sampling = model, jobs, sampling
        self.ends = np.array(list(ends), dtype=np.int64)
        self.room, self.progress = room, progress
        self.device = next(model.parameters()).device
        self.queue = Queue(jobs, longest, overhead)
        self.facts = Facts()
        self.size = np.array([len(job.ids) for job in jobs], dtype=np.int64)
        self.layout = Layout(self.size + longest, shared_prefix(jobs))
        self.keys = np.array([job.key for job in jobs], dtype=np.int64)
        self.count = np.zeros(n, dtype=np.int64)  # tokens generated
        self.said = np.zeros((n, longest), dtype=np.int64)
        self.sums = np.zeros((2, n))  # of entropy and of mass
        self.answers: dict[int, Answer] = {}

    def run(self) -> list[Answer]:
        """The answers, in the order of the jobs."""
        self._prefill_common_beginning()
        while self.queue or len(self.layout.rows):
            self._admit()
            self._step()
        return [self.answers[i] for i in range(len(self.jobs))]

    # ------------------------------------------------------------------ rows come

    def _prefill_common_beginning(self) -> None:
        for start in range(0, self.layout.prefix, SIZE):
            at = np.arange(start, min(start + SIZE, self.layout.prefix))
            piece = Piece(length=len(at), base=1, past=start)
            self._forward(self.jobs[0].ids[at], at, 1 + at, [(len(at), piece)], keep=NOTHING)
        self.facts.prefilled += self.layout.prefix

    def _admit(self) -> None:
        flying = self.layout.rows.tolist()
        needed = sum(self.queue.need(i) for i in flying)
        if flying and needed > REFILL * self.room:
            return
        new = self.queue.take(self.room - needed, at_least=0 if flying else 1)
        if not new:
            return
        self.layout.form(new, self.size[new].tolist())
        families: dict[int, list[int]] = {}
        for i in new:
            families.setdefault(self.jobs[i].prompt, []).append(i)
        prompts = {rows[0]: self.jobs[rows[0]].ids for rows in families.values()}
        for chunk in chunks(prompts, self.layout.prefix):
            self._prefill(chunk, families)

    def _prefill(self, chunk: Chunk, families: dict[int, list[int]]) -> None:
        """Run a chunk; the samples of a prompt that ends in it start from copies."""
        base, prefix = self.layout.base, self.layout.prefix
        ids = np.concatenate([self.jobs[i].ids[a:b] for i, a, b in chunk.pieces])
        places = np.concatenate([np.arange(a, b) for _, a, b in chunk.pieces])
        slots = np.concatenate([base[i] + np.arange(a, b) for i, a, b in chunk.pieces])
        parts = [(b - a, Piece(length=b - a, base=int(base[i]), past=a)) for i, a, b in chunk.pieces]
        logits = self._forward(ids, places, slots, parts, keep=chunk.ends)
        self.facts.prefilled += len(ids)
        rows: list[int] = []
        which: list[int] = []
        for number, leader in enumerate(chunk.finished):
            family = families[self.jobs[leader].prompt]
            self.layout.length[family] = self.size[leader]
            own = np.arange(prefix, self.size[leader])
            for i in family[1:]:
                self.layout.arena.copy(base[leader] + own, base[i] + own)
            rows += family
            which += [number] * len(family)
        if rows:
            self._keep(np.array(rows), logits[torch.tensor(which, device=self.device)])

    # ------------------------------------------------------------------ a step

    def _step(self) -> None:
        rows = self.layout.rows
        if not len(rows):
            return
        if not self.layout.fits():
            self.layout.form()
            return
        places = self.layout.length[rows]
        parts = self.layout.parts(self.model.dtype, self.device)
        ids = self.said[rows, self.count[rows] - 1]
        logits = self._forward(ids, places, self.layout.base[rows] + places, parts)
        self.facts.steps += 1
        self.facts.row_steps += len(rows)
        self.layout.length[rows] += 1
        self._keep(rows, logits)
        self.layout.tidy()

    def _forward(
        self,
        ids: IntArray,
        places: IntArray,
        slots: IntArray,
        parts: Sequence[tuple[int, Piece | Rows]],
        keep: IntArray | None = None,
    ) -> Tensor:
        """Logits ``(tokens, vocabulary)`` of packed tokens, or of those at ``keep`` alone."""
        with Step(self.layout.arena, torch.from_numpy(slots).to(self.device), parts) as step:
            out = self.model(
                input_ids=torch.from_numpy(ids)[None].to(self.device),
                position_ids=torch.from_numpy(places)[None].to(self.device),
                use_cache=False,
                logits_to_keep=0 if keep is None else torch.from_numpy(keep).to(self.device),
            )
        layers = self.model.config.num_hidden_layers
        if len(step.layers) != layers:
            raise OutOfScope(f"{len(step.layers)} of its {layers} layers attend through the interface")
        self.facts.trajectory.append((len(ids), len(ids) if keep is None else len(keep)))
        logits: Tensor = out.logits[0]
        return logits

    # ------------------------------------------------------------------ what it said

    def _keep(self, rows: IntArray, logits: Tensor) -> None:
        """Choose each row's next token; rows that end with it leave."""
        chosen = choose(
            logits,
            torch.from_numpy(self.keys[rows]).to(self.device),
            torch.from_numpy(self.count[rows]).to(self.device),
            temperature=self.sampling.temperature,
            top_p=self.sampling.top_p,
        )
        found = chosen.cpu().numpy()
        self.sums[:, rows] += torch.stack(sharpness(logits)).double().cpu().numpy()
        self.said[rows, self.count[rows]] = found
        self.count[rows] += 1
        self.facts.tokens += len(rows)
        stopped = np.isin(found, self.ends)
        over = stopped | (self.count[rows] == self.sampling.max_new_tokens)
        for i, end in zip(rows[over].tolist(), stopped[over].tolist(), strict=True):
            n = int(self.count[i])
            entropy, mass = (self.sums[:, i] / n).tolist()
            self.answers[i] = Answer(self.said[i, :n].copy(), end, entropy, mass)
            self.layout.remove(i)
        if self.progress is not None and over.any():
            self.progress(len(self.answers), len(self.jobs))
