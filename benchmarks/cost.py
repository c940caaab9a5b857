"""What the judging itself costs, late in a long run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks import simulation
from benchmarks.kept import Kept
from benchmarks.never_deaf import point
from benchmarks.rows import Row, average
from rm_monitor import stats
from rm_monitor.curve.curve import Curve
from rm_monitor.report.page import RunView, page
from rm_monitor.stats import Memory
from rm_monitor.types import Completion, EvalPoint, Prompt, ReferenceSet, Table, Verdict
from rm_monitor.verdict import judge

LATE, PROMPTS, WORDS, LOOKS = 2_000, 128, 80, 3


def cost(runs: int, kept: Kept) -> Iterator[Row]:
    """CPU-seconds of verdict, election and page at the 2,000th evaluation of 128 prompts."""
    late = LATE if runs >= 50 else 60
    spent = kept(f"cost: {late} evaluations", lambda: _spent(late))
    for what, seconds in spent.items():
        yield average(f"{what}, evaluation {late}", seconds)
    whole = np.sum([spent[what] for what in ("verdict", "election", "page")], axis=0)
    yield average(f"together, evaluation {late}", whole, most=0.3)


def _spent(late: int) -> dict[str, list[float]]:
    scores = simulation.rewards(simulation.flat(t=late + LOOKS), PROMPTS, np.random.default_rng(0))
    curve = [point(t, row) for t, row in enumerate(scores)]
    memory, election = Memory(), stats.Election()
    judge(curve[: late - 1], metric="win_prob", horizon=late + LOOKS, memory=memory)
    eligible = np.zeros(late - 1, dtype=np.bool_)
    eligible[[late // 2, late - 2]] = True
    election.choose(scores[: late - 1], eligible=eligible)
    spent: dict[str, list[float]] = {"verdict": [], "election": [], "page": []}
    for t in range(late, late + LOOKS):
        seen = curve[:t]

        def verdict(seen: list[EvalPoint] = seen) -> Verdict:
            return judge(seen, metric="win_prob", horizon=late + LOOKS, memory=memory)

        told = _timed(spent["verdict"], verdict)
        eligible = np.append(eligible, True)
        ties = np.array([p.metrics["win_prob"].value for p in seen])
        _timed(
            spent["election"], lambda e=eligible, n=t, x=ties: election.choose(scores[:n], eligible=e, ties=x)
        )
        view = _view(seen, told)
        _timed(spent["page"], lambda v=view: page(v))
    return spent


def _timed(spent: list[float], what: Callable[[], Any]) -> Any:
    start = time.process_time()
    found = what()
    spent.append(time.process_time() - start)
    return found


def _view(curve: list[EvalPoint], verdict: Verdict) -> RunView:
    """The page's run, with the answers of the best and the last evaluation beside each other."""
    asked = tuple(
        Prompt(id=f"p{i}", messages=({"role": "user", "content": f"question {i}?"},)) for i in range(PROMPTS)
    )
    answers = tuple(Completion(prompt_id=p.id, text="word " * WORDS, n_tokens=WORDS) for p in asked)
    best = verdict.best.step if verdict.best is not None else 0
    tables = {
        step: Table(
            prompt_ids=tuple(p.id for p in asked),
            completions=tuple((a,) for a in answers),
            values={name: x[:, None] for name, x in curve[step].values.items()},
        )
        for step in (best, curve[-1].step)
    }
    references = ReferenceSet(name="reference", completions=answers)
    return RunView(
        name="long",
        metric="win_prob",
        curve=Curve(curve),
        verdict=verdict,
        best=verdict.best,
        prompts=asked,
        references=references,
        tables=tables,
    )
