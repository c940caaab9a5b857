"""The fault list of a monitored run, row by row: training goes on, and no fault becomes a number.

Rows that have a file of their own: disks, locks, damage and crashes in ``test_storage.py``, kills in
``test_kills.py``, hostile text and secrets in ``test_security.py``, servers in ``tests/test_http.py`` and
``tests/scorers/test_remote.py``, several ranks in ``tests/distributed``.
"""

import errno
import itertools
import math
import os
import shutil
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rm_monitor import Completion, RewardMonitor, RewardMonitorCallback, Sampling, load_scorer
from rm_monitor.checkpoints.keeper import Keeper
from rm_monitor.generators.engine import EngineGenerator
from rm_monitor.generators.hf import HFGenerator
from rm_monitor.prompts import load_prompts
from rm_monitor.records.history import History
from rm_monitor.runs import best_of
from rm_monitor.scorers.run.batching import Batcher, Row
from rm_monitor.sinks.row import row
from rm_monitor.training.undisturbed import undisturbed
from rm_monitor.types import Preferences
from tests.faults.pinning import checkpoint, step_of_weights
from tests.helpers import CountsGood, Keeps, Says, tiny_trainer

N = 20
PROMPTS = [f"prompt {i}" for i in range(N)]


def make(folder, **more):
    settings = dict(
        references=[f"{p} " + "good " * 5 for p in PROMPTS],
        every=10,
        output_dir=folder,
        generator=Says(lambda step: 0.5),
        report_to="none",
        alarm={"horizon": 9},
    )
    settings.update(more)
    return RewardMonitor(settings.pop("reward_model", None) or CountsGood(), PROMPTS, **settings)


def run(monitor, *steps, save=None):
    for step in steps:
        if isinstance(monitor._parts.evaluator.generator, Says):
            monitor._parts.evaluator.generator.step = step
        monitor.step(step, save=save)
    return monitor


def saves(step_of_now):
    def save(folder):
        source = checkpoint(folder.parent.parent / "scratch", step_of_now(), state=False)
        for path in source.iterdir():
            shutil.copy2(path, folder / path.name)

    return save


# ---------------------------------------------------------------------------- 1: exceptions, everywhere


class Boom(RuntimeError):
    pass


def booms(*args, **kwargs):
    raise Boom("on purpose")


CALL_SITES = {  # where it is injected -> whether the evaluation itself is lost
    "tests.helpers.Says.generate": True,
    "tests.helpers.CountsGood.score": True,
    "rm_monitor.evaluation.scorer_set.ScorerSet.values": True,
    "rm_monitor.curve.tables.per_prompt": True,
    "rm_monitor.curve.tables.summarise": True,
    "rm_monitor.records.history.History.append": False,
    "rm_monitor.records.history.write_rows": False,
    "rm_monitor.files.lines.append": False,
    "rm_monitor.verdict.judging.judge": False,
    "rm_monitor.checkpoints.selection.Selection.elect": False,
    "rm_monitor.checkpoints.selection.Selection.keep": False,
    "rm_monitor.stats.Election.choose": False,
    "rm_monitor.checkpoints.keeper.Keeper.pin": False,
    "rm_monitor.checkpoints.keeper.Keeper.mark_best": False,
    "rm_monitor.checkpoints.keeper.Keeper.prune": False,
    "rm_monitor.checkpoints.disk.problem": False,
    "rm_monitor.sinks.page.page": False,
    "rm_monitor.sinks.console.say": False,
    "rm_monitor.messages.line": False,
    "tests.helpers.Keeps.show": False,
}


@pytest.mark.parametrize("site", CALL_SITES)
def test_an_exception_at_any_call_site_never_comes_out_and_never_becomes_a_number(
    tmp_path, site, monkeypatch
):
    sink, now = Keeps(), [0]
    monitor = make(tmp_path, report_to=sink)
    run(monitor, 0)
    healthy = monitor.curve[0]
    with monkeypatch.context() as broken:
        broken.setattr(site, booms)
        now[0] = 10
        run(monitor, 10, save=saves(lambda: 10))
    run(monitor, 20, save=saves(lambda: 20))
    found = {p.step: p for p in monitor.curve}
    assert [found[s].status for s in (0, 20)] == ["ok", "ok"]
    if CALL_SITES[site]:
        assert found[10].status == "failed"
        assert "Boom: on purpose" in found[10].reason
        assert found[10].metrics == {}
    else:
        assert found[10].status == "ok"
        assert found[10].metrics.keys() == healthy.metrics.keys()
    monitor.close()
    lost = [10] if site.endswith("History.append") else []  # it never got as far as waiting in memory
    assert [p.step for p in History.read(tmp_path / "_rm_monitor")] == sorted({0, 10, 20} - set(lost))
    best = best_of(tmp_path)
    assert best is None or step_of_weights(tmp_path / "_rm_monitor" / "best") == best["step"]


@pytest.mark.parametrize(
    ("hook", "site"),
    [*itertools.product(["baseline", "step"], ["generate", "score", "append", "judge"]), ("save", "pin")],
)
def test_a_trainer_runs_to_its_end_whatever_fails(
    tmp_path, tiny_policy, tiny_tokenizer, monkeypatch, hook, site
):
    where = {
        "generate": (EngineGenerator, "generate"),
        "score": (CountsGood, "score"),
        "append": (History, "append"),
        "judge": ("rm_monitor.verdict.judging.judge",),
        "pin": ("rm_monitor.checkpoints.keeper.Keeper.pin",),
    }[site]
    monkeypatch.setattr(*where, booms)
    monitor = RewardMonitor(
        CountsGood(),
        PROMPTS[:3],
        references=["good"] * 3,
        every=1 if hook != "baseline" else 50,
        sampling=Sampling(max_new_tokens=2),
        report_to="none",
        on_error="start-anyway",  # by default the very first failure is refused before training
    )
    trainer = tiny_trainer(
        tiny_policy,
        tiny_tokenizer,
        tmp_path,
        steps=2,
        n_rows=4,
        save_strategy="steps",
        save_steps=1,
        callbacks=[RewardMonitorCallback(monitor)],
    )
    trainer.train()
    assert trainer.state.global_step == 2


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("site", ["generator", "scorer", "sink"])
def test_ctrl_c_and_exit_pass_through_and_leave_the_model_as_it_was(
    tmp_path, tiny_policy, tiny_tokenizer, site, stop
):
    class Stops(Says, CountsGood):
        on = False

        def __init__(self):
            Says.__init__(self, lambda step: 0.5)

        def generate(self, *args, **kwargs):
            if self.on and site == "generator":
                raise stop
            return super().generate(*args, **kwargs)

        def score(self, prompts, completions):
            if self.on and site == "scorer":
                raise stop
            return super().score(prompts, completions)

        def show(self, update):
            if self.on and site == "sink":
                raise stop

    plug_in = Stops()
    monitor = make(tmp_path, reward_model=plug_in, generator=plug_in, report_to=plug_in)
    tiny_policy.train()
    before = torch.get_rng_state()
    plug_in.on = True
    with pytest.raises(stop):
        monitor.step(0, tiny_policy, tiny_tokenizer)
    plug_in.on = False
    assert all(m.training for m in tiny_policy.modules())
    assert torch.get_rng_state().equal(before)
    assert monitor.evaluate(tiny_policy, tiny_tokenizer, step=10).status == "ok"


# ---------------------------------------------------------------------------- 2: scores that are none


@pytest.mark.parametrize(
    ("scores", "status", "n"),
    [
        (lambda n: [math.nan] + [1.0] * (n - 1), "ok", N - 1),
        (lambda n: [math.inf] + [1.0] * (n - 1), "ok", N - 1),
        (lambda n: [-math.inf] * 2 + [1.0] * (n - 2), "partial", N - 2),
        (lambda n: [math.nan] * n, "failed", 0),
        (lambda n: [1] * n, "ok", N),
        (lambda n: np.ones(n, dtype=np.float16), "ok", N),
        (lambda n: torch.ones(n), "ok", N),
        (lambda n: [1e308] * n, "ok", N),
        (lambda n: [1.0] * (n - 1), "failed", 0),
        (lambda n: [[1.0]] * n, "failed", 0),
        (lambda n: 1.0, "failed", 0),
        (lambda n: None, "failed", 0),
        (lambda n: ["good"] * n, "failed", 0),
        (lambda n: [None] * n, "failed", 0),
        (lambda n: [{}] * n, "failed", 0),
    ],
)
def test_what_is_no_score_is_left_out_or_fails_and_is_never_a_number(tmp_path, scores, status, n):
    class Odd(CountsGood):
        def score(self, prompts, completions):
            if completions[0].text.endswith("good good good good good "):  # the references
                return [1.0] * len(completions)
            return scores(len(completions))

    monitor = make(tmp_path, reward_model=Odd(), generator=Says(lambda step: 0.0), on_error="start-anyway")
    point = monitor.step(0)
    assert point.status == status
    assert all(e.n <= max(n, 1) or name not in ("reward", "win_rate") for name, e in point.metrics.items())
    if status != "failed":
        assert point.metrics["win_rate"].n == n
        assert point.metrics["tie_rate"].n == n  # two unknown scores are no tie
    else:
        assert "reward" not in point.metrics


def test_a_preference_that_is_no_probability_is_never_a_number(tmp_path):
    class Odd:
        fingerprint = "odd"

        def prefer(self, prompts, completions, references):
            return Preferences(probability=np.array([math.nan, *[0.75] * (len(prompts) - 1)]))

    point = make(tmp_path, reward_model=Odd()).step(0)
    assert point.metrics["win_prob"].n == N - 1
    assert point.metrics["win_prob"].value == 0.75


# ---------------------------------------------------------------------------- 3: answers that are none


@pytest.mark.parametrize(
    ("text", "finish", "flag", "value"),
    [
        ("", "stop", "empty", 1.0),
        ("  \n\t", "stop", "empty", 1.0),
        ("the same", "stop", "duplicates", 1.0),
        ("cut off", "length", "truncated", 1.0),
        ("a b c d a b c d a b c d a b c d", "stop", "repetition", None),
        ("\ud800\u202e\x00\x1b", "stop", "duplicates", 1.0),
    ],
)
def test_empty_identical_and_endless_answers_are_a_valid_evaluation_that_says_so(
    tmp_path, text, finish, flag, value
):
    class Odd(Says):
        def generate(self, prompts, sampling, **_):
            return [
                Completion(prompt_id=p.id, text=text, finish_reason=finish, n_tokens=0 if not text else 3)
                for p in prompts
            ]

    point = make(tmp_path, generator=Odd(None)).step(0)
    assert point.status == "ok"
    assert point.metrics[flag].value == value or point.metrics[flag].value > 0.5
    assert History.read_table(tmp_path / "_rm_monitor", 0).completions[0][0].text == text


# ---------------------------------------------------------------------------- 4: memory

OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory"),
    MemoryError(),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda e: type(e).__name__)
def test_answering_halves_its_batch_remembers_it_and_gives_the_same_answers(
    tiny_policy, tiny_tokenizer, error, monkeypatch
):
    prompts, sampling = load_prompts(PROMPTS[:7]), Sampling(temperature=1.0, max_new_tokens=4)
    how = dict(seed=1, model=tiny_policy.eval(), tokenizer=tiny_tokenizer)
    expected = HFGenerator(batch_size=1).generate(prompts, sampling, **how)
    real, sizes = tiny_policy.generate, []

    def generate(*args, input_ids, **kwargs):
        sizes.append(len(input_ids))
        if len(input_ids) > 2:
            raise error
        return real(*args, input_ids=input_ids, **kwargs)

    monkeypatch.setattr(tiny_policy, "generate", generate)
    generator = HFGenerator(batch_size=32)
    assert generator.generate(prompts, sampling, **how) == expected
    assert generator.batch_size <= 2
    sizes.clear()
    generator.generate(prompts, sampling, **how)
    assert max(sizes) <= 2


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda e: type(e).__name__)
def test_scoring_halves_its_batch_and_remembers_it(error):
    rows, sizes = [Row(ids=tuple(range(1, 9)), read=(7,)) for _ in range(9)], []

    def forward(batch):
        sizes.append(len(batch.rows))
        if len(batch.rows) > 2:
            raise error
        return batch.ids.sum(1).double()

    batcher = Batcher(tokens=1024)
    assert batcher.run(rows, forward, device=torch.device("cpu")).tolist() == [36.0] * 9
    assert sizes[0] == 9
    sizes.clear()
    batcher.run(rows, forward, device=torch.device("cpu"))
    assert max(sizes) <= 2


def test_other_errors_of_a_forward_do_not_shrink_anything(tiny_policy, tiny_tokenizer, monkeypatch):
    monkeypatch.setattr(tiny_policy, "generate", booms)
    generator = HFGenerator(batch_size=8)
    with pytest.raises(Boom):
        generator.generate(
            load_prompts(PROMPTS[:2]), Sampling(max_new_tokens=2), model=tiny_policy, tokenizer=tiny_tokenizer
        )
    assert generator.batch_size == 8


def test_memory_that_runs_out_for_one_row_is_a_gap_and_no_smaller_training_batch(tmp_path):
    class Hungry(CountsGood):
        def score(self, prompts, completions):
            raise torch.OutOfMemoryError("CUDA out of memory")

    monitor = make(tmp_path, reward_model=Hungry(), on_error="start-anyway")
    assert monitor.step(0).status == "failed"


# ---------------------------------------------------------------------------- 5: disks, seen from above


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
def test_a_full_disk_costs_no_evaluation_and_no_logger(tmp_path, monkeypatch, error, caplog):
    sink = Keeps()
    monitor = make(tmp_path, report_to=sink, references=None)
    real = os.open

    def full(path, flags, *args, **kwargs):
        if flags & (os.O_WRONLY | os.O_RDWR) and str(tmp_path) in str(path):
            raise OSError(error, os.strerror(error))
        return real(path, flags, *args, **kwargs)

    with monkeypatch.context() as broken:
        broken.setattr(os, "open", full)
        run(monitor, 0, 10)
    assert [p.status for p in monitor.curve] == ["ok", "ok"]
    assert [u.point.step for u in sink.updates] == [0, 10]
    assert "kept in memory" in caplog.text
    run(monitor, 20)
    assert [p.step for p in History.read(tmp_path / "_rm_monitor") if p.values] == [0, 10, 20]
    assert (tmp_path / "_rm_monitor" / "references" / "initial.jsonl").is_file()


# -------------------------------------------------------------------- 10, 11, 12: resume, change, clock


def test_after_a_rollback_the_best_is_never_of_the_dead_attempt(tmp_path):
    def quality(step):
        return 0.1 + step / 100

    first, now = make(tmp_path, generator=Says(quality)), [0]
    for step in (0, 10, 20, 30, 40):
        now[0] = step
        run(first, step, save=saves(lambda: now[0]))
    assert best_of(tmp_path)["step"] == 40
    first.close()
    second = make(tmp_path, generator=Says(lambda step: 0.15))
    second.begin(resume_step=20)
    assert best_of(tmp_path) is None
    assert Keeper(tmp_path / "_rm_monitor" / "earlier" / "attempt-0").best()[0] == 40  # it stays for ever
    assert second.best is None
    run(second, 30, save=saves(lambda: 31))
    assert [p.step for p in second.curve] == [0, 10, 20, 30]
    best = best_of(tmp_path)
    assert best["step"] == 30
    assert step_of_weights(tmp_path / "_rm_monitor" / "best") == 31
    assert [p.name for p in (tmp_path / "_rm_monitor" / "kept").iterdir()] == ["step-30"]


@pytest.mark.parametrize("change", ["prompts", "reward model", "references", "sampling", "seed"])
def test_what_numbers_depend_on_starts_a_new_segment_when_it_changes(tmp_path, change):
    run(make(tmp_path), 0, 10)

    class Other(CountsGood):
        fingerprint = "counts-good-2"

    more = {
        "reward model": dict(reward_model=Other()),
        "references": dict(references=["other"] * N),
        "sampling": dict(sampling=Sampling(top_p=0.5)),
        "seed": dict(seed=1),
        "prompts": {},
    }[change]
    again = make(tmp_path, **more)
    if change == "prompts":
        again = RewardMonitor(
            CountsGood(),
            [f"{p}?" for p in PROMPTS],
            references=["x"] * N,
            every=10,
            output_dir=tmp_path,
            generator=Says(lambda step: 0.5),
            report_to="none",
        )
    again.begin(resume_step=10)
    run(again, 20)
    assert len({p.segment for p in again.curve}) == 2
    assert again.verdict.looks == 1


def test_a_clock_that_jumps_back_changes_neither_order_nor_durations(tmp_path, monkeypatch):
    monitor = make(tmp_path)
    run(monitor, 0)
    monkeypatch.setattr(time, "time", lambda: -1e9)
    monkeypatch.setattr(time, "time_ns", lambda: -(10**18))
    run(monitor, 10, 20)
    points = History.read(tmp_path / "_rm_monitor")
    assert [p.step for p in points] == [0, 10, 20]
    assert all(0 <= p.measured["seconds"] < 60 for p in points)


# ---------------------------------------------------------------------------- 13, 14: what others own


def test_a_reward_model_deleted_from_disk_goes_on_scoring(tmp_path, tiny_reward_model_dir):
    folder = tmp_path / "rm"
    shutil.copytree(tiny_reward_model_dir, folder)
    scorer = load_scorer(str(folder))
    prompts = load_prompts(PROMPTS[:2])
    answers = [Completion(prompt_id=p.id, text="an answer") for p in prompts]
    before = scorer.score(prompts, answers).reward
    shutil.rmtree(folder)
    assert np.array_equal(scorer.score(prompts, answers).reward, before)


@pytest.mark.parametrize("call", ["log", "define_metric", "alert", "summary", "config", "finished"])
def test_a_wandb_that_fails_costs_nothing_but_its_own_row(tmp_path, call, caplog):
    from rm_monitor.sinks.wandb import WandbSink

    class Summary(dict):
        def __setitem__(self, key, value):
            if call == "summary":
                raise ConnectionError("no network")

    def answer(name):
        def method(*args, **kwargs):
            if call in (name, "finished"):
                raise RuntimeError(f"{name}: run is finished")

        return method

    calls = {n: answer(n) for n in ("log", "define_metric", "alert", "log_artifact")}
    run_ = SimpleNamespace(
        **calls, id="run", summary=Summary(), config=SimpleNamespace(update=answer("config"))
    )
    after = Keeps()
    monitor = make(tmp_path, report_to=[WandbSink(run_), after])
    run(monitor, 0, 10)
    assert [p.status for p in monitor.curve] == ["ok", "ok"]
    assert [u.point.step for u in after.updates] == [0, 10]
    step = 0 if call == "config" else 10  # said once a segment
    assert call == "alert" or f"WandbSink failed at step {step}; training goes on" in caplog.text


# ---------------------------------------------------------------------------- 17, 18, 22, 24


@pytest.mark.parametrize(("over", "refused"), [(-1, False), (0, False), (1, True)])
def test_a_prompt_that_leaves_no_room_for_the_answer_is_refused_before_training(
    tmp_path, tiny_policy, tiny_tokenizer, over, refused
):
    from rm_monitor.generators.chat import prompt_ids

    empty = len(prompt_ids(load_prompts(["x"])[0], tiny_tokenizer)) - 1
    room = tiny_policy.config.max_position_embeddings - 8
    monitor = RewardMonitor(
        CountsGood(),
        ["a" * (room - empty + over)],
        references=["good"],
        sampling=Sampling(max_new_tokens=8),
        report_to="none",
    )
    trainer = tiny_trainer(
        tiny_policy,
        tiny_tokenizer,
        tmp_path,
        steps=1,
        n_rows=2,
        callbacks=[RewardMonitorCallback(monitor)],
    )
    if refused:
        with pytest.raises(ValueError, match=r"`max_new_tokens`=8 leaves no room for 1 of 1 prompts"):
            trainer.train()
        assert trainer.state.global_step == 0
    else:
        trainer.train()
        assert {p.status for p in monitor.curve} == {"ok"}


@pytest.mark.parametrize(
    "odd", ["no template", "no pad", "pad is eos", "no eos", "pads right", "truncates left"]
)
@pytest.mark.parametrize("generator", [HFGenerator, EngineGenerator])
def test_any_tokenizer_answers_and_is_left_as_it_was(tiny_policy, tiny_tokenizer_dir, odd, generator):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_tokenizer_dir)
    if odd == "no template":
        tokenizer.chat_template = None
    if odd == "no pad":
        tokenizer.pad_token = None
    if odd == "pad is eos":
        tokenizer.pad_token = tokenizer.eos_token
    if odd == "no eos":
        tokenizer.eos_token = None
    tokenizer.padding_side = "right" if odd == "pads right" else "left"
    tokenizer.truncation_side = "left" if odd == "truncates left" else "right"
    before = (tokenizer.padding_side, tokenizer.truncation_side, tokenizer.pad_token, tokenizer.eos_token)
    prompts = load_prompts(["short", "a somewhat longer prompt than that"])
    sampling = Sampling(temperature=0, max_new_tokens=4)
    how = dict(model=tiny_policy.eval(), tokenizer=tokenizer)
    with undisturbed(tiny_policy, tokenizer):
        together = generator().generate(prompts, sampling, **how)
        alone = [c for p in prompts for c in generator().generate([p], sampling, **how)]
    assert [c.text for c in together] == [c.text for c in alone]
    after = (tokenizer.padding_side, tokenizer.truncation_side, tokenizer.pad_token, tokenizer.eos_token)
    assert after == before


def test_hooks_that_meet_at_one_step_give_one_evaluation(tmp_path, tiny_policy, tiny_tokenizer):
    scorer = CountsGood()
    monitor = RewardMonitor(
        scorer,
        PROMPTS[:3],
        references=["good"] * 3,
        every=2,
        sampling=Sampling(max_new_tokens=2),
        report_to="none",
    )
    tiny_trainer(
        tiny_policy,
        tiny_tokenizer,
        tmp_path,
        steps=4,
        n_rows=8,
        save_strategy="steps",
        save_steps=2,
        eval_strategy="steps",
        eval_steps=2,
        callbacks=[RewardMonitorCallback(monitor)],
    ).train()
    lines = (tmp_path / "_rm_monitor" / "history.jsonl").read_text().splitlines()
    assert len(lines) == 3  # 0, 2 and 4, though step 2 saves and evaluates and step 4 ends the run too


def test_an_evaluation_starts_no_process_leaves_no_thread_and_changes_no_environment(
    tmp_path, tiny_policy, tiny_tokenizer, monkeypatch
):
    def refuses(*args, **kwargs):
        raise AssertionError("a process was started")

    for name in ("fork", "posix_spawn", "system"):
        monkeypatch.setattr(os, name, refuses)
    before = dict(os.environ), os.getcwd()
    monitor = make(tmp_path, generator=None, sampling=Sampling(max_new_tokens=2))
    monitor.begin()
    running = set(threading.enumerate())  # among them the heartbeat of the folder's lock
    assert monitor.step(0, tiny_policy, tiny_tokenizer).status == "ok"
    assert (dict(os.environ), os.getcwd()) == before
    assert set(threading.enumerate()) <= running


# -------------------------------------------------------------------- what is on the curve and in the log


def test_failures_are_counted_on_the_curve_and_in_the_log(tmp_path, caplog, capsys):
    sink, scorer = Keeps(), CountsGood()
    monitor = make(tmp_path, reward_model=scorer, report_to=sink)
    run(monitor, 0)
    scorer.score = booms
    run(monitor, 10, 20)
    del scorer.score
    run(monitor, 30)
    rows = [row(u) for u in sink.updates]
    assert [r["rm_monitor/failed"] for r in rows] == [0, 1, 1, 0]
    assert [r["rm_monitor/failed_in_a_row"] for r in rows] == [0, 1, 2, 0]
    assert [r["rm_monitor/failed_total"] for r in rows] == [0, 1, 2, 2]
    assert [r["rm_monitor/coverage"] for r in rows] == [1, 0, 0, 1]
    assert not [name for name in rows[1] if "win_prob" in name or name.endswith("/reward")]
    assert caplog.text.count("Traceback") == 1
    assert "2 times so far" in caplog.text
    assert "no number (2 in a row): Boom: on purpose; training goes on" in capsys.readouterr().out
