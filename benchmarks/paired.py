"""One protocol for every ratio: paired, rotated order, CPU time of one thread, medians with range."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any


def cpu(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of this process, and what the work gave."""
    began = time.process_time()
    result = work()
    return time.process_time() - began, result


def rotated(names: list[str], turn: int) -> list[str]:
    """The order of one round: every variant is first in some round."""
    turn %= len(names)
    return names[turn:] + names[:turn]


def ratio(of: list[float], to: list[float]) -> str:
    """Median of the rounds' own ratios, with their range."""
    each = [a / b for a, b in zip(of, to, strict=True)]
    if len(each) == 1:
        return f"{each[0]:.2f}"
    return f"{statistics.median(each):.2f} [{min(each):.2f}, {max(each):.2f}]"


def machine() -> str:
    """Where and with what this was measured."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "numpy"))
    return f"{model}, one thread; Python {platform.python_version()}, {packages}"


def table(rows: Mapping[str, Mapping[str, str]]) -> str:
    """A Markdown table: one row a variant."""
    columns = list(next(iter(rows.values())))
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(row[c] for c in columns) + " |" for name, row in rows.items()]
    return "\n".join(lines)
