"""Reward models: whatever a user brings -> one number a completion, or one probability a pair.

`load_scorer` is the door; `detect` tells the kinds apart without running any code of theirs.

::

    load  detect  checkpoint  options  describe     what it is, what the user said of it, what was found
    families/   one published kind a file           put together from
    text/       conversation -> ids                 heads/   numbers -> reward      run/   ids -> numbers
    function  loaded                                what the user made or loaded themselves
    cached                                          any of them, each answer scored once
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rm_monitor.scorers.load import load_scorer

if TYPE_CHECKING:
    from rm_monitor.scorers.describe import Description
    from rm_monitor.scorers.run.pointwise import PointwiseScorer

__all__ = ["Description", "PointwiseScorer", "load_scorer"]

_LAZY = {
    "Description": "rm_monitor.scorers.describe",
    "PointwiseScorer": "rm_monitor.scorers.run.pointwise",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
