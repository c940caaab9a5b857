"""The nouns and the plug-in Protocols: the design in eight short files.

A *prompt* is answered by a *completion*. A *scorer* gives a completion a *reward*; a *preference
scorer* gives a pair a probability. A *reference set* holds one fixed completion a prompt. One
*evaluation* is a `Table` of per-completion values, summarised as an `EvalPoint`: every number in it is a
mean over prompts with an interval and its ``n``. The points are the *curve*, and a `Verdict` says
what the curve says now.

Values are frozen. Unknown is ``nan``, never 0. This module imports numpy and nothing of ours.
"""

from rm_monitor.types.abilities import (
    Cacheable,
    Calibrated,
    Composed,
    Counts,
    Describes,
    Identified,
    KnowsItsCost,
    LoadsCheckpoints,
    NeedsModel,
    Noisy,
    Remembers,
    Renders,
    Repeatable,
    ScoresAlone,
    Screened,
    Screens,
    ValueStore,
    Weighs,
    Wraps,
)
from rm_monitor.types.arrays import BoolArray, FloatArray
from rm_monitor.types.plugins import (
    ClosableSink,
    Generator,
    PreferenceScorer,
    Progress,
    Scorer,
    Sink,
    Update,
)
from rm_monitor.types.points import Estimate, EvalPoint, Status, Table
from rm_monitor.types.scores import Preferences, Scale, Scores
from rm_monitor.types.settings import Alarm, Sampling, Tolerance
from rm_monitor.types.texts import Completion, FinishReason, Message, Prompt, ReferenceSet
from rm_monitor.types.verdicts import Best, Signal, State, Verdict

__all__ = [
    "Alarm",
    "Best",
    "BoolArray",
    "Cacheable",
    "Calibrated",
    "ClosableSink",
    "Completion",
    "Composed",
    "Counts",
    "Describes",
    "Estimate",
    "EvalPoint",
    "FinishReason",
    "FloatArray",
    "Generator",
    "Identified",
    "KnowsItsCost",
    "LoadsCheckpoints",
    "Message",
    "NeedsModel",
    "Noisy",
    "PreferenceScorer",
    "Preferences",
    "Progress",
    "Prompt",
    "ReferenceSet",
    "Remembers",
    "Renders",
    "Repeatable",
    "Sampling",
    "Scale",
    "Scorer",
    "Scores",
    "ScoresAlone",
    "Screened",
    "Screens",
    "Signal",
    "Sink",
    "State",
    "Status",
    "Table",
    "Tolerance",
    "Update",
    "ValueStore",
    "Verdict",
    "Weighs",
    "Wraps",
]
