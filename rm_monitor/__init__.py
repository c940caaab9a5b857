"""Win-rate curves from a frozen reward model while you train.

See the README for three lines that start it; `rm_monitor.types` for the nouns.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from rm_monitor.text.escape import InertLog
from rm_monitor.types import (
    Alarm,
    Best,
    Completion,
    Estimate,
    EvalPoint,
    Generator,
    PreferenceScorer,
    Prompt,
    Sampling,
    Scorer,
    Sink,
    Verdict,
)

if TYPE_CHECKING:
    from rm_monitor.monitor.callback import RewardMonitorCallback
    from rm_monitor.monitor.config import MonitorConfig
    from rm_monitor.monitor.monitor import RewardMonitor
    from rm_monitor.monitor.schedule import Schedule
    from rm_monitor.prompts import load_prompts
    from rm_monitor.runs import load_run
    from rm_monitor.scorers import load_scorer

__all__ = [
    "Alarm",
    "Best",
    "Completion",
    "Estimate",
    "EvalPoint",
    "Generator",
    "MonitorConfig",
    "PreferenceScorer",
    "Prompt",
    "RewardMonitor",
    "RewardMonitorCallback",
    "Sampling",
    "Schedule",
    "Scorer",
    "Sink",
    "Verdict",
    "load_prompts",
    "load_run",
    "load_scorer",
]

__version__ = "0.1.0"

logging.getLogger("rm_monitor").addFilter(InertLog())

# Looked up on first use: importing rm_monitor must not pay for torch, transformers or wandb.
_LAZY = {
    "MonitorConfig": "rm_monitor.monitor.config",
    "RewardMonitor": "rm_monitor.monitor.monitor",
    "RewardMonitorCallback": "rm_monitor.monitor.callback",
    "Schedule": "rm_monitor.monitor.schedule",
    "load_prompts": "rm_monitor.prompts",
    "load_run": "rm_monitor.runs",
    "load_scorer": "rm_monitor.scorers",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value  # next time it is an ordinary attribute
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
