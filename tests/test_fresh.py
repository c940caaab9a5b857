"""A warning is settled on prompts that the run was never judged on."""

import json

import numpy as np
import pytest

from rm_monitor import Estimate, RewardMonitor, Verdict, load_prompts, messages
from rm_monitor.stats import retest
from rm_monitor.types import Best
from rm_monitor.verdict.fresh import FreshAnswers
from tests.helpers import PROMPTS, CountsGood, Keeps, Says

HELD_OUT = [f"held out {i}" for i in range(64)]


class Watched(Says):
    """Also keeps which prompts it was asked at which step."""

    def __init__(self, quality):
        super().__init__(quality)
        self.asked = []

    def generate(self, prompts, sampling, **more):
        self.asked.append((self.step, prompts[0].text.split()[0]))
        return super().generate(prompts, sampling, **more)


def falls(step):
    return 0.5 + 0.003 * min(step, 60) - 0.006 * max(step - 60, 0)


def make(tmp_path, quality=falls, **more):
    says, keeps = Watched(quality), Keeps()
    monitor = RewardMonitor(
        CountsGood(),
        PROMPTS,
        references=["good " * 5] * 64,
        every=10,
        output_dir=tmp_path,
        report_to=[keeps],
        generator=says,
        alarm={"horizon": 13, "confirm_on_warn": HELD_OUT, "tolerance": 0},
        **more,
    )
    return monitor, says, keeps


def go(monitor, says, steps):
    states = {}
    for step in steps:
        says.step = step
        monitor.evaluate(step=step)
        states[step] = monitor.verdict
    return states


def test_a_warning_that_fresh_prompts_confirm_is_an_alarm_with_their_own_interval(tmp_path):
    monitor, says, keeps = make(tmp_path, lambda step: falls(step) + 0.0015 * max(step - 60, 0))
    go(monitor, says, range(0, 121, 10))
    kept = json.loads((tmp_path / "_rm_monitor" / "fresh.json").read_text())
    assert kept["settled"], "no warning was settled: the test proves nothing"
    step, (against, level) = next(iter(kept["settled"].items()))
    rewards = {int(s): np.array(x) for s, x in kept["rewards"].items()}
    by_hand = retest(rewards[against], rewards[int(step)], level=level)
    shown = {u.point.step: u.verdict for u in keeps.updates}[int(step)]
    assert by_hand.confirmed
    assert shown.state == "degraded"
    assert shown.drop == by_hand.drop
    assert shown.against == (against,)
    assert "fresh prompts confirm it" in shown.reason
    assert shown.consecutive == 1


def test_a_warning_that_fresh_prompts_do_not_confirm_says_so(tmp_path):
    prompts = load_prompts(HELD_OUT)
    book = FreshAnswers(tmp_path, prompts)
    book.begin("s", set())
    rng = np.random.default_rng(0)
    best = Best(step=10, value=Estimate(0.6, 0.5, 0.7, 64))
    book.enter(Verdict(step=10, best=best), rng.normal(size=64))
    warned = Verdict(state="warned", step=20, best=best, fresh_level=0.05)
    assert book.wanted(warned)
    book.enter(warned, rng.normal(size=64))
    found = book.signal(20)
    assert not book.settled[20].result.confirmed
    assert messages.note(found).startswith("Fresh prompts do not confirm the warning: on 64 prompts")
    again = FreshAnswers(tmp_path, prompts)
    again.begin("s", {10, 20})
    assert again.signal(20) == found
    again.begin("s", {10})
    assert again.settled == {}, "a rollback forgets"
    again.begin("other judge", {10, 20})
    assert again.settled == {}


def test_fresh_prompts_are_answered_at_a_new_best_and_at_a_warning_only(tmp_path):
    monitor, says, keeps = make(tmp_path)
    go(monitor, says, range(0, 121, 10))
    asked = {step for step, first in says.asked if first == "held"}
    best = {u.point.step for u in keeps.updates if u.verdict.best.step == u.point.step}
    settled = {int(s) for s in json.loads((tmp_path / "_rm_monitor" / "fresh.json").read_text())["settled"]}
    assert asked == best | settled
    assert len(settled) <= 2


def test_a_warning_is_shown_once_after_it_was_settled(tmp_path):
    monitor, says, keeps = make(tmp_path)
    go(monitor, says, range(0, 121, 10))
    assert [u.point.step for u in keeps.updates] == list(range(0, 121, 10))


def test_a_resumed_run_settles_as_the_unbroken_one_did(tmp_path):
    whole, says, _ = make(tmp_path / "whole")
    expected = go(whole, says, range(0, 121, 10))
    whole.close()
    first, says, _ = make(tmp_path / "broken")
    go(first, says, range(0, 71, 10))
    first.close()
    second, says, _ = make(tmp_path / "broken")
    second.begin(resume_step=70)
    seen = go(second, says, range(80, 121, 10))
    second.close()
    assert {s: (v.state, v.reason) for s, v in seen.items()} == {
        s: (v.state, v.reason) for s, v in expected.items() if s >= 80
    }


def test_prompts_of_the_run_are_not_fresh(tmp_path):
    with pytest.raises(ValueError, match="2 of them are among `prompts`"):
        RewardMonitor(
            CountsGood(), PROMPTS, output_dir=tmp_path, alarm={"confirm_on_warn": [*HELD_OUT, *PROMPTS[:2]]}
        )
    with pytest.raises(ValueError, match="at least 10 prompts"):
        RewardMonitor(CountsGood(), PROMPTS, output_dir=tmp_path, alarm={"confirm_on_warn": HELD_OUT[:3]})


def test_fresh_prompts_that_cannot_be_answered_leave_the_warning_as_it_is(tmp_path, caplog):
    class Breaks(Watched):
        def generate(self, prompts, sampling, **more):
            if prompts[0].text.startswith("held"):
                raise RuntimeError("no")
            return super().generate(prompts, sampling, **more)

    monitor, _, keeps = make(tmp_path)
    broken = Breaks(falls)
    monitor._parts.evaluator.generator = broken
    go(monitor, broken, range(0, 121, 10))
    assert len(keeps.updates) == 13
    assert all(u.point.status == "ok" for u in keeps.updates)
    assert "the warning stands as it is" in caplog.text


def test_a_damaged_file_of_fresh_answers_is_left_out_and_said(tmp_path, caplog):
    monitor, says, _ = make(tmp_path)
    go(monitor, says, range(0, 31, 10))
    monitor.close()
    (tmp_path / "_rm_monitor" / "fresh.json").write_text('{"segment": 3')
    again, says, _ = make(tmp_path)
    again.begin(resume_step=30)
    go(again, says, [40])
    again.close()
    assert "fresh.json is damaged" in caplog.text
