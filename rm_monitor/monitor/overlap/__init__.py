"""Evaluations in a second process, while training goes on: ``RewardMonitor(..., overlap=True)``.

The weights are copied where they are due (`slot`), a second process (`serve`) answers and scores with the
copy, and what it found comes back in order of step (`queue`). Why it is built so: ``docs/design/overlap.md``.
"""

from __future__ import annotations

from rm_monitor.monitor.overlap.queue import Late, Overlap
from rm_monitor.monitor.overlap.recipe import Recipe

__all__ = ["Late", "Overlap", "Recipe"]
