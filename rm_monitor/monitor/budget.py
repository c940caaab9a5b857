"""A budget for evaluations: they may take a share of the training's time, and no more.

What does not fit is moved to the step at which it will, so that fewer evaluations are made, each of them with
all prompts (``docs/design/less-work.md`` says why not more of them with fewer). Clocks differ between
processes, so rank 0 decides and every rank obeys (`Ranks.broadcast`).
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Budget", "Spending"]

_REMEMBERED = 3  # whole evaluations; the dearest of them is what the next one is expected to cost


@dataclass(slots=True)
class Spending:
    """An evaluation that is going on.

    Attributes:
        whole: Whether all prompts were answered and scored; only such an evaluation tells what the next one
            will cost.
    """

    whole: bool = True


class Budget:
    """Says when an evaluation would cost more than its share, and when it will not.

    The first evaluation is free: nothing is known before it, and every curve needs its start. From then on an
    evaluation that costs as much as the dearest of the last three must fit:
    ``spent + cost <= max_overhead * training time``. One that turns out dearer than that is paid back before
    the next.

    Args:
        max_overhead: Share of the training's own time, above 0; None: no limit.
        clock: Where the seconds come from; monotonic, so that a clock that is set changes nothing.

    Raises:
        ValueError: If `max_overhead` is not above 0.

    Example:
        >>> now = 0.0
        >>> budget = Budget(0.1, clock=lambda: now)
        >>> with budget.spending(0):
        ...     now += 5                         # the first one, 5 s
        >>> now += 20                            # 20 s of training: 5 s more would be 25 %
        >>> budget.refusal()
        'over budget: with this one (5 s) evaluations would take 25 % of the training time, max_overhead=10 %'
        >>> budget.fits_at(40)                   # 40 steps took 20 s; 5 s fit after 50 s
        100
        >>> now += 30                            # 50 s of training: 5 s are 10 %
        >>> budget.refusal()
        ''
    """

    def __init__(
        self, max_overhead: float | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if max_overhead is not None and not max_overhead > 0:
            raise ValueError(
                f"`max_overhead` is a share of the training time, above 0 (None: no limit), got "
                f"{max_overhead}"
            )
        self.max_overhead = max_overhead
        self._clock = clock
        self._begin: tuple[float, int] | None = None  # end of the first evaluation, and its step
        self._spent = 0.0
        self._costs: deque[float] = deque(maxlen=_REMEMBERED)

    @contextmanager
    def spending(self, step: int) -> Iterator[Spending]:
        """Time the evaluation of a step."""
        began = self._clock()
        spending = Spending()
        try:
            yield spending
        finally:
            took = self._clock() - began
            if spending.whole:
                self._costs.append(took)
            if self._begin is None:
                self._begin = (self._clock(), step)
            else:
                self._spent += took

    def refusal(self) -> str:
        """Why an evaluation may not run now; empty if it may."""
        if self.max_overhead is None or self._begin is None:
            return ""
        training, cost = self._training(), self._after_next()
        if cost <= self.max_overhead * training:
            return ""
        share = f"{cost / training:.0%}".replace("%", " %") if training > 0 else "all"
        return (
            f"over budget: with this one ({self._expected():.3g} s) evaluations would take {share} of the "
            f"training time, "
            f"max_overhead={100 * self.max_overhead:.3g} %"
        )

    def fits_at(self, step: int) -> int | None:
        """The step after ``step`` at which an evaluation will fit at the present pace; None: unknown."""
        if self.max_overhead is None or self._begin is None:
            return None
        training, steps = self._training(), step - self._begin[1]
        if training <= 0 or steps <= 0:
            return None
        missing = self._after_next() / self.max_overhead - training
        return step + max(1, math.ceil(missing / training * steps - 1e-6))

    def _training(self) -> float:
        assert self._begin is not None
        return self._clock() - self._begin[0] - self._spent

    def _expected(self) -> float:
        return max(self._costs, default=0.0)

    def _after_next(self) -> float:
        return self._spent + self._expected()
