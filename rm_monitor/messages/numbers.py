"""Numbers as a person reads them: ``65.2%``, differences in *points*, a real minus, n always."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rm_monitor.curve import metrics
from rm_monitor.curve.metrics import label
from rm_monitor.types import Estimate

__all__ = [
    "against_references",
    "at_steps",
    "between",
    "interval",
    "is_share",
    "label",
    "number",
    "points",
    "prompts",
    "signed",
]


def is_share(metric: str) -> bool:
    """Whether a metric is shown in percent.

    Example:
        >>> is_share("overflow"), is_share("gold/win_prob/sft"), is_share("reward")
        (True, True, False)
    """
    return metrics.find(metric).is_share


def against_references(metric: str) -> bool:
    """Whether a half means: as good as the references.

    Example:
        >>> against_references("gold/win_prob@code"), against_references("truncated")
        (True, False)
    """
    return metrics.find(metric).even_at_half


def number(value: float, metric: str = "win_prob") -> str:
    """A value of a metric.

    Example:
        >>> number(0.652), number(-1.25, "reward"), number(float("nan"))
        ('65.2%', '−1.25', 'unknown')
    """
    if not math.isfinite(value):
        return "unknown"
    return f"{100 * value:.1f}%" if is_share(metric) else _minus(f"{value:.2f}")


def points(difference: float, metric: str = "win_prob") -> str:
    """The size of a difference, without its sign: in points for shares.

    Example:
        >>> points(-0.059), points(0.01), points(0.5, "reward")
        ('5.9 points', '1.0 point', '0.50')
    """
    if not is_share(metric):
        return f"{abs(difference):.2f}"
    text = f"{abs(100 * difference):.1f}"
    return f"{text} point" if text == "1.0" else f"{text} points"


def interval(e: Estimate, metric: str = "win_prob", *, n: bool = True) -> str:
    """An interval, and how many prompts are behind it.

    Example:
        >>> interval(Estimate(0.65, 0.616, 0.687, 256))
        '61.6 to 68.7, 256 prompts'
        >>> interval(Estimate(0.5, math.nan, math.nan, 256))  # its answers are the references
        'by definition, 256 prompts'
    """
    low, high = (100 * e.low, 100 * e.high) if is_share(metric) else (e.low, e.high)
    digits = 1 if is_share(metric) else 2
    if math.isfinite(low):
        text = _minus(f"{low:.{digits}f} to {high:.{digits}f}")
    else:  # an estimate against references always has an interval
        defined = e.value == 0.5 and e.n > 0 and against_references(metric)
        text = "by definition" if defined else "interval unknown"
    return f"{text}, {prompts(e.n)}" if n else text


def prompts(n: int) -> str:
    """How many prompts.

    Example:
        >>> prompts(1), prompts(96)
        ('1 prompt', '96 prompts')
    """
    return f"{n} prompt{'' if n == 1 else 's'}"


def signed(value: float, metric: str = "win_prob") -> str:
    """A change with its sign, a real minus, and no minus zero.

    Example:
        >>> signed(-0.18), signed(0.005), signed(-0.0001), signed(1.5, "reward")
        ('−18.0', '+0.5', '0.0', '+1.50')
    """
    if not math.isfinite(value):
        return "unknown"
    size, digits = (100 * value, 1) if is_share(metric) else (value, 2)
    size = round(size, digits)
    return f"{size:+.{digits}f}".replace("-", "−") if size else f"{0:.{digits}f}"


def between(e: Estimate, metric: str = "win_prob") -> str:
    """The interval of a change, with its unit.

    Example:
        >>> between(Estimate(-0.01, -0.04, 0.022, 256))
        'between −4.0 and +2.2 points'
    """
    unit = " points" if is_share(metric) else ""
    return f"between {signed(e.low, metric)} and {signed(e.high, metric)}{unit}"


def _minus(text: str) -> str:
    text = text.replace("-", "−")
    return text.replace("−0.00", "0.00").replace("−0.0 ", "0.0 ")


def at_steps(steps: Sequence[int]) -> str:
    """One step, or a window of them."""
    if len(steps) == 1:
        return f"step {steps[0]}"
    return f"steps {steps[0]} to {steps[-1]} on average"
