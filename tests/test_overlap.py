"""`overlap=True`: the curve that is made in place, made by a second process while training goes on."""

import os
import pickle
import signal
import sys

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from rm_monitor import RewardMonitor, RewardMonitorCallback, Sampling, load_prompts, load_scorer
from rm_monitor.curve.measured import Measured
from rm_monitor.errors import UnsupportedSetupError
from rm_monitor.monitor.overlap import Overlap, Recipe
from rm_monitor.monitor.overlap.slot import Slot, weights
from rm_monitor.monitor.overlap.structure import pack, unpack
from rm_monitor.monitor.overlap.worker import Worker, WorkerEndedError
from rm_monitor.monitor.plan import Plan
from rm_monitor.packed.precision import mixed_precision
from tests.helpers import CountsGood, Keeps, Says, tiny_trainer
from tests.wandb_file import history

PROMPTS = ["What is a tide?", "Name a colour.", "Say hello to a friend.", "Why?", "Count to ten.", "Stop!"]
SAMPLING = Sampling(temperature=0.7, max_new_tokens=12, samples_per_prompt=2)


def monitor_of(folder, reward_model, *sinks, **arguments):
    settings = {"every": 2, "output_dir": folder, "sampling": SAMPLING, "report_to": [Keeps(), *sinks]}
    return RewardMonitor(reward_model, PROMPTS, **{**settings, **arguments})


def said(monitor):
    """What the monitor's sink was shown: texts by step, in the order in which they came; gaps have none."""
    updates = next(s for s in monitor.run._shared.recorder._shown.sinks if isinstance(s, Keeps)).updates
    answered = [u for u in updates if u.table is not None]
    return [(u.point.step, [[c.text for c in row] for row in u.table.completions]) for u in answered]


def assert_same_curve(ours, theirs):
    assert [(p.step, p.status, p.reason) for p in ours.curve] == [(p.step, "ok", "") for p in theirs.curve]
    assert said(ours) == said(theirs)
    assert len({str(texts) for _, texts in said(ours)}) > 1, "training changed nothing that is said"
    for a, b in zip(ours.curve, theirs.curve, strict=True):
        assert a.values.keys() == b.values.keys()
        for name in a.values:
            np.testing.assert_allclose(a.values[name], b.values[name], rtol=0, atol=1e-5, err_msg=name)


# ---------------------------------------------------------------------------- a Trainer


def train(folder, policy, tokenizer, monitor, **arguments):
    torch.manual_seed(0)
    callbacks = [RewardMonitorCallback(monitor, select_best=True)] if monitor else []
    settings = {"save_strategy": "steps", "save_steps": 2, "save_total_limit": 2, **arguments}
    trainer = tiny_trainer(policy, tokenizer, folder, steps=6, callbacks=callbacks, **settings)
    trainer.train()
    return trainer


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_policy_dir, tiny_tokenizer, tiny_reward_model_dir):
    """A Trainer's run without a monitor, with one, and with one that overlaps and logs to W&B."""
    import wandb

    monitors, trainers = {}, {}
    for name in ("alone", "in place", "overlap"):
        folder = tmp_path_factory.mktemp(name.replace(" ", "-"))
        monitors[name], sinks = None, ()
        if name == "overlap":
            run = wandb.init(mode="offline", dir=folder, reinit="finish_previous")
            sinks = ("wandb",)
        if name != "alone":
            monitors[name] = monitor_of(folder, str(tiny_reward_model_dir), *sinks, overlap=name == "overlap")
        policy = AutoModelForCausalLM.from_pretrained(tiny_policy_dir)
        trainers[name] = train(folder, policy, tiny_tokenizer, monitors[name])
    run.finish()
    return monitors, trainers


def test_the_curve_is_the_one_that_is_made_in_place(runs):
    monitors, _ = runs
    assert_same_curve(monitors["overlap"], monitors["in place"])
    last = monitors["overlap"].curve[-1]
    assert last.measured["seconds_snapshot"] > 0
    assert last.measured["seconds_waited"] >= 0


def test_training_ends_with_the_very_weights_of_a_run_without_a_monitor(runs):
    _, trainers = runs
    alone = dict(trainers["alone"].model.named_parameters())
    assert all(p.equal(alone[name]) for name, p in trainers["overlap"].model.named_parameters())


def test_both_find_the_same_best_and_the_trainer_is_told(runs):
    monitors, trainers = runs
    ours, theirs = monitors["overlap"].best, monitors["in place"].best
    assert (ours.step, ours.tied) == (theirs.step, theirs.tied)
    kept = AutoModelForCausalLM.from_pretrained(ours.checkpoint)
    expected = AutoModelForCausalLM.from_pretrained(theirs.checkpoint)
    named = dict(expected.named_parameters())
    assert all(p.equal(named[name]) for name, p in kept.named_parameters())
    if ours.step > 0:
        assert trainers["overlap"].state.best_global_step == ours.step


def test_a_late_point_is_in_the_trainers_log_and_in_wandb_at_its_step(runs):
    monitors, trainers = runs
    rows = [r for r in trainers["overlap"].state.log_history if "rm_monitor/win_prob" in r]
    assert [r["step"] for r in rows] == [0, 2, 4, 6]
    assert rows[1]["epoch"] < rows[2]["epoch"] < rows[3]["epoch"]
    folder = monitors["overlap"].run.folder.parent
    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    logged = [r for r in history(path) if "rm_monitor/win_prob" in r]
    assert [r["train/global_step"] for r in logged] == [0, 2, 4, 6]
    for row, point in zip(logged, monitors["overlap"].curve, strict=True):
        assert row["rm_monitor/win_prob"] == pytest.approx(point.metrics["win_prob"].value)


def test_what_training_does_to_a_model_changes_no_answer(
    tmp_path, tiny_policy_dir, tiny_tokenizer, tiny_reward_model_dir
):
    from peft import LoraConfig, get_peft_model

    monitors = []
    for overlap in (False, True):
        torch.manual_seed(0)
        policy = AutoModelForCausalLM.from_pretrained(tiny_policy_dir)
        adapters = LoraConfig(
            r=4,
            lora_dropout=0.2,
            target_modules=["q_proj", "v_proj", "down_proj"],
            init_lora_weights=False,  # as an adapter that was trained before: the KL is to it
        )
        policy = get_peft_model(policy, adapters)
        judge = load_scorer(tiny_reward_model_dir, idle="unload", show=False)
        folder = tmp_path / str(overlap)
        monitors.append(monitor_of(folder, {"judge": judge}, overlap=overlap, kl=True))
        how = {"bf16": True, "gradient_checkpointing": True, "neftune_noise_alpha": 5.0, "learning_rate": 0.3}
        train(folder, policy, tiny_tokenizer, monitors[-1], **how)
    in_place, overlapped = monitors
    assert_same_curve(overlapped, in_place)
    kl = [point.metrics["kl"].value for point in overlapped.curve]
    assert kl[0] == 0 < min(kl[1:])


@pytest.mark.parametrize("adapters", [False, True])
@pytest.mark.parametrize("mixed", [None, torch.bfloat16])
def test_a_model_in_training_computes_the_same_numbers_where_it_is_sent(
    tmp_path, tiny_policy, tiny_tokenizer, adapters, mixed
):
    from peft import LoraConfig, get_peft_model

    how = {"bf16": mixed is not None, "gradient_checkpointing": True, "neftune_noise_alpha": 5.0}
    policy = get_peft_model(tiny_policy, LoraConfig(target_modules=["q_proj"])) if adapters else tiny_policy
    tiny_trainer(policy, tiny_tokenizer, tmp_path, steps=1, **how).train()
    there, _ = unpack(pack(policy, tiny_tokenizer), "cpu")
    with torch.no_grad():
        for copy, original in zip(weights(there), weights(policy), strict=True):
            copy.copy_(original)
        policy.eval()
        ids = torch.arange(24).view(2, 12)
        assert mixed_precision(there) == mixed_precision(policy) == mixed
        assert there(input_ids=ids).logits.equal(policy(input_ids=ids).logits)


@pytest.fixture
def own_precision():
    """Precision of float32 products as it was, afterwards; by its old name too."""
    from rm_monitor.monitor.overlap.settings import settings, take_over

    before = settings()
    yield
    take_over(before, "cpu")


@pytest.mark.parametrize("old", ["highest", "high", "medium", None])
@pytest.mark.parametrize("new", [(), ("",), ("mkldnn.matmul", "cudnn"), ("cuda.matmul", "cudnn.conv")])
def test_products_are_rounded_where_the_model_is_sent_as_in_the_trainer(own_precision, old, new):
    from rm_monitor.monitor.overlap.settings import _float32, settings, take_over
    from rm_monitor.scorers.run.frozen import library_versions

    fresh = settings()["float32"]
    if old:
        torch.set_float32_matmul_precision(old)
    for name in new:
        _float32(name).fp32_precision = "tf32"
    trainers, device = settings(), torch.device("cpu")
    facts = library_versions(device)
    take_over({**trainers, "precision": None, "float32": fresh}, "cpu")  # as a process begins
    take_over(trainers, "cpu")
    assert settings() == trainers
    assert library_versions(device) == facts
    if "mkldnn.matmul" in new:
        assert facts["matmul"] == "tf32"


# ---------------------------------------------------------------------------- a loop by hand


class CountsA:
    """A judge that likes one letter; the second process imports it."""

    fingerprint = "counts-a-1"
    scale = "logit"

    def score(self, prompts, completions):
        return [float(c.text.count("a")) for c in completions]


def test_a_killed_process_is_a_gap_and_a_late_best_is_kept_with_the_weights_it_had(
    tmp_path, tiny_policy, tiny_tokenizer
):
    monitor = monitor_of(tmp_path, CountsA(), references=["a a a"] * 6, overlap=True, every=1)
    monitor.evaluate(tiny_policy, tiny_tokenizer, step=0)
    assert (
        monitor.evaluate(tiny_policy, tiny_tokenizer, step=1).status == "pending"
    )  # the same weights as at 0
    turn(tiny_policy, 1)
    monitor.evaluate(tiny_policy, tiny_tokenizer, step=2)
    os.kill(monitor.run._background._overlap._worker._process.pid, signal.SIGKILL)
    always_say(tiny_policy, tiny_tokenizer.convert_tokens_to_ids("a"))  # surely the best
    monitor.evaluate(tiny_policy, tiny_tokenizer, step=3)  # waits for room: 2 comes first, as a gap
    before = {name: p.detach().clone() for name, p in tiny_policy.named_parameters()}
    turn(tiny_policy, 3)
    monitor.run.collect(wait=True)
    states = {p.step: (p.status, p.reason) for p in monitor.curve}
    assert states[2][0] == "failed"
    assert "SIGKILL" in states[2][1]
    assert states[3] == ("ok", "")
    assert said(monitor)[-1] == (3, [["a" * SAMPLING.max_new_tokens] * 2] * len(PROMPTS))
    monitor.close()
    assert monitor.best.step == 3
    kept = AutoModelForCausalLM.from_pretrained(monitor.best.checkpoint)
    assert all(p.equal(before[name]) for name, p in kept.named_parameters())


def turn(model, seed):
    """Other weights."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.1 * torch.randn(p.shape, generator=generator)


def always_say(model, token):
    """Weights with which every token is followed by this one."""
    with torch.no_grad():
        model.model.embed_tokens.weight.fill_(1.0)
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.model.norm.weight.fill_(1.0)
        model.lm_head.weight.zero_()
        model.lm_head.weight[token] = 10.0


# ---------------------------------------------------------------------------- the queue


class Scripted:
    """A worker in this process: what it says comes when the script says so; it can end at any word."""

    script: list[str] = []  # noqa: RUF012  each word: "speak", "silent", "end" or "fail" to start
    alive = 0

    def __init__(self, luggage, slot, log):
        if self.script and self.script[-1] == "fail":
            self.script.pop()
            raise OSError("no more processes")
        type(self).alive += 1
        assert self.alive == 1, "one at a time"
        self.slot, self.words = slot, []

    def tell(self, what, given):
        assert not self.words, "it is busy"
        self.words = [("taken", None), ("measured", given)]

    def hear(self, *, wait, patience):
        do = self.script.pop() if self.script else "speak"
        do = "speak" if do == "fail" else do
        if do == "end":
            self.end()
            raise WorkerEndedError("it is gone")
        if do == "silent" and not wait:
            return None
        assert self.words, "it would wait for ever"
        what, given = self.words.pop(0)
        if what == "taken":
            self.read = torch.nn.Linear(1, 1)
            self.slot.read(weights(self.read))
            return what, None
        return what, Measured(table=None, facts={"weight": self.read.weight.item(), "step": given})

    def end(self):
        type(self).alive = 0


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    plans=st.lists(st.sampled_from(["measure", "measure", "known", "skipped"]), min_size=1, max_size=8),
    script=st.lists(st.sampled_from(["speak", "silent", "end", "fail"]), max_size=30),
    looks=st.integers(0, 3),
)
def test_whatever_the_timing_results_come_in_order_each_of_its_own_weights(
    tmp_path, monkeypatch, plans, script, looks
):
    monkeypatch.setattr("rm_monitor.monitor.overlap.worker.Worker", Scripted)
    Scripted.script, Scripted.alive = script, 0
    queue, came, model = overlap_of(), [], torch.nn.Linear(1, 1)
    queue.begin((), tmp_path)
    for step, kind in enumerate(plans):
        with torch.no_grad():
            model.weight.fill_(float(step))
        known = Measured(table=None) if kind == "known" else None
        plan = Plan(known=known, skipped="no" * (kind == "skipped"), weights=f"w{step}")
        queue.hand_over(plan, model, None, step=step, checkpoint=None, record=came.append)
        assert len([job for job in queue._jobs if not job.measured]) <= 2
        for _ in range(looks):
            queue.collect(came.append)
    queue.collect(came.append, wait=True)
    assert queue.idle
    assert [late.step for late in came] == list(range(len(plans)))
    for late, kind in zip(came, plans, strict=True):
        assert late.measured.weights == f"w{late.step}"
        assert (late.measured.skipped != "") == (kind == "skipped")
        if kind == "measure" and late.measured.error is None:
            assert (late.measured.facts["weight"], late.measured.facts["step"]) == (late.step, late.step)
            assert "seconds_snapshot" in late.measured.facts
    queue.close()


def test_a_process_that_cannot_begin_says_why(tmp_path):
    slot = Slot(64)
    worker = Worker(pickle.dumps((list(sys.path), b"no pickle")), slot, tmp_path / "log")
    with pytest.raises(WorkerEndedError, match=r"could not begin: .*more is in .*log"):
        worker.hear(wait=True)
    worker.end()
    slot.close()
    assert "Traceback" in (tmp_path / "log").read_text(encoding="utf-8")


# ---------------------------------------------------------------------------- what is refused


def overlap_of(device=True, **recipe):
    parts = {
        "scorers": {"judge": "folder"},
        "prompts": load_prompts(PROMPTS),
        "sampling": SAMPLING,
        "seed": 0,
    }
    return Overlap(Recipe(**{**parts, **recipe}), device, without={})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"overlap": "gpu7"}, "names no device: 'gpu7'"),
        ({"overlap": 2}, "is False, True or a device"),
        ({"generator": Says(lambda step: 1.0)}, "`generator` answers elsewhere"),
        ({"alarm": {"confirm_on_warn": [f"New {i}" for i in range(64)]}}, "leave one of them out"),
        ({"kl": torch.nn.Linear(1, 1)}, "`kl` with `overlap`"),
        (
            {"reward_model": lambda prompts, completions: [0.0] * len(prompts)},
            "put the function into a module",
        ),
    ],
)
def test_what_cannot_be_had_with_it_is_refused_at_construction(tmp_path, arguments, message):
    settings = {"reward_model": CountsGood(), "overlap": True, "output_dir": tmp_path, **arguments}
    with pytest.raises(ValueError, match=message):
        RewardMonitor(prompts=[f"Prompt {i}" for i in range(64)], **settings)


def test_several_processes_are_shown_another_way():
    with pytest.raises(ValueError, match="rm-monitor watch"):
        overlap_of().check_ranks(2)


class Answers(torch.nn.Linear):
    """A model."""


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda m: setattr(m, "forward", lambda x: x), "forward of Answers was replaced by one of tests"),
        (lambda m: setattr(m, "helper", lambda x: x), "cannot be sent"),
        (lambda m: m.to("meta"), "some are on no device"),
    ],
)
def test_a_model_that_would_answer_otherwise_elsewhere_is_refused_before_training(spoil, message):
    model = Answers(2, 2)
    overlap_of().check(model)
    spoil(model)
    with pytest.raises(UnsupportedSetupError, match=message):
        overlap_of().check(model)


def test_a_copy_of_the_initial_policy_is_not_to_be_had(tiny_policy):
    with pytest.raises(UnsupportedSetupError, match="kl='folder or hub id'"):
        overlap_of(kl=True).check(tiny_policy)


def test_the_trainers_own_best_metric_cannot_wait(tmp_path, tiny_policy, tiny_tokenizer):
    monitor = monitor_of(tmp_path, CountsGood(), overlap=True)
    trainer = tiny_trainer(
        tiny_policy,
        tiny_tokenizer,
        tmp_path,
        callbacks=[RewardMonitorCallback(monitor)],
        metric_for_best_model="rm_win_prob",
    )
    with pytest.raises(ValueError, match="select_best=True"):
        trainer.train()
