"""A budget for evaluations: they may take a share of the training's time, and no more.

Clocks differ between processes, so rank 0 decides and every rank obeys (`Ranks.broadcast`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Budget"]


class Budget:
    """Says when an evaluation would cost more than its share.

    The first evaluation is free: nothing is known before it, and every curve needs its start. From then on an
    evaluation that costs as much as the last one must fit: ``spent + last <= max_overhead * training time``.

    Args:
        max_overhead: Share of the training's own time, above 0; None: no limit.
        clock: Where the seconds come from; monotonic, so that a clock that is set changes nothing.

    Raises:
        ValueError: If `max_overhead` is not above 0.

    Example:
        >>> now = 0.0
        >>> budget = Budget(0.1, clock=lambda: now)
        >>> with budget.spending():
        ...     now += 5                         # the first one, 5 s
        >>> now += 20                            # 20 s of training: 5 s more would be 25 %
        >>> budget.refusal()
        'over budget: with this one (5 s) evaluations would take 25 % of the training time, max_overhead=10 %'
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
        self._begin: float | None = None  # end of the first evaluation
        self._spent = 0.0
        self._last = 0.0

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Time an evaluation."""
        began = self._clock()
        try:
            yield
        finally:
            self._last = self._clock() - began
            if self._begin is None:
                self._begin = self._clock()
            else:
                self._spent += self._last

    def refusal(self) -> str:
        """Why an evaluation may not run now; empty if it may."""
        if self.max_overhead is None or self._begin is None:
            return ""
        training = self._clock() - self._begin - self._spent
        cost = self._spent + self._last
        if cost <= self.max_overhead * training:
            return ""
        share = f"{cost / training:.0%}".replace("%", " %") if training > 0 else "all"
        return (
            f"over budget: with this one ({self._last:.3g} s) evaluations would take {share} of the "
            f"training time, "
            f"max_overhead={100 * self.max_overhead:.3g} %"
        )
