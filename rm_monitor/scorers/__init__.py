"""Reward models: whatever a user brings -> one number a completion, or one probability a pair.

`load_scorer` is the door; `detect` tells the kinds apart without running any code of theirs.

::

    load  detect  checkpoint  options  describe     what it is, what the user said of it, what was found
    reads                                           which options are read where; no other is swallowed
    families/   one published kind a file           put together from
    text/       conversation -> ids                 heads/   numbers -> reward      run/   ids -> numbers
    function  loaded                                what the user made or loaded themselves
    remote/   judge/                                behind a server; judging language models, here or there
    ensemble                                        several of these as one
    cached                                          any of them, each answer scored once
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rm_monitor.scorers.load import load_scorer

if TYPE_CHECKING:
    from rm_monitor.scorers.describe import Description
    from rm_monitor.scorers.ensemble import Ensemble
    from rm_monitor.scorers.judge import LLMJudge
    from rm_monitor.scorers.remote import RemoteScorer
    from rm_monitor.scorers.run.pointwise import PointwiseScorer

__all__ = ["Description", "Ensemble", "LLMJudge", "PointwiseScorer", "RemoteScorer", "load_scorer"]

_LAZY = {
    "Description": "rm_monitor.scorers.describe",
    "Ensemble": "rm_monitor.scorers.ensemble",
    "LLMJudge": "rm_monitor.scorers.judge",
    "PointwiseScorer": "rm_monitor.scorers.run.pointwise",
    "RemoteScorer": "rm_monitor.scorers.remote",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
