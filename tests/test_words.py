"""What a person reads is what the verdict says: every number in every sentence, and no word too many."""

import io
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rm_monitor import RewardMonitor, messages, stats
from rm_monitor.report.card import words_card
from rm_monitor.sinks.console import ConsoleSink
from rm_monitor.sinks.wandb.sink import _OfRun
from rm_monitor.types import Best, Estimate, EvalPoint, Signal, Update, Verdict
from rm_monitor.verdict.alarm import Memory, judge

N = 128
LEVELS = {
    "collapse, then recovered": [0.0, 0.3, 0.5, 0.6, 0.7, 0.7, -1.2, -1.2, 0.6, 0.65],
    "slow fall with a dip": [0.0, 0.4, 0.8, 1.0, 1.0, 1.0, 0.75, 0.65, 0.6, 0.5, 0.4, 0.3],
    "steady": [0.0, 0.5, 0.6, 0.7, 0.66, 0.65, 0.66],
}
JARGON = ("pool score", "paired", "cannot be told", "significant", " n 1", "overstated", "lc_win_prob", "p =")


def point(step, level):
    rng = np.random.default_rng(0)
    prompt, reference = rng.normal(size=N), rng.normal(size=N)
    noise = np.random.default_rng(step).normal(size=N)
    reward = level + prompt + noise - noise.mean()
    margin = reward - reference
    values = {"reward": reward, "win_prob": stats.win_probability(margin)}
    metrics = {"reward": stats.mean(reward), "win_prob": stats.win_prob(margin)}
    return EvalPoint(step=step, metrics=metrics, values=values, segment="a")


def told(levels):
    """The update of every evaluation of a run."""
    points, memory, found, before = [], Memory(), [], Verdict()
    for t, level in enumerate(levels):
        points.append(point(t, level))
        verdict = judge(points, metric="win_prob", memory=memory)
        verdict = replace(verdict, reason=messages.reason(verdict))
        best = verdict.best and replace(verdict.best, checkpoint="out/_rm_monitor/best")
        changed, before = verdict.state != before.state, verdict
        found.append(
            Update(
                point=points[-1],
                verdict=verdict,
                best=best,
                curve=tuple(points),
                metric="win_prob",
                changed=changed,
                output_dir="out/_rm_monitor",
            )
        )
    return found


@pytest.fixture(scope="module")
def runs():
    return {name: told(levels) for name, levels in LEVELS.items()}


@pytest.fixture(scope="module")
def every(runs):
    return [u for run in runs.values() for u in run]


def first(runs, name, **wanted):
    return next(u for u in runs[name] if all(getattr(u.verdict, k) == v for k, v in wanted.items()))


def numbers(text):
    return set(re.findall(r"\d+(?:\.\d+)?", text.replace("out/_rm_monitor/best", "")))


def fields(u):
    """Every number that an update may be told with, as a person reads it."""
    v, best = u.verdict, u.best
    known = {str(x) for x in (v.step, v.n, v.ended, v.looks, *v.against, *(s for s, _ in v.states))}
    known.add(str(sum(step > v.best.step for step, _ in v.states)))
    known |= {str(v.alarm_in), "1", "1.5", str(round(1 / v.false_alarms)), "10", str(len(best.tied))}
    shares = [v.value, v.change, v.gain, v.drop, best.value]
    shown = [x for e in shares if e is not None for x in e[:3]]
    shown += [stats.as_win_rate(v.jitter), stats.as_win_rate(v.visible_drop)]
    known |= {f"{abs(100 * x):.1f}" for x in shown if math.isfinite(x)}
    known.add(f"{math.ceil(1000 * best.earliest_cost - 1e-9) / 10:.1f}")
    return known


def said(u):
    v = u.verdict
    block = messages.alarm(u) if v.state in ("warned", "degraded", "recovered") else ""
    return f"{v.reason} {messages.todo(v, u.best)} {block}"


def test_the_runs_hold_every_state_that_is_spoken_of(every):
    seen = {u.verdict.state for u in every} | {"dip" for u in every if u.verdict.dip}
    assert seen >= {"degraded", "recovered", "steady", "improving", "undecided", "dip"}


def test_every_number_in_the_words_is_one_of_the_verdicts(every):
    for u in every:
        certain = {c for found in BOUND.finditer(said(u)) for c in numbers(found.group())}
        assert numbers(said(u)) - certain <= fields(u), said(u)


BOUND = re.compile(r"at least ([\d.]+) points? (?:is|are) certain(, counted)?")


@given(
    low=st.floats(-0.1, 0.6),
    size=st.floats(0.0, 0.6),
    half=st.floats(0.0, 0.2),
    metric=st.sampled_from(["win_prob", "reward"]),
)
def test_what_is_certain_is_no_more_than_each_bound_that_a_reader_may_take_it_for(low, size, half, metric):
    best = Best(step=1, value=Estimate(0.6, 0.5, 0.7, N))
    change = Estimate(-size, -size - half, half - size, N)
    drop = Estimate(max(low, 0.0) + 0.05, low, math.nan, N)
    v = Verdict(state="degraded", step=2, against=(1,), best=best, value=best.value, drop=drop, change=change)
    found = BOUND.search(messages.why(v, metric=metric))
    if found is None:
        assert low < 0.001
        return
    bound = float(found.group(1)) / 100
    assert 0 < bound <= low + 1e-9
    bears = [low] if found.group(2) else [low, -change.high]
    assert bound <= min(bears) + 1e-9
    assert min(bears) - bound < (0.01 if min(bears) >= 0.02 else 0.001) + 1e-9  # no more is given away


def test_at_an_alarm_there_is_the_line_and_the_block_and_nothing_else(runs):
    u = first(runs, "collapse, then recovered", state="degraded")
    louder = Signal(name="second_opinion", about="gold", step=6, against=(4,), drop=u.verdict.drop, n=N)
    screen = io.StringIO()
    ConsoleSink(screen).show(
        replace(u, news=(louder, Signal(name="length", before=9.0, now=2.0, against=(0,))))
    )
    line, *block = screen.getvalue().rstrip("\n").split("\n")
    assert line == messages.line(u)
    assert "\n".join(block) == messages.alarm(u)
    assert re.fullmatch(
        r"rm_monitor DEGRADED at step 6: a collapse, far worse than step 4: stop and look\.\n"
        r"  Win probability [\d.]+% -> [\d.]+%; at least \d+ points are certain\.\n"
        r"  1 in 20 healthy runs raises this once \(ups and downs of 1\.5 points included\)\.\n"
        r"  Best: step 4, out/_rm_monitor/best",
        messages.alarm(u),
    )


def test_the_alert_of_wandb_is_the_block(runs):
    class Run:
        id = "a"
        sent: list = []  # noqa: RUF012

        def alert(self, **what):
            self.sent.append(what)

    u = first(runs, "collapse, then recovered", state="degraded")
    _OfRun(Run(), log_best=False, link=None)._alerts(u)
    assert Run.sent == [
        {"title": "rm_monitor: degraded at step 6", "text": messages.alarm(u), "level": "WARN"}
    ]


def test_a_recovered_run_is_said_to_be_as_good_as_the_best_and_by_how_much_it_may_differ(runs):
    u = first(runs, "collapse, then recovered", state="recovered")
    v = u.verdict
    assert v.change.high >= 0
    assert messages.alarm(u).split("\n")[:2] == [
        f"rm_monitor RECOVERED at step {v.step}: as good as step {v.best.step}, the best, "
        f"as far as {N} prompts can tell.",
        f"  Win probability {100 * v.best.value.value:.1f}% -> {100 * v.value.value:.1f}%, a change between "
        f"−{-100 * v.change.low:.1f} and +{100 * v.change.high:.1f} points.",
    ]


def test_as_good_as_the_best_is_said_only_where_the_interval_of_the_change_reaches_0(every):
    spoken = [u for u in every if "as good as" in said(u)]
    assert spoken
    for u in spoken:
        assert u.verdict.change.high >= 0
        assert u.verdict.state in ("steady", "recovered")


def test_a_steady_run_says_for_how_long_there_was_no_new_best(runs):
    last = runs["steady"][-1]
    assert (last.verdict.state, last.verdict.best.step) == ("steady", 3)
    assert "No new best for 3 evaluations." in messages.why(last.verdict)
    assert "No new best" not in messages.why(runs["steady"][-2].verdict)


def test_a_dip_is_no_alarm_and_says_what_else_explains_it(runs):
    u = first(runs, "slow fall with a dip", dip=True)
    assert u.verdict.state == "undecided"
    assert messages.headline(u.verdict).startswith(f"A dip. Step {u.verdict.step} is lower than step ")
    jitter = 100 * stats.as_win_rate(u.verdict.jitter)
    assert f"by themselves, here by about {jitter:.1f} point" in messages.why(u.verdict)
    assert f"dip, best {u.verdict.best.step}" in messages.line(u)
    assert u.verdict.alarm_in in (1, 2, 3)
    assert "the same, it will be called degraded." in messages.why(u.verdict)
    assert not any("dip" in messages.line(o) for o in runs["steady"])


def test_a_dip_that_stays_is_called_degraded_when_that_was_said(runs):
    u = first(runs, "slow fall with a dip", dip=True)
    points = list(u.curve)
    for k in range(1, u.verdict.alarm_in + 1):
        points.append(replace(points[-1], step=points[-1].step + 1))
        state = judge(points, metric="win_prob").state
        assert (state == "degraded") == (k == u.verdict.alarm_in)


def test_the_page_says_the_claim_the_size_and_what_to_do_in_the_same_words(every):
    for u in every:
        html = words_card(u.verdict, u.best, "win_prob")
        plain = (
            re.sub(r"<[^>]+>", " ", html).replace("&gt;", ">").replace("&#x27;", "'").replace("&#39;", "'")
        )
        for text in (messages.why(u.verdict), messages.todo(u.verdict, u.best)):
            assert " ".join(text.split()) in " ".join(plain.split())


def test_ties_are_told_in_the_same_words_everywhere(every):
    for u in every:
        if u.verdict.looks < 2:
            continue
        words = messages.ties(u.best)
        assert words in messages.todo(u.verdict, u.best)
        assert words in messages.summary(u.curve, u.verdict, u.best, metric="win_prob", output_dir="out")


def test_nobody_needs_to_know_statistics(every):
    for u in every:
        text = f"{said(u)} {messages.line(u)}"
        assert not [word for word in JARGON if word in text]


@settings(max_examples=50)
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=9, unique=True), st.floats(0.0, 1.0))
def test_the_earliest_of_the_tied_is_named_with_no_less_than_it_may_cost(steps, cost):
    own, *tied = steps
    assume(tied)
    earliest = min(steps)
    best = Best(
        step=own,
        value=Estimate(0.6, 0.5, 0.7, N),
        tied=tuple(sorted(tied)),
        earliest=earliest,
        earliest_cost=cost,
    )
    words = messages.ties(best)
    assert str(min(tied)) in words
    assert str(max(tied)) in words
    found = re.search(r"costs at most ([\d.]+) points?", words)
    assert (found is None) == (earliest == own)
    if found is not None:
        assert cost - 1e-9 <= float(found.group(1)) / 100 <= cost + 0.001 + 1e-9


@pytest.mark.parametrize(("n", "horizon"), [(64, 40), (64, None), (3, 40)])
def test_a_run_begins_with_what_it_will_see(tmp_path, capsys, n, horizon):
    texts = [f"question {i}" for i in range(n)]
    monitor = RewardMonitor(
        lambda prompts, answers: [0.0] * len(answers),
        texts,
        references=texts,
        every=1,
        output_dir=tmp_path,
        report_to=[],
    )
    monitor.begin(horizon=horizon)
    line = capsys.readouterr().out.strip().split("\n")[1]
    if n < 10:
        assert line == "rm_monitor: 3 prompts: below 10 that stand alone no fall can be called"
        return
    plan = stats.plan(n, horizon or 20, jitter=stats.as_pool_score(0.007))
    about = "" if horizon else " or so"
    assert line == (
        f"rm_monitor: 64 prompts, {horizon or 20} evaluations{about}: a lasting fall of "
        f"{100 * stats.as_win_rate(plan.visible):.1f} points is seen 8 times in 10; "
        "1 in 20 healthy runs raises the alarm once (ups and downs of 1.5 points included)"
    )
    monitor.close()
