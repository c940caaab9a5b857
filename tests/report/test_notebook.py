"""Notebooks, with an IPython that is only a shape: one display, updated; values that show themselves."""

import sys
import types

import pytest

from rm_monitor.sinks import load_sinks
from rm_monitor.types import Estimate, EvalPoint, Update, Verdict
from tests.report.example import example


class Handle:
    def __init__(self, first):
        self.shown = [first]

    def update(self, html):
        self.shown.append(html)


@pytest.fixture
def ipython(monkeypatch):
    module, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    formats, handles = {}, []
    html = types.SimpleNamespace(for_type=formats.__setitem__)
    formatter = types.SimpleNamespace(formatters={"text/html": html})
    shell = types.SimpleNamespace(kernel=object(), display_formatter=formatter)
    module.get_ipython = lambda: shell

    def show(html, display_id):
        assert display_id is True
        handles.append(Handle(html))
        return handles[-1]

    display.HTML, display.display = str, show
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return types.SimpleNamespace(shell=shell, formats=formats, handles=handles)


def notebook_sinks():
    return [sink for sink in load_sinks() if type(sink).__name__ == "NotebookSink"]


def test_five_evaluations_are_one_card_that_changes(ipython):
    run = example(t=5, n=12, failed=(2,), partial=())
    (sink,) = notebook_sinks()
    for k in range(5):
        curve = run.curve[: k + 1]
        sink.show(Update(point=curve[-1], verdict=run.verdict, best=run.best, curve=curve, metric="win_prob"))
    (handle,) = ipython.handles
    assert len(handle.shown) == 5
    assert handle.shown[0] != handle.shown[-1]
    assert "<svg" in handle.shown[-1]


def test_outside_a_notebook_there_is_no_card(ipython):
    ipython.shell.kernel = None
    assert notebook_sinks() == []


def test_without_ipython_there_is_no_card(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert notebook_sinks() == []


def test_a_verdict_and_a_point_show_themselves_escaped(ipython):
    load_sinks()
    verdict = example(t=5, n=24, failed=(), partial=()).verdict
    assert "evaluation" in ipython.formats[Verdict](verdict) or "step" in ipython.formats[Verdict](verdict)
    point = EvalPoint(
        step=3, metrics={"win_prob": Estimate(0.5, 0.4, 0.6, 9), "<b>": Estimate(1.0, 0.5, 1.5, 9)}
    )
    html = ipython.formats[EvalPoint](point)
    assert "Step 3: 50.0% (40.0 to 60.0, 9 prompts)" in html
    assert "&lt;b&gt;" in html
    assert "<b>" not in html


def test_a_monitor_shows_its_card():
    from rm_monitor import RewardMonitor

    monitor = RewardMonitor(lambda prompts, completions: [0.0] * len(prompts), ["a", "b"], ["x", "y"])
    assert "Too early to say." in monitor._repr_html_()
