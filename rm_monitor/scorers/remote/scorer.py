"""`RemoteScorer`: a pointwise reward model behind a server."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rm_monitor.errors import ScorerError, ScorerUnavailable
from rm_monitor.http import Client, HTTPFailure, Unavailable, in_order
from rm_monitor.scorers.describe import unread
from rm_monitor.scorers.remote import canaries
from rm_monitor.scorers.remote.canaries import Baseline
from rm_monitor.scorers.remote.codecs import Codec, Row, Said
from rm_monitor.scorers.remote.render import Ready, Renderer, TokenIds, WholeText, digestible
from rm_monitor.scorers.remote.select import Selection
from rm_monitor.scorers.run.keys import SCHEMA, check_rows, digest
from rm_monitor.scorers.text.formatting import FLAGS, SELDOM, Formatter
from rm_monitor.text.waiting import Waiting
from rm_monitor.types import Completion, FloatArray, Prompt, Scale, Scores, Screened, ValueStore

__all__ = ["RemoteScorer"]

log = logging.getLogger("rm_monitor")

_SELDOM = (*SELDOM, "unfaithful")


class RemoteScorer:
    """Scores with a server, or says why not; a failed row is nan, never a default.

    After every scoring the canaries are scored again. If they moved, the server has another model: what it
    said is refused, for references scored before would be compared with answers scored by another model.

    Args:
        client: The server.
        codec: How it is asked.
        render: What it is given.
        select: Which of its numbers is the reward.
        model: The name it serves the model under.
        scale: What a difference of two rewards means.
        scale_told: The user has said so.
        name: For people.
        facts: What the server says of itself: its version, the model's path.
        revision: The user's word for which weights these are. Only with one are scores kept across runs.
        batch_size: Rows a request.
        concurrency: Requests at a time.

    Raises:
        ScorerUnavailable: If the server is down or slow.
        ScorerError: If what it gives cannot be used.
    """

    def __init__(
        self,
        client: Client,
        *,
        codec: Codec,
        render: Renderer,
        select: Selection,
        model: str,
        scale: Scale,
        scale_told: bool = False,
        temperature: float | None = None,
        name: str,
        facts: Mapping[str, str] | None = None,
        revision: str | None = None,
        batch_size: int = 32,
        concurrency: int = 4,
    ) -> None:
        if batch_size < 1 or concurrency < 1:
            raise ValueError(
                f"`batch_size` and `concurrency` must be at least 1, got {batch_size} and {concurrency}"
            )
        self.client = client
        self.codec = codec
        self.render = render
        self.select = select
        self.model = model
        self.scale: Scale = scale
        self.temperature = temperature
        self.name = name
        self.facts = dict(facts or {})
        self.revision = revision
        self.batch_size = 1 if render.form == "messages" else batch_size
        self.concurrency = concurrency
        self.cacheable = revision is not None
        self._memory: ValueStore | None = None
        self._settled: str | None = None
        self._baseline = self._first_reading(scale_told)

    # ------------------------------------------------------------------ what it is

    @property
    def fingerprint(self) -> str:
        """Model, server version, revision, template, and the scores of the canaries; not the URL."""
        if self._settled is None:
            kept, number = canaries.settle(
                self._baseline,
                self._memory,
                {i: digest({**self._identity, "canaries": str(i)}) for i in range(100)},
            )
            if number:
                log.warning(
                    "rm_monitor: %s serves another model than before under the name %r: scores kept from "
                    "before are not used, and a new segment of the curve begins",
                    self.client.url,
                    self.model,
                )
            told = {} if self.temperature is None else {"temperature": str(self.temperature)}
            self._settled = digest({**self._identity, **told, "scores": [float(x) for x in kept]}).hex()
        return self._settled

    @property
    def _identity(self) -> dict[str, Any]:
        given = {f"input.{k}": v for k, v in self.render.identity.items()}
        said = {f"server.{k}": v for k, v in self.facts.items()}
        return {
            "schema": str(SCHEMA),
            "codec": self.codec.name,
            "model": self.model,
            "revision": self.revision or "",
            "select": str(self.select),
            **given,
            **said,
        }

    def describe(self) -> str:
        """What was found, a fact a line."""
        facts = [
            ("reward model", self.name),
            ("kind", f"remote, {self.codec.name}"),
            ("server", self.client.url),
            *self.facts.items(),
            ("head", str(self.select)),
            ("scale", self.scale),
            (
                "input",
                f"{self.render.form}, {', '.join(f'{k} {v}' for k, v in self.render.identity.items())}",
            ),
            ("revision", self.revision or "not given: scores are not kept across runs"),
            ("canaries", ", ".join(f"{x:.3g}" for x in self._baseline.scores)),
            *(("note", note) for note in self._unread),
        ]
        return "\n".join(f"{name:<13} {value}" for name, value in facts)

    def screen(self, prompts: Sequence[Prompt]) -> Screened:
        """Which prompts it cannot be asked about, where inputs are rendered here."""
        formatter = self._formatter
        return Screened({}, {}) if formatter is None else formatter.screen(prompts)

    @property
    def _formatter(self) -> Formatter | None:
        """What renders inputs, where it is ours."""
        return self.render.formatter if isinstance(self.render, (TokenIds, WholeText)) else None

    @property
    def _unread(self) -> list[str]:
        """What its template refuses or leaves out, where it is ours."""
        return [] if self._formatter is None else unread(self._formatter)

    def remember(self, memory: ValueStore) -> None:
        """Keep the canaries' scores here, so that a model swapped between two runs is noticed."""
        self._memory = memory

    # ------------------------------------------------------------------ scoring

    def score(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scores:
        """Score row by row.

        Returns:
            Rewards ``(n,)``; nan where an input is too long, forged, or came back as no finite number.

        Raises:
            ScorerUnavailable: If the server is down or slow.
            ScorerError: If its reply cannot be used, or its model is another one than before.
        """
        check_rows(prompts, completions)
        ready = [self.render(p, c.text) for p, c in zip(prompts, completions, strict=True)]
        scores = self._scores(ready)
        if ready:
            self._check_canaries()
        return scores

    def keys(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[bytes]:
        """The content address of each score."""
        name = self.fingerprint
        ready = [self.render(p, c.text) for p, c in zip(prompts, completions, strict=True)]
        return [digest({"by": name, "row": None if r.row is None else digestible(r.row)}) for r in ready]

    def _scores(self, ready: Sequence[Ready]) -> Scores:
        """Equal inputs are sent once, so that they have exactly equal rewards."""
        unique: dict[str, Row] = {}
        names = [None if r.row is None else json.dumps(digestible(r.row)) for r in ready]
        for name, one in zip(names, ready, strict=True):
            if name is not None and one.row is not None:
                unique.setdefault(name, one.row)
        said = self._ask(list(unique.values()))
        place = {name: i for i, name in enumerate(unique)}
        at = np.array([-1 if name is None else place[name] for name in names], dtype=int)
        scored = at >= 0
        n = len(ready)
        flags = {flag: np.array([flag in r.flags for r in ready], dtype=bool) for flag in (*FLAGS, *_SELDOM)}
        for flag in _SELDOM:
            if not flags[flag].any():
                del flags[flag]
        columns = np.full((n, said.columns.shape[1]), np.nan)
        columns[scored] = said.columns[at[scored]]
        if said.overflow is not None:
            flags["overflow"][scored] |= said.overflow[at[scored]]
            columns[flags["overflow"]] = np.nan
        reward, attributes = self.select(columns)
        usable = scored & ~flags["overflow"] if said.overflow is not None else scored
        flags["nonfinite"] = usable & ~np.isfinite(reward)
        return Scores(
            reward=np.where(np.isfinite(reward), reward, np.nan), attributes=attributes, flags=flags
        )

    def _ask(self, rows: Sequence[Row]) -> Said:
        """Numbers of these rows, in requests of ``batch_size``."""
        if not rows:
            return Said(np.empty((0, self.select.width or 1)))
        size = self.batch_size
        parts = [rows[i : i + size] for i in range(0, len(rows), size)]
        try:
            with Waiting(f"training waits for scores from {self.client.url}"):
                said = in_order(self._ask_part, parts, concurrency=self.concurrency)
        except Unavailable as problem:
            raise ScorerUnavailable(str(problem)) from None
        except HTTPFailure as problem:
            raise ScorerError(str(problem)) from None
        if len({part.columns.shape[1] for part in said}) > 1:
            raise ScorerError(f"{self.client.url} gives different counts of scores in different replies")
        overflow = [part.overflow for part in said if part.overflow is not None]
        return Said(
            np.concatenate([part.columns for part in said]), np.concatenate(overflow) if overflow else None
        )

    def _ask_part(self, rows: Sequence[Row]) -> Said:
        path, body = self.codec.ask(rows, self.render.form, self.model)
        reply = self.client.post(path, body)
        try:
            return self.codec.read(reply, len(rows))
        except ScorerError as problem:
            raise ScorerError(f"{self.client.url}{path}: {problem}") from None

    # ------------------------------------------------------------------ canaries

    def _read_canaries(self, *, alone: bool = False) -> FloatArray:
        ready = [self.render(p, c.text) for p, c in zip(canaries.PROMPTS, canaries.COMPLETIONS, strict=True)]
        groups = [[one] for one in ready] if alone else [ready]
        return np.concatenate([self._scores(group).reward for group in groups])

    def _first_reading(self, told: bool) -> Baseline:
        together = self._read_canaries()
        canaries.check_shape(together, self.scale, where=self.client.url, told=told)
        return Baseline.of(together, self._read_canaries(alone=True))

    def _check_canaries(self) -> None:
        drift = self._baseline.drift(self._read_canaries())
        if drift > self._baseline.tolerance:
            raise ScorerError(
                f"{self.client.url} has another model than when this run began: the same sentences now score "
                f"up to {drift:.3g} apart (at most {self._baseline.tolerance:.3g} is noise). What it said is "
                "not used. Serve the former model again, or start a new run, whose curve is a new segment"
            )
