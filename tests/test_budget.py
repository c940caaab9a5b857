"""`max_overhead`: evaluations take their share of the training time and no more, and a skip is seen."""

import logging

import pytest

from rm_monitor import RewardMonitor, RewardMonitorCallback
from rm_monitor.monitor.budget import Budget
from tests.helpers import PROMPTS, CountsGood, Says, tiny_trainer


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(("cost", "share"), [(1.0, 0.1), (3.0, 0.1), (8.0, 0.3), (50.0, 0.05)])
def test_whatever_an_evaluation_costs_the_share_is_kept(cost, share):
    clock = Clock()
    budget = Budget(share, clock=clock)
    with budget.spending(0):
        clock.now += cost  # the first one is free: a curve needs its start
    spent = trained = 0.0
    judged = 0
    for _ in range(400):
        clock.now += 10
        trained += 10
        if not budget.refusal():
            with budget.spending(0):
                clock.now += cost
            spent += cost
            judged += 1
        assert spent <= share * trained + 1e-9
    assert judged == min(400, int(share * trained / cost + 1e-9))  # and none is left out without need


def test_without_a_budget_nothing_is_ever_refused():
    clock = Clock()
    budget = Budget(None, clock=clock)
    with budget.spending(0):
        clock.now += 1e9
    assert budget.refusal() == ""


@pytest.mark.parametrize("wrong", [0, -0.1, float("nan")])
def test_a_share_that_is_none_is_refused(wrong):
    with pytest.raises(ValueError, match="`max_overhead` is a share of the training time"):
        RewardMonitor(CountsGood(), PROMPTS, references=PROMPTS, every={"max_overhead": wrong})


def slow_run(tmp_path, tiny_policy, tiny_tokenizer, **options):
    """A Trainer run in which an evaluation costs as much as all training: only its clock is slow."""
    clock = Clock()

    class Slow(Says):
        def generate(self, *args, **more):
            clock.now += 5
            return super().generate(*args, **more)

    monitor = RewardMonitor(
        CountsGood(),
        PROMPTS,
        references=PROMPTS,
        generator=Slow(lambda step: 0.5),
        report_to="none",
        **options,
    )
    monitor._parts.clock = clock

    class Ticks(tuple):
        pass

    from transformers import TrainerCallback

    class Training(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            clock.now += 3

    trainer = tiny_trainer(
        tiny_policy,
        tiny_tokenizer,
        tmp_path,
        callbacks=[Training(), RewardMonitorCallback(monitor)],
        steps=12,
    )
    trainer.train()
    return monitor


def test_an_evaluation_over_the_budget_moves_to_the_step_at_which_it_fits_and_the_last_step_is_judged(
    tmp_path, tiny_policy, tiny_tokenizer, caplog
):
    with caplog.at_level(logging.WARNING):
        monitor = slow_run(tmp_path, tiny_policy, tiny_tokenizer, every={"every": 2, "max_overhead": 0.4})
    # 3 s of training a step, 5 s an evaluation: a 40 % share has room for one in every 12.5 s
    assert [(p.step, p.status) for p in monitor.curve] == [
        *((0, "ok"), (2, "skipped"), (4, "skipped"), (5, "ok"), (6, "skipped"), (8, "skipped"), (9, "ok")),
        *((10, "skipped"), (12, "ok")),
    ]
    skipped = monitor.curve[2]
    assert skipped.reason.startswith("over budget: with this one (5 s) evaluations would take 42 %")
    assert skipped.reason.endswith("moved to step 5")
    assert not skipped.metrics
    assert "no evaluation at step 4: over budget" in caplog.text
    assert monitor.verdict.failed == 0
    assert monitor.verdict.step == 12


def test_a_hand_written_loop_uses_its_whole_share_and_never_more(tmp_path):
    clock, steps = Clock(), 600

    class Slow(Says):
        def generate(self, *args, **more):
            clock.now += 7
            return super().generate(*args, **more)

    monitor = RewardMonitor(
        CountsGood(),
        PROMPTS[:16],
        references=PROMPTS[:16],
        generator=Slow(lambda step: 0.5),
        every={"every": 10, "max_overhead": 0.05},
        output_dir=tmp_path,
        report_to="none",
    )
    monitor._parts.clock = clock
    spent = 0
    for step in range(steps + 1):
        point = monitor.step(step)
        if point is not None and point.status == "ok" and step > 0:
            spent += 7
            assert spent <= 0.05 * step
        clock.now += 1
    monitor.close()
    assert spent == 7 * int(
        0.05 * steps / 7
    )  # 4: at multiples of 10 alone it would have come later each time
    assert [p.step for p in monitor.curve if p.status == "ok"] == [0, 140, 280, 420, 560]


def test_an_evaluation_that_was_dearer_than_thought_is_paid_back_before_the_next():
    clock = Clock()
    budget = Budget(0.1, clock=clock)
    spent, trained, ran = 0.0, 0.0, []
    for step, cost in enumerate([2.0] * 5 + [8.0] * 5 + [1.0] * 90):
        if not budget.refusal():
            assert spent <= 0.1 * trained + 1e-9
            with budget.spending(step):
                clock.now += cost
            spent += cost if ran else 0.0
            ran.append(step)
        clock.now += 10
        trained += 10
    assert ran[:5] == [
        0,
        2,
        4,
        6,
        20,
    ]  # 2 s fit after 20 s each; the 8 s of step 6 need the time up to step 20
    assert spent <= 0.1 * trained
