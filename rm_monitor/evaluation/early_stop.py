"""`early_stop="decisive"`: an evaluation ends when its question is decided and nothing hangs on the rest.

Prompts are answered in complete blocks of a fixed random order. The order knows nothing of lengths: the rows
that are done first are the short ones, and stopping on those would be biased. After each block a checkpoint
is compared, prompt by prompt, with the best one so far; what is looked at is an interval that holds at every
look (`rm_monitor.stats.repeated_levels`). ``docs/design/less-work.md`` says when, and why only then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rm_monitor import stats
from rm_monitor.curve import tables, text_metrics
from rm_monitor.types import Completion, FloatArray, Prompt, Table

__all__ = ["LOOKS", "Answers", "Duel", "Looks", "Rival"]

LOOKS = 4  # more would save prompts and cost more steps than those take (python -m benchmarks.early_stop)
FEWEST = 16  # prompts a look
_PURPOSE = 0x0E51  # apart from every other use of the run's seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """The best checkpoint so far, which this one is compared with.

    Attributes:
        step: Its step.
        metric: The headline metric.
        values: ``(n,)`` of that metric.
    """

    step: int
    metric: str
    values: FloatArray


@dataclass(frozen=True, slots=True)
class Looks:
    """The plan of an evaluation in blocks.

    Attributes:
        blocks: Rows of each block; all prompts together, those of one cluster never apart.
        levels: ``(k,)`` level of each look's interval; all hold together in 95 of 100 cases.

    Example:
        >>> prompts = [Prompt(id=str(i), messages=()) for i in range(64)]
        >>> looks = Looks.plan(prompts, seed=0)
        >>> [len(block) for block in looks.blocks], looks.blocks == Looks.plan(prompts, seed=0).blocks
        ([16, 16, 16, 16], True)
    """

    blocks: tuple[tuple[int, ...], ...]
    levels: FloatArray

    @classmethod
    def plan(
        cls, prompts: Sequence[Prompt], *, seed: int, rule: str = "decisive", looks: int = LOOKS
    ) -> Looks:
        """At most ``looks`` blocks of at least 16 prompts, the same for each evaluation of a run.

        Raises:
            ValueError: If there are too few prompts for two of them, or there is no such rule.
        """
        if rule != "decisive":
            raise ValueError(f"`early_stop` is 'decisive' or None (every evaluation is whole), got {rule!r}")
        n = len(prompts)
        if n < 2 * FEWEST:
            raise ValueError(
                f"`early_stop` looks after each block of at least {FEWEST} prompts, so it needs {2 * FEWEST} "
                f"prompts, got {n}; leave it None"
            )
        together: dict[str, list[int]] = {}
        for i, prompt in enumerate(prompts):
            together.setdefault(prompt.cluster or f"\0{prompt.id}", []).append(i)
        order = np.random.default_rng((seed, _PURPOSE)).permutation(len(together))
        units, count = list(together.values()), min(looks, n // FEWEST)
        blocks: list[list[int]] = [[] for _ in range(count)]
        done = 0
        for unit in order:
            blocks[done * count // n] += units[unit]
            done += len(units[unit])
        kept = tuple(tuple(sorted(block)) for block in blocks if block)
        return cls(kept, stats.repeated_levels(np.cumsum([len(block) for block in kept]).tolist()))

    def is_worse(self, look: int, values: FloatArray, rival: Rival, prompts: Sequence[Prompt]) -> bool:
        """Whether the checkpoint is decisively worse than the rival.

        Args:
            look: 0-based.
            values: ``(n,)`` of the headline metric, nan where not answered yet.
            rival: The best checkpoint so far.
            prompts: ``n`` prompts.
        """
        change = stats.paired_change(
            rival.values, values, level=float(self.levels[look]), clusters=tables.clusters(prompts)
        )
        return change.n >= stats.MIN_UNITS and change.high < 0


class Answers:
    """What has been answered and scored so far; the rest is unknown.

    Args:
        prompts: ``n`` prompts.
        samples: Completions of each.
    """

    def __init__(self, prompts: Sequence[Prompt], samples: int) -> None:
        self._prompts = tuple(prompts)
        self._samples = samples
        self._rows: dict[int, Sequence[Completion]] = {}
        self._values: dict[str, FloatArray] = {}

    @property
    def n(self) -> int:
        """Prompts answered."""
        return len(self._rows)

    @property
    def tokens(self) -> int:
        """Tokens generated."""
        return sum(max(c.n_tokens, 0) for row in self._rows.values() for c in row)

    def add(
        self,
        rows: Sequence[int],
        completions: Sequence[Sequence[Completion]],
        values: Mapping[str, FloatArray],
    ) -> None:
        """Take a block: ``m`` rows, their completions, and metric -> ``(m, k)``."""
        self._rows.update(zip(rows, completions, strict=True))
        self._scatter(rows, values)

    def per_prompt(self, metric: str) -> FloatArray:
        """``(n,)`` of a metric, nan where not answered."""
        return tables.per_prompt(self.table())[metric]

    def table(self) -> Table:
        """All of it; a prompt that was not asked has empty texts and no value at all."""
        done = sorted(self._rows)
        self._scatter(done, text_metrics.of_texts([self._rows[i] for i in done]))
        return Table(
            prompt_ids=tuple(prompt.id for prompt in self._prompts),
            completions=tuple(tuple(self._rows.get(i, self._none(i))) for i in range(len(self._prompts))),
            values={name: x.copy() for name, x in self._values.items() if not np.isnan(x).all()},
        )

    def _scatter(self, rows: Sequence[int], values: Mapping[str, FloatArray]) -> None:
        for name, x in values.items():
            whole = self._values.setdefault(name, np.full((len(self._prompts), self._samples), np.nan))
            whole[list(rows)] = x

    def _none(self, i: int) -> list[Completion]:
        return [Completion(prompt_id=self._prompts[i].id, text="", sample=j) for j in range(self._samples)]


@dataclass(frozen=True, slots=True)
class Duel:
    """An evaluation that ends when the rival has won, or when all prompts are answered."""

    looks: Looks
    rival: Rival

    def run(
        self,
        prompts: Sequence[Prompt],
        samples: int,
        answer: Callable[[Sequence[int]], Sequence[Sequence[Completion]]],
        score: Callable[[Sequence[int], Sequence[Sequence[Completion]]], Mapping[str, FloatArray]],
    ) -> tuple[Answers, float, str]:
        """Answer and score block by block.

        Args:
            prompts: ``n`` prompts.
            samples: Completions of each.
            answer: Rows -> their completions.
            score: The same and metric -> ``(m, k)``.

        Returns:
            What was answered, the level of its intervals, and why it ended; empty if all was answered.
        """
        answers, level = Answers(prompts, samples), math.nan
        for look, rows in enumerate(self.looks.blocks):
            completions = answer(rows)
            answers.add(rows, completions, score(rows, completions))
            level, values = float(self.looks.levels[look]), answers.per_prompt(self.rival.metric)
            if answers.n < len(prompts) and self.looks.is_worse(look, values, self.rival, prompts):
                said = f"{answers.n} of {len(prompts)} prompts showed that it is worse than step"
                return answers, level, f"{said} {self.rival.step} (early_stop)"
        return answers, level, ""
