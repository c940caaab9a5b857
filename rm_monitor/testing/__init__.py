"""For those who test with rm_monitor: public fakes, the promises every plug-in keeps, tiny models.

::

    from rm_monitor.testing import check_scorer

    def test_my_scorer_keeps_its_promises():
        check_scorer(MyScorer())
"""

from rm_monitor.testing.fakes import ListSink, Says, TableScorer
from rm_monitor.testing.promises import (
    BrokenPromise,
    check_generator,
    check_preference_scorer,
    check_scorer,
    check_sink,
)
from rm_monitor.testing.stores import DictStore, check_store

__all__ = [
    "BrokenPromise",
    "DictStore",
    "ListSink",
    "Says",
    "TableScorer",
    "check_generator",
    "check_preference_scorer",
    "check_scorer",
    "check_sink",
    "check_store",
]
