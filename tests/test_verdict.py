"""What the curve says, state by state."""

from dataclasses import replace

import numpy as np
import pytest

from rm_monitor import stats
from rm_monitor.types import Alarm, EvalPoint
from rm_monitor.verdict.alarm import Memory, Settled, judge

RNG = np.random.default_rng(0)
N = 200
PROMPT = RNG.normal(size=N)
REFERENCE = RNG.normal(size=N)


def point(step, level, *, n=N, seed=None, **changes):
    rng = np.random.default_rng(step if seed is None else seed)
    noise = rng.normal(size=n)
    reward = (
        level + PROMPT[:n] + noise - noise.mean()
    )  # centred, so that the order of the levels is that of the means
    margin = reward - REFERENCE[:n]
    values = {
        "reward": reward,
        "win_prob": stats.win_probability(margin),
        "win_rate": stats.outcome(margin),
    }
    metrics = {name: stats.mean(x) for name, x in values.items()}
    return replace(EvalPoint(step=step, metrics=metrics, values=values, segment="a"), **changes)


def curve(*levels, **changes):
    return [point(100 * t, level, **changes) for t, level in enumerate(levels)]


def verdicts(points, **rules):
    """The verdict after each evaluation."""
    memory = Memory()
    return [judge(points[: t + 1], metric="win_prob", memory=memory, **rules) for t in range(len(points))]


def states(points, **rules):
    return [v.state for v in verdicts(points, **rules)]


def test_nothing_yet_is_undecided():
    verdict = judge([], metric="win_prob")
    assert (verdict.state, verdict.step, verdict.looks) == ("undecided", None, 0)


def test_one_evaluation_is_undecided_and_the_best_of_itself():
    verdict = judge(curve(0), metric="win_prob")
    assert (verdict.state, verdict.step, verdict.looks) == ("undecided", 0, 1)
    assert verdict.best.step == 0
    assert np.isnan(verdict.p)


def test_a_rising_curve_improves():
    assert states(curve(0, 0.5, 1, 1.5), horizon=4) == ["undecided", "improving", "improving", "improving"]


def test_a_point_that_is_not_the_best_but_not_measurably_worse_is_steady():
    points = [*curve(0, 1, 1.5), point(300, 1.4)]
    verdict = judge(points, metric="win_prob", horizon=4)
    assert verdict.state == "steady"
    assert verdict.best.step == 200
    assert verdict.drop is None
    assert verdict.against == ()


def test_a_fall_is_degraded_and_the_bound_that_fired_is_named():
    verdict = judge(curve(0, 1, 1.2, 1, -1), metric="win_prob", horizon=5)
    assert verdict.state == "degraded"
    assert (verdict.step, verdict.since, verdict.consecutive, verdict.ended) == (400, 400, 1, None)
    assert set(verdict.against) <= {100, 200, 300}
    assert 0 < verdict.drop.low < verdict.drop.value
    assert np.isnan(verdict.drop.high)
    assert verdict.false_alarms == 0.05
    assert verdict.p <= 0.05
    assert verdict.change.high < 0 < verdict.visible_drop
    assert verdict.best.step == 200
    assert verdict.n == N


def test_the_look_named_is_the_one_of_the_statistics():
    points = curve(0, 1, 1.2, 1, -1)
    verdict = judge(points, metric="win_prob", horizon=5, seed=3)
    look = stats.degradation(np.stack([p.values["reward"] for p in points]), horizon=5, seed=3)[-1]
    assert verdict.against == tuple(100 * i for i in look.against)
    assert (verdict.drop.value, verdict.drop.low, verdict.p) == (look.drop, look.low, look.p)


def test_a_smaller_fall_warns_at_the_lenient_rate():
    judged = [
        judge([*curve(0, 1, 1), point(300, level)], metric="win_prob", horizon=4) for level in (0.9, 0.45, 0)
    ]
    assert [v.state for v in judged] == ["steady", "warned", "degraded"]
    warned = judged[1]
    assert warned.false_alarms == 0.20
    assert warned.p > 0.05
    assert warned.drop.low > 0
    assert (warned.since, warned.consecutive) == (300, 0)


def test_degraded_lasts_until_the_fall_is_no_longer_seen_and_then_is_recovered():
    points = curve(0, 1, 1.2, -1, -1, 1.1, 1.1, 1.1, 3)
    judged = verdicts(points, horizon=9)
    assert [v.state for v in judged][3:5] == ["degraded", "degraded"]
    assert [v.consecutive for v in judged][3:5] == [1, 2]
    assert {v.since for v in judged if v.state == "degraded"} == {300}
    ended = next(v for v in judged if v.state == "recovered")
    assert ended.ended == ended.step >= 500
    assert all(v.ended == ended.step for v in judged if v.step > ended.step)
    assert judged[-1].state == "improving"


def test_a_new_best_ends_degraded_at_once():
    judged = verdicts(curve(0, 1, -1, 3), horizon=4)
    assert [v.state for v in judged][2:] == ["degraded", "recovered"]


def test_the_same_answers_again_are_level_and_no_new_best():
    first, better = point(0, 0.0, seed=1), point(10, 1.0, seed=2)
    again = [replace(better, step=step) for step in (20, 30)]
    assert states([first, better, *again])[1:] == ["improving", "steady", "steady"]
    assert judge([first, better, *again], metric="win_rate").best.step == 10


def test_recovered_stays_until_a_new_best():
    judged = states(curve(0, 1, -1, 3, 2.9, 2.95, 4), horizon=7)
    assert judged[3:] == ["recovered", "recovered", "recovered", "improving"]


def test_failed_evaluations_are_a_gap_that_says_unknown_and_is_forgotten():
    points = curve(0, 1, 1.2, 1)
    broken = [*points[:3], EvalPoint(step=250, status="failed", reason="boom", segment="a"), points[3]]
    judged = verdicts(broken, horizon=5)
    assert (judged[3].state, judged[3].failed, judged[3].step) == ("unknown", 1, 200)
    assert judged[3].best.step == 200
    assert judged[4] == replace(verdicts(points, horizon=5)[-1])


def test_a_run_that_only_fails_is_unknown():
    points = [EvalPoint(step=s, status="failed", segment="a") for s in (0, 100)]
    assert states(points) == ["unknown", "unknown"]
    assert judge(points, metric="win_prob").failed == 2


def test_a_failure_does_not_break_the_count_of_alarms():
    points = curve(0, 1, 1, -2)
    points += [EvalPoint(step=350, status="failed", segment="a"), point(400, -2)]
    assert verdicts(points, horizon=6)[-1].consecutive == 2


def test_a_partial_point_raises_no_alarm_and_is_no_best():
    low, high = point(200, -9, status="partial"), point(300, 9, status="partial")
    judged = verdicts([*curve(0, 1), low, high], horizon=4)
    assert [v.state for v in judged][1:] == ["improving"] * 3
    assert judged[-1].best.step == 100
    assert judged[-1].step == 100


def test_only_the_latest_segment_is_judged():
    points = [*curve(0, 3), point(200, 0, segment="b"), point(300, 0.1, segment="b")]
    verdict = judge(points, metric="win_prob", horizon=4)
    assert verdict.state != "degraded"
    assert verdict.looks == 2
    assert verdict.best.step in (200, 300)


def test_evaluations_of_another_number_of_prompts_are_not_compared():
    points = [point(0, 3, n=150), point(100, 3, n=150), *(point(s, 0.1 * s / 100) for s in (200, 300))]
    verdict = judge(points, metric="win_prob", horizon=4)
    assert (verdict.state, verdict.looks, verdict.best.step) == ("improving", 2, 300)


def test_few_prompts_are_undecided_for_good():
    assert states(curve(0, 5, -5, n=9)) == ["undecided"] * 3


def test_without_rewards_outcomes_near_the_top_have_no_room_to_fall():
    points = []
    for step in range(3):
        probability = np.random.default_rng(step).uniform(0.95, 1.0, N)
        points.append(
            EvalPoint(
                step=step, values={"win_prob": probability}, metrics={"win_prob": stats.share(probability)}
            )
        )
    assert states(points)[1:] == ["saturated", "saturated"]


def test_rewards_see_a_fall_where_the_references_are_too_weak_to():
    points = curve(6, 7, 7, 5)
    verdict = judge(points, metric="win_prob", horizon=4)
    assert verdict.value.value > 0.95
    assert verdict.state == "degraded"
    assert "saturated" in verdict.flags


def test_a_preference_model_without_rewards_is_judged_by_its_probabilities():
    points = [replace(p, values={"win_prob": p.values["win_prob"]}) for p in curve(0, 1.5, 1.5, -2)]
    assert states(points, horizon=4)[-1] == "degraded"


def test_memory_changes_no_verdict():
    points = curve(0, 1, 1.2, 0.4, 0.2, -1, 1)
    assert verdicts(points, horizon=7) == [
        judge(points[: t + 1], metric="win_prob", horizon=7) for t in range(7)
    ]


def test_memory_starts_anew_when_the_past_changed():
    points = curve(0, 1, 1.2, 1)
    memory = Memory()
    judge(points, metric="win_prob", memory=memory)
    points[1] = point(100, -5, seed=9)
    assert judge(points, metric="win_prob", memory=memory) == judge(points, metric="win_prob")
    assert judge(points, metric="win_prob", horizon=4, memory=memory) == judge(
        points, metric="win_prob", horizon=4
    )
    assert judge(points[:2], metric="win_prob", memory=memory) == judge(points[:2], metric="win_prob")


def test_an_evaluation_repeated_at_its_step_is_judged_once():
    points = curve(0, 1, 1)
    again = [*points[:2], point(200, 1, seed=5)]
    memory = Memory()
    judge(points, metric="win_prob", memory=memory)
    assert judge(again, metric="win_prob", memory=memory).looks == 3


def test_a_temperature_fits_ratings_of_any_size():
    """Rewards from 0 to 0.1 differ by little in a sigmoid; fitted, they are judged like any other."""
    points = [replace(p, values={"reward": p.values["reward"] / 100}) for p in curve(0, 1.5, 1.5, 0)]
    assert judge(points, metric="reward", horizon=4).state != "degraded"
    assert judge(points, metric="reward", horizon=4, temperature=None).state == "degraded"


def test_gain_and_change_are_paired_and_in_the_headline_metric():
    points = curve(0, 2, 1)
    verdict = judge(points, metric="win_prob")
    win_prob = [p.values["win_prob"] for p in points]
    assert verdict.gain == stats.paired_change(win_prob[0], win_prob[2])
    assert verdict.change == stats.paired_change(win_prob[1], win_prob[2])


EVERY = Alarm(tolerance=0, horizon=12)  # every true fall counts


def test_a_warning_asks_for_fresh_prompts_and_is_settled_by_them():
    points = [*curve(0, 1, 1), point(300, 0.7), point(400, 0.7)]
    asked = judge(points[:4], metric="win_prob", alarm=EVERY, settled={})
    assert asked.state == "warned"
    assert 0 < asked.fresh_level <= 0.5
    assert np.isnan(judge(points[:4], metric="win_prob", alarm=EVERY).fresh_level)
    rng = np.random.default_rng(0)
    better, worse = rng.normal(1, 1, 300), rng.normal(0, 1, 300)
    for before, now, state in ((better, worse, "degraded"), (worse, better, "warned")):
        settled = {300: Settled(asked.best.step, stats.retest(before, now, level=asked.fresh_level))}
        verdict = judge(points[:4], metric="win_prob", alarm=EVERY, settled=settled)
        assert verdict.state == state
        assert np.isnan(verdict.fresh_level)
    settled = {300: Settled(100, stats.retest(better, worse, level=asked.fresh_level))}
    verdict = judge(points[:4], metric="win_prob", alarm=EVERY, settled=settled)
    assert (verdict.against, verdict.drop, verdict.since) == ((100,), settled[300].result.drop, 300)
    assert verdict.false_alarms == 0.05
    later = judge(points, metric="win_prob", alarm=EVERY, settled=settled)
    assert (later.state, later.since) == ("degraded", 300)


def test_an_alarm_that_only_lasts_names_no_bound():
    """The bound of a warning holds less surely than the alarm says."""
    points = [*curve(0, 1, 1, 0.3), point(400, 0.8)]
    alarm, lasting = verdicts(points, alarm=EVERY)[-2:]
    assert alarm.drop.low > 0
    assert (lasting.state, lasting.consecutive) == ("degraded", 0)
    assert np.isnan(lasting.drop.low)
    assert lasting.drop.value > 0


def test_clusters_make_a_verdict_more_careful():
    points = [*curve(0, 1, 1), point(300, 0.55)]
    every, grouped = (
        judge(points, metric="win_prob", horizon=4, clusters=c) for c in (None, np.arange(N) // 10)
    )
    assert every.visible_drop != grouped.visible_drop
    assert np.isfinite(grouped.p)


def test_a_rule_out_of_range_is_refused():
    with pytest.raises(ValueError, match="`horizon`"):
        judge(curve(0, 1), metric="win_prob", horizon=0)
