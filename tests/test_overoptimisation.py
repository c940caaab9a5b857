"""A second judge that falls while the first rises is called out, and chance rarely is."""

from dataclasses import replace

import numpy as np
import pytest

from rm_monitor import Completion, RewardMonitor, messages
from rm_monitor.sinks.console import ConsoleSink
from rm_monitor.sinks.row import row
from rm_monitor.types import Estimate, EvalPoint, Scores
from rm_monitor.verdict.alarm import judge
from rm_monitor.verdict.signals.overoptimisation import second_judges, second_opinions
from tests.helpers import Keeps
from tests.wandb_file import history, records

N = 128


def curve(primary, gold, *, n=N, seed=0, spread=0.9):
    """A run with known true levels of two judges, who share what makes a prompt easy."""
    rng = np.random.default_rng(seed)
    easy = rng.normal(0, 1.6, n)
    points = []
    for step, (a, b) in enumerate(zip(primary, gold, strict=True)):
        values = {}
        for prefix, level in (("", a), ("gold/", b)):
            margin = level + easy + rng.normal(0, spread, n)
            values |= {
                f"{prefix}reward": margin,
                f"{prefix}win_rate": (margin > 0).astype(float),
                f"{prefix}win_prob": 1 / (1 + np.exp(-margin)),
            }
        metrics = {k: Estimate(float(x.mean()), np.nan, np.nan, n) for k, x in values.items()}
        points.append(EvalPoint(step=100 * step, metrics=metrics, values=values))
    return points


def signals(points, **more):
    return second_opinions(points, metric="win_prob", horizon=len(points), temperature=1.0, **more)


RISING = np.linspace(0, 1.5, 12)
FALLING = np.concatenate([np.linspace(0, 0.8, 5), np.linspace(0.8, -0.8, 7)])


def test_the_judge_rises_and_gold_falls_is_a_divergence_with_its_bound_first():
    points = curve(RISING, FALLING)
    (found,) = signals(points)
    assert (found.name, found.about, found.step) == ("divergence", "gold", 1100)
    assert found.judge.low > 0
    assert found.change.high < 0
    assert 0 < found.drop.low < found.drop.value
    said = messages.note(found)
    assert said.startswith("Divergence. The win probability rose ")
    assert said.index("at least") < said.index("probably less")
    assert "About 5 in 100" in said


def test_the_headline_does_not_say_that_all_is_well_when_gold_disagrees():
    points = curve(RISING, FALLING)
    verdict = judge(points, metric="win_prob", horizon=12)
    assert verdict.state == "improving"
    assert messages.headline(verdict).startswith("No degradation seen.")
    told = replace(verdict, signals=tuple(signals(points)))
    assert messages.headline(told).startswith("The judge sees no degradation, but gold does.")
    assert "Divergence." in messages.reason(told)


def test_gold_falls_and_the_judge_stands_still_is_a_second_opinion():
    (found,) = signals(curve(np.zeros(12), FALLING))
    assert found.name == "second_opinion"
    assert "The win probability did not fall with it (" in messages.note(found)


def test_both_fall_is_no_divergence():
    (found,) = signals(curve(FALLING, FALLING))
    assert found.name == "second_opinion"
    assert found.judge.high < 0
    assert messages.note(found).startswith("A second opinion agrees: gold sees answers at step 1100 worse")


def test_both_rise_says_nothing():
    assert signals(curve(RISING, RISING)) == []


def test_it_is_a_function_of_the_curve_however_it_was_come_by():
    points, memories = curve(RISING, FALLING), {}
    grown = [signals(points[: i + 1], memories=memories) for i in range(1, len(points))]
    again = second_opinions(points, metric="win_prob", horizon=12, temperature=1.0)
    once = second_opinions(points, metric="win_prob", horizon=12, temperature=1.0, memories=memories)
    assert [str(s) for s in again] == [str(s) for s in once]
    assert len(grown[0]) == 0


def test_points_of_another_segment_are_no_evidence():
    points = curve(RISING, FALLING)
    moved = [*points[:-1], replace(points[-1], segment="other")]
    assert signals(moved) == []


def test_a_run_without_a_second_judge_has_no_second_opinion():
    names = ["win_rate", "reward", "win_rate/sft", "attribute/helpful"]
    assert second_judges(names) == []
    plain = [
        EvalPoint(step=p.step, values={k: v for k, v in p.values.items() if "/" not in k})
        for p in curve(RISING, FALLING)
    ]
    assert signals(plain) == []


def test_two_second_judges_share_one_false_alarm_rate():
    points = curve(RISING, FALLING)
    for p in points:
        p.values["other/reward"] = p.values["reward"]
        p.values["other/win_rate"] = p.values["win_rate"]
    (found,) = signals(points)
    assert found.about == "gold"
    assert found.false_alarms == pytest.approx(0.025)


class Scripted:
    """A policy whose answers are numbers: what the judge and the gold scorer will say of them."""

    def __init__(self, points):
        self.points, self.at = points, 0

    def generate(self, prompts, sampling, **_):
        values = self.points[self.at].values
        self.at += 1
        return [
            Completion(prompt_id=p.id, text=f"{values['reward'][i]} {values['gold/reward'][i]}", n_tokens=9)
            for i, p in enumerate(prompts)
        ]


class Reads:
    """Scores the column of the text that it is told to."""

    scale = "logit"

    def __init__(self, column):
        self.column, self.fingerprint = column, f"reads-{column}"

    def score(self, prompts, completions):
        return Scores(reward=np.array([float((c.text.split() or ["nan"])[self.column]) for c in completions]))


@pytest.fixture
def scripted_run(tmp_path, capsys):
    """A whole run from known scores: the judge rises, gold rises and then falls."""
    points, keeps = curve(RISING, FALLING), Keeps()
    monitor = RewardMonitor(
        {"judge": Reads(0), "gold": Reads(1)},
        [f"prompt {i}" for i in range(N)],
        references=["0 0"] * N,
        every=100,
        output_dir=tmp_path,
        report_to=[keeps, ConsoleSink()],
        generator=Scripted(points),
        alarm={"horizon": 12},
    )
    for p in points:
        monitor.evaluate(step=p.step)
    return monitor, keeps, capsys.readouterr().out


def test_a_run_whose_gold_scorer_falls_while_the_judge_rises_says_so_everywhere(scripted_run):
    monitor, keeps, printed = scripted_run
    verdict = monitor.verdict
    assert verdict.state == "improving"
    assert "divergence" in verdict.flags
    assert verdict.reason.startswith("The judge sees no degradation, but gold does.")
    assert "Divergence. The win probability rose" in verdict.reason
    told = [s for u in keeps.updates for s in u.news if s.name == "divergence"]
    assert len(told) == 1, "it is news once"
    assert printed.count(": Divergence. The win probability rose") >= 1
    assert "gold sees answers" in printed
    assert [row(u)["rm_monitor/divergence"] for u in keeps.updates][0::11] == [0.0, 1.0]
    assert "gold/win_prob" in keeps.updates[-1].point.metrics
    assert keeps.updates[-1].point.metrics["gold/disagreement"].value > 0.2
    monitor.close()


def test_a_resumed_run_sees_the_divergence_again_and_does_not_repeat_the_news(scripted_run, tmp_path):
    monitor, keeps, _ = scripted_run
    monitor.close()
    before = len(keeps.updates)
    again = RewardMonitor(
        {"judge": Reads(0), "gold": Reads(1)},
        [f"prompt {i}" for i in range(N)],
        references=["0 0"] * N,
        every=100,
        output_dir=tmp_path,
        report_to=[keeps],
        generator=Scripted(curve(RISING, FALLING)),
        alarm={"horizon": 12},
    )
    again.begin(resume_step=1100)
    assert again.verdict.flags == monitor.verdict.flags
    assert again.verdict.reason == monitor.verdict.reason
    again.evaluate(step=1200)
    assert not [s for u in keeps.updates[before:] for s in u.news if s.name == "divergence"]
    again.close()


def test_wandb_gets_the_second_curve_in_sight_a_flag_and_alerts(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = wandb.init(project="p", dir=str(tmp_path))
    alerts = []
    monkeypatch.setattr(type(run), "alert", lambda self, title, text, level: alerts.append((title, text)))
    points = curve(RISING, FALLING)
    monitor = RewardMonitor(
        {"judge": Reads(0), "gold": Reads(1)},
        [f"prompt {i}" for i in range(N)],
        references=["0 0"] * N,
        every=100,
        output_dir=tmp_path / "out",
        report_to="wandb",
        generator=Scripted(points),
        alarm={"horizon": 12},
    )
    for p in points:
        monitor.evaluate(step=p.step)
    monitor.close()
    run.finish()
    wandb.teardown()  # the file is whole only now
    (path,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    seen = [row["rm_monitor/divergence"] for row in history(path) if "rm_monitor/divergence" in row]
    assert len(seen) == 12
    assert sorted(set(seen)) == [0, 1]
    hidden = {
        r.metric.name: r.metric.options.hidden
        for r in records(path)
        if r.WhichOneof("record_type") == "metric"
    }
    assert not hidden["rm_monitor/divergence"]
    assert not hidden["rm_monitor/gold/win_prob"]
    assert hidden["rm_monitor/gold/win_prob_low"]
    (first, _), (title, text) = alerts
    assert first.startswith("rm_monitor: second opinion at step "), "before the judge has risen for sure"
    assert title.startswith("rm_monitor: divergence at step ")
    assert text.startswith("Divergence. The win probability rose")
