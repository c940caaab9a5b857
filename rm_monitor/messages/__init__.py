"""Every sentence a person reads: console, alerts, page, notebook. One room, so that they agree.

Numbers: ``65.2%`` without a space; differences in *points* with a real minus; intervals as ``62.6 to
67.7``; n always. Present tense, no p, no "significant".
"""

from rm_monitor.messages.averaging import averaged
from rm_monitor.messages.block import alarm
from rm_monitor.messages.choice import confirmed, ties, todo
from rm_monitor.messages.console import line, news, opening, summary
from rm_monitor.messages.numbers import against_references, interval, is_share, label, number, points
from rm_monitor.messages.planning import foreseen
from rm_monitor.messages.signals import is_grave, is_loud, note, notice
from rm_monitor.messages.sparks import sparkline
from rm_monitor.messages.verdict import headline, reason, why

__all__ = [
    "against_references",
    "alarm",
    "averaged",
    "confirmed",
    "foreseen",
    "headline",
    "interval",
    "is_grave",
    "is_loud",
    "is_share",
    "label",
    "line",
    "news",
    "note",
    "notice",
    "number",
    "opening",
    "points",
    "reason",
    "sparkline",
    "summary",
    "ties",
    "todo",
    "why",
]
