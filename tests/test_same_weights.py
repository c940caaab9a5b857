"""Weights that have not changed are not asked again: their numbers are used at the new step."""

import pytest
import torch

from rm_monitor import RewardMonitor, RewardMonitorCallback, Sampling
from rm_monitor.generators.hf import HFGenerator
from rm_monitor.training import digest
from rm_monitor.training.digest import fingerprint
from tests.helpers import Breaks, CountsGood, Keeps, Says, tiny_trainer

ASKED = [f"prompt {i}" for i in range(12)]


class Counts(HFGenerator):
    """Answers with the model, and counts how often it was asked."""

    calls = 0

    def generate(self, *args, **more):
        self.calls += 1
        return super().generate(*args, **more)


class Length(CountsGood):
    """A reward that random answers differ by."""

    fingerprint = "length-1"

    def score(self, prompts, completions):
        self.calls += 1
        return [float(len(c.text) % 7) for c in completions]


def watched(folder, scorer=None, generator=None, **more):
    return RewardMonitor(
        scorer or Length(),
        ASKED,
        references=ASKED,
        generator=generator or Counts(),
        sampling=Sampling(max_new_tokens=4),
        output_dir=folder,
        **{"report_to": "none", **more},
    )


def assert_same_numbers(a, b):
    assert a.metrics == b.metrics
    assert all((a.values[name] == b.values[name]).all() for name in a.values)


def test_a_second_evaluation_of_untouched_weights_generates_and_scores_nothing(
    tmp_path, tiny_policy, tiny_tokenizer
):
    sink, scorer = Keeps(), Length()
    monitor = watched(tmp_path, scorer, report_to=sink)
    first = monitor.evaluate(tiny_policy, tiny_tokenizer, step=3)
    scored = scorer.calls
    again = monitor.evaluate(tiny_policy, tiny_tokenizer, step=9)
    assert monitor.settings.generator.calls == 1
    assert scorer.calls == scored
    assert_same_numbers(first, again)
    assert again.step == 9
    assert again.measured["same_weights_as"] == 3
    assert repr(sink.updates[1].table.completions) == repr(sink.updates[0].table.completions)
    assert [p.step for p in monitor.curve] == [3, 9]


@pytest.mark.parametrize("name", ["embed", "norm.weight"])
def test_one_changed_bit_of_one_weight_is_seen(name, tmp_path, tiny_policy, tiny_tokenizer):
    monitor = watched(tmp_path)
    monitor.evaluate(tiny_policy, tiny_tokenizer, step=0)
    weight = next(p for n, p in tiny_policy.named_parameters() if name in n)
    with torch.no_grad():  # the last bit of the last number, and no version counter says so
        weight.data.view(torch.int32).flatten()[-1] ^= 1
    monitor.evaluate(tiny_policy, tiny_tokenizer, step=1)
    assert monitor.settings.generator.calls == 2


def test_a_trainer_with_a_learning_rate_of_zero_pays_for_one_evaluation(
    tmp_path, tiny_policy, tiny_tokenizer
):
    monitor = watched(tmp_path, every=2)
    tiny_trainer(
        tiny_policy,
        tiny_tokenizer,
        tmp_path,
        callbacks=[RewardMonitorCallback(monitor)],
        steps=6,
        learning_rate=0.0,
    ).train()
    assert [(p.step, p.status) for p in monitor.curve] == [(s, "ok") for s in (0, 2, 4, 6)]
    assert monitor.settings.generator.calls == 1
    for point in monitor.curve:
        assert_same_numbers(monitor.curve[0], point)


def test_a_trainer_that_trains_pays_for_each_and_the_judged_last_step_is_free_after_it(
    tmp_path, tiny_policy, tiny_tokenizer
):
    monitor = watched(tmp_path, every=3)
    tiny_trainer(
        tiny_policy, tiny_tokenizer, tmp_path, callbacks=[RewardMonitorCallback(monitor)],
        steps=6, save_steps=3,
        save_strategy="steps",
    ).train()  # fmt: skip
    assert [p.step for p in monitor.curve] == [0, 3, 6]
    assert monitor.settings.generator.calls == 3
    monitor.begin(resume_step=6)
    monitor.evaluate(tiny_policy, tiny_tokenizer, step=7)
    assert monitor.settings.generator.calls == 3
    assert len({p.weights for p in monitor.curve[:3]}) == 3


def test_steps_that_the_gradient_scaler_skips_are_not_paid_for(tmp_path, tiny_policy, tiny_tokenizer):
    monitor = watched(tmp_path, every=1)
    optimizer = torch.optim.AdamW(tiny_policy.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler("cpu")
    ids = torch.arange(8)[None]
    for step in range(4):
        monitor.step(step, tiny_policy, tiny_tokenizer)
        loss = tiny_policy(input_ids=ids, labels=ids).loss
        scaler.scale(loss * (float("inf") if step in (0, 1) else 1.0)).backward()
        scaler.step(optimizer)  # left out where a gradient is infinite
        scaler.update()
        optimizer.zero_grad()
    assert monitor.settings.generator.calls == 2  # steps 0, 1 and 2 are one and the same
    assert [p.measured.get("same_weights_as") for p in monitor.curve] == [None, 0, 1, None]


def test_a_resumed_process_knows_what_it_judged_and_a_fresh_run_asks_anew(
    tmp_path, tiny_policy, tiny_tokenizer
):
    first = watched(tmp_path)
    before = first.evaluate(tiny_policy, tiny_tokenizer, step=8)
    first.close()
    resumed = watched(tmp_path)
    resumed.begin(resume_step=8)
    assert_same_numbers(before, resumed.evaluate(tiny_policy, tiny_tokenizer, step=8))
    resumed.close()
    assert resumed.settings.generator.calls == 0
    other = watched(tmp_path, seed=1)  # other noise: not comparable
    other.begin(resume_step=8)
    other.evaluate(tiny_policy, tiny_tokenizer, step=9)
    other.close()
    assert other.settings.generator.calls == 1
    fresh = watched(tmp_path)
    fresh.evaluate(tiny_policy, tiny_tokenizer, step=0)
    fresh.close()
    assert fresh.settings.generator.calls == 1


def test_a_failed_evaluation_of_the_same_weights_is_made_again(tmp_path, tiny_policy, tiny_tokenizer):
    scorer = Breaks()
    scorer.broken = True
    monitor = watched(tmp_path, scorer, on_error="start-anyway")
    assert monitor.evaluate(tiny_policy, tiny_tokenizer, step=0).status == "failed"
    scorer.broken = False
    assert monitor.evaluate(tiny_policy, tiny_tokenizer, step=1).status == "ok"
    assert monitor.settings.generator.calls == 2


def test_a_generator_that_does_not_promise_to_repeat_itself_is_asked_each_time(
    tmp_path, tiny_policy, tiny_tokenizer
):
    monitor = watched(tmp_path, generator=Says(lambda step: 0.5))
    monitor.evaluate(tiny_policy, tiny_tokenizer, step=0)
    monitor.evaluate(tiny_policy, tiny_tokenizer, step=1)
    assert monitor.settings.generator.calls == 2


def test_numbers_that_are_used_again_are_within_every_budget(tmp_path, tiny_policy, tiny_tokenizer):
    monitor = watched(tmp_path, every={"every": 1, "max_overhead": 1e-9})
    monitor.evaluate(tiny_policy, tiny_tokenizer, step=0)
    assert monitor.evaluate(tiny_policy, tiny_tokenizer, step=1).status == "ok"
    with torch.no_grad():
        next(tiny_policy.parameters()).add_(1.0)
    assert monitor.evaluate(tiny_policy, tiny_tokenizer, step=2).status == "skipped"


def test_a_name_sees_buffers_adapters_and_exchanged_or_sign_flipped_numbers():
    layer = torch.nn.BatchNorm1d(400_000)
    names = {fingerprint(layer)}
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(0, 1, 400_000))
        names.add(fingerprint(layer))
        layer.weight.copy_(layer.weight.flip(0))
        names.add(fingerprint(layer))
        layer.weight[[3, 5]] *= -1  # two top bits of 64
        names.add(fingerprint(layer))
    layer.running_mean[7] += 1
    names.add(fingerprint(layer))
    layer.disable_adapters = True
    names.add(fingerprint(layer))
    layer.disable_adapters = False
    names.add(fingerprint(layer))
    assert len(names) == 7
    half = torch.nn.Linear(3, 1, bias=False).to(torch.bfloat16)  # 6 bytes
    assert fingerprint(half) == fingerprint(half)
    assert fingerprint(torch.nn.Linear(2, 2, device="meta")) == ""
    assert fingerprint(None) == ""


def test_the_name_is_the_same_in_small_and_in_large_launches(monkeypatch):
    layer = torch.nn.Linear(700, 900)  # several chunks and a part of one
    small = fingerprint(layer)
    monkeypatch.setattr(digest, "_words_at_once", lambda _: digest._WORDS * 3)
    assert fingerprint(layer) == small
