"""The loop: admit rows, run a step, keep what it said, let finished rows go."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from rm_monitor.errors import is_out_of_memory
from rm_monitor.generators.engine.choosing import Said
from rm_monitor.generators.engine.facts import Facts
from rm_monitor.generators.engine.pace import Pace
from rm_monitor.generators.engine.rows import Flight, Table
from rm_monitor.generators.engine.schedule import Answer, Queue
from rm_monitor.types import Progress

__all__ = ["Decoder"]

log = logging.getLogger("rm_monitor")

IntArray = NDArray[np.int64]

REFILL = 0.75  # new rows are admitted when the rows in flight need less than this share of the room


class Decoder:
    """Answers the rows of a `Table`.

    Args:
        table: Rows.
        queue: In which order they come, and what each may need.
        ends: Tokens that end an answer.
        room: Slots that all rows in flight together may come to need.
        take_off: Makes a flight without rows, for a room of so many slots.
        give_back: Returns what a flight that ran out of memory has left behind.
        facts: Where the cost is noted.
        progress: Told how much is done, in rows: what a row that is not done has said counts too.

    Attributes:
        room: As given, or as much as memory turned out to have.
    """

    def __init__(
        self,
        table: Table,
        queue: Queue,
        ends: Sequence[int],
        *,
        room: int,
        take_off: Callable[[int], Flight],
        give_back: Callable[[], None],
        facts: Facts,
        progress: Progress | None = None,
    ) -> None:
        self.table, self.queue, self.facts = table, queue, facts
        self._pace = None if progress is None else Pace(table, progress)
        self.ends = np.array(list(ends), dtype=np.int64)
        self.room, self._take_off, self._give_back = room, take_off, give_back
        self._flight: Flight | None = None
        self._admitted: list[int] = []  # rows that are neither waiting nor done
        self.answers: dict[int, Answer] = {}

    def run(self) -> list[Answer]:
        """The answers, in the order of the jobs.

        Memory that runs out costs the rows in flight: they are answered again, half as many at once.
        """
        while len(self.answers) < len(self.table.jobs):
            try:
                self._advance()
                continue
            except (RuntimeError, MemoryError) as problem:
                if not is_out_of_memory(problem) or len(self._admitted) < 2:
                    raise
            self._narrow()  # outside the handler: the exception kept the failed forward's tensors alive
        return [self.answers[i] for i in range(len(self.table.jobs))]

    def _advance(self) -> None:
        if self._flight is None:
            self._flight = self._take_off(self.room)
        rows = self._flight.rows
        needed = int(self.queue.needs[rows].sum())
        if self.queue and (not len(rows) or needed <= REFILL * self.room):
            new = self.queue.take(self.room - needed, at_least=0 if len(rows) else 1)
            if new:
                self._admitted += new
                for said in self._flight.admit(new):
                    self._keep(said)
        if len(self._flight.rows):
            said = self._flight.step()
            self.facts.steps += 1
            self._keep(said)
        if self._pace is not None:
            self._pace.tell(len(self.answers), self._admitted)

    def _narrow(self) -> None:
        wave = self._admitted
        self.facts.narrowed += 1
        self.facts.tokens -= int(self.table.count[wave].sum())
        self.table.forget(wave)
        self.queue.put_back(wave)
        self.room = max(1, min(self.room, int(self.queue.needs[wave].sum())) // 2)
        self._admitted, self._flight = [], None
        self._give_back()
        log.warning("answering ran out of memory: fewer rows at once from now on (%d before)", len(wave))

    def _keep(self, said: Said) -> None:
        """Note what rows said; those that end with it leave."""
        self.table.say(said)
        self.facts.tokens += len(said.rows)
        stopped = np.isin(said.tokens, self.ends)
        over = stopped | (self.table.count[said.rows] == self.table.longest)
        if not over.any():
            return
        done = said.rows[over].tolist()
        for row, end in zip(done, stopped[over].tolist(), strict=True):
            self.answers[row] = self.table.answer(row, stopped=end)
        gone = set(done)
        self._admitted = [row for row in self._admitted if row not in gone]
        if self._flight is not None:
            self._flight.remove(done)
