"""Answers to fresh prompts, kept so that a warning can be settled: `FreshAnswers`.

The prompts of a run have been looked at again and again, so what they suggest by chance comes back. Fresh
ones are answered at each new best, and again when a warning is raised: two sets of answers to prompts that
no choice was made on. No checkpoint has to be loaded, and a warning costs one more round of answers.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rm_monitor import files, stats
from rm_monitor.curve import tables
from rm_monitor.files.strict_json import dumps, loads
from rm_monitor.prompts import PromptSet
from rm_monitor.types import FloatArray, Signal, Verdict
from rm_monitor.verdict.alarm import Settled

__all__ = ["FreshAnswers", "check_fresh"]

log = logging.getLogger("rm_monitor")


def check_fresh(fresh: PromptSet, prompts: PromptSet) -> PromptSet:
    """The fresh prompts, if they are that.

    Raises:
        ValueError: If a prompt of the run is among them, or they are too few for any test.
    """
    asked = {p.text for p in prompts}
    seen = [p for p in fresh if p.text in asked]
    if seen:
        raise ValueError(
            f"`confirm_on_warn` takes prompts that the run is not judged on, but {len(seen)} of them are "
            f"among `prompts`, such as {seen[0].label}: hold some out"
        )
    if len(fresh) < stats.MIN_UNITS:
        raise ValueError(
            f"`confirm_on_warn` needs at least {stats.MIN_UNITS} prompts, better as many as `prompts` has, "
            f"got {len(fresh)}"
        )
    return fresh


class FreshAnswers:
    """Rewards of answers to fresh prompts, by step, and the warnings that were settled with them.

    Args:
        folder: ``<output_dir>/_rm_monitor``; kept in ``fresh.json`` there.
        prompts: The fresh prompts.
        temperature: Of the pool score.
        tolerance: A fall up to this is healthy, as a share.
    """

    def __init__(
        self, folder: Path, prompts: PromptSet, *, temperature: float = 1.0, tolerance: float = 0.0
    ) -> None:
        self.prompts = prompts
        self._path = folder / "fresh.json"
        self._temperature = temperature
        self._tolerance = tolerance
        self._rewards: dict[int, FloatArray] = {}
        self._levels: dict[int, tuple[int, float]] = {}  # warning -> (earlier step, level it had)
        self._segment = ""

    def begin(self, segment: str, steps: set[int]) -> None:
        """Go on with what an earlier process kept of these steps; other prompts or judges start anew."""
        self._segment = f"{segment}:{self.prompts.fingerprint}"
        self._rewards, self._levels = {}, {}
        try:
            kept = loads(self._path.read_text(encoding="utf-8"))
            if kept["segment"] != self._segment:
                return
            rewards = {int(step): np.array(x, dtype=np.float64) for step, x in kept["rewards"].items()}
            levels = {int(step): (int(a), float(level)) for step, (a, level) in kept["settled"].items()}
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            log.warning("rm_monitor: %s is damaged and left out: %s", self._path, problem)
            return
        self._rewards = {s: x for s, x in rewards.items() if s in steps and x.shape == (len(self.prompts),)}
        self._levels = {s: v for s, v in levels.items() if {s, v[0]} <= self._rewards.keys()}

    @property
    def settled(self) -> Mapping[int, Settled]:
        """Step of a warning -> what fresh prompts said of it."""
        return {
            step: Settled(against, self._retest(against, step, level))
            for step, (against, level) in self._levels.items()
        }

    def wanted(self, verdict: Verdict) -> bool:
        """Whether the weights as they stand should answer: a new best, or a warning to settle."""
        step = verdict.step
        if step is None or step in self._rewards:
            return False
        is_best = verdict.best is not None and verdict.best.step == step
        return is_best or (np.isfinite(verdict.fresh_level) and self._before(step) is not None)

    def enter(self, verdict: Verdict, rewards: FloatArray) -> None:
        """Keep the rewards of a step; settle its warning, if it raised one that may be settled."""
        step = verdict.step
        assert step is not None
        self._rewards[step] = np.asarray(rewards, dtype=np.float64)
        before = self._before(step, verdict)
        if np.isfinite(verdict.fresh_level) and before is not None:
            self._levels[step] = (before, float(verdict.fresh_level))
        self._write()

    def signal(self, step: int) -> Signal | None:
        """That fresh prompts did not confirm the warning of a step; None if they did, or were not asked."""
        if step not in self._levels:
            return None
        against, level = self._levels[step]
        found = self._retest(against, step, level)
        if found.confirmed:
            return None
        return Signal(
            name="not_confirmed",
            about="warning",
            step=step,
            against=(against,),
            change=found.drop,
            n=found.drop.n,
        )

    def _retest(self, against: int, step: int, level: float) -> stats.Retest:
        return stats.retest(
            self._rewards[against],
            self._rewards[step],
            level=level,
            temperature=self._temperature,
            tolerance=self._tolerance,
            clusters=tables.clusters(tuple(self.prompts)),
        )

    def _before(self, step: int, verdict: Verdict | None = None) -> int | None:
        """The earlier checkpoint that answered fresh prompts: the best of the run, else the latest."""
        earlier = sorted(s for s in self._rewards if s < step)
        if verdict is not None and verdict.best is not None and verdict.best.step in earlier:
            return verdict.best.step
        return earlier[-1] if earlier else None

    def _write(self) -> None:
        kept: dict[str, Any] = {
            "segment": self._segment,
            "rewards": self._rewards,
            "settled": self._levels,
        }
        files.replace(self._path, dumps(kept) + "\n")
