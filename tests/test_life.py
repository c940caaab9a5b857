"""A run's life as a state machine: begin, judge, save, crash, resume, close, evaluate, on real folders.

The model keeps, beside the monitor, what must be on the curve and which weights must be loadable; the laws
are asked after every rule. What each checkpoint holds is its own (a number in its one tensor), so that a
best that shows other weights is noticed.
"""

import json
import logging
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from safetensors.numpy import load_file, save_file

from rm_monitor import Completion, RewardMonitor, load_run
from rm_monitor.checkpoints.keeper import Keeper
from rm_monitor.records.history import History
from tests.helpers import CountsGood

PROMPTS = [f"prompt {i}" for i in range(12)]


class Level:
    """Answers whose number of good words is the level that the machine set; every prompt the same but one."""

    def __init__(self):
        self.level = 5

    def generate(self, prompts, sampling, *, seed=0, model=None, tokenizer=None, progress=None):
        texts = ["good " * max(0, self.level + (i % 3 - 1)) for i in range(len(prompts))]
        return [
            Completion(prompt_id=p.id, text=text, n_tokens=9, finish_reason="stop")
            for p, text in zip(prompts, texts, strict=True)
        ]


def write_weights(folder, mark):
    """A checkpoint that loads, and says in its one tensor which weights it holds."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    save_file({"w": np.array([mark], dtype=np.float32)}, folder / "model.safetensors")


def mark_of(folder):
    return int(load_file(Path(folder) / "model.safetensors")["w"][0])


class Life(RuleBasedStateMachine):
    """One folder, one process after another; a loop drives each of them."""

    def __init__(self):
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="life-"))
        self.answers = Level()
        self.monitor = None
        self.step = 0  # where training is
        self.marks = 0  # every set of weights has a number
        self.curve = {}  # step -> mark of the weights that were judged, of the present attempt
        self.saved = {}  # step -> mark, of checkpoints that a Trainer wrote
        self.called_best = {}  # folder of an earlier attempt's best -> mark
        self.attempts = 0
        self.now_best = None

    def teardown(self):
        if self.monitor is not None:
            self.monitor.close()
        shutil.rmtree(self.root, ignore_errors=True)

    # ------------------------------------------------------------------ rules

    def _process(self):
        """A process that starts knows only what is on disk."""
        return RewardMonitor(
            CountsGood(),
            PROMPTS,
            references=["good " * 5] * len(PROMPTS),
            every=1,
            output_dir=self.root,
            generator=self.answers,
            report_to=lambda update: None,
        )

    def _begin(self, resume):
        """Begin, and note what the attempt before called best: it must stay loadable for ever."""
        before = Keeper(self.root / "_rm_monitor").best()
        mark = None if before is None else mark_of(before[1])
        kept = {s: m for s, m in self.curve.items() if resume is not None and s <= resume}
        self.monitor.begin(resume_step=resume)
        self.attempts += 1
        self.curve = kept
        if before is not None and before[0] not in kept:
            self.called_best[(self.attempts - 1, before[0])] = mark
        self.step = 0 if resume is None else resume

    @initialize()
    def first(self):
        self.monitor = self._process()
        self._begin(None)

    @rule(level=st.integers(0, 9), saves=st.booleans())
    def judge(self, level, saves):
        """The next step is trained, judged, and saved or not."""
        if self.monitor.run.state == "closed":
            return
        self.step += 1
        self.marks += 1
        self._judge(level, saves)

    def _judge(self, level, saves):
        self.answers.level = level
        mark = self.marks
        save = (lambda folder: write_weights(folder, mark)) if saves else None
        point = self.monitor.evaluate(step=self.step, save=save)
        assert point.status == "ok"
        self.curve[self.step] = mark

    @rule(fails=st.sampled_from(["scorer", "generator"]))
    @precondition(lambda self: self.monitor.run is not None and self.curve)
    def judge_fails(self, fails):
        """An evaluation that fails is a gap, and raises nothing."""
        if self.monitor.run.state == "closed" or not any(s <= self.step for s in self.curve):
            return
        self.step += 1
        self.marks += 1

        def broken(*args, **more):
            raise RuntimeError("away")

        target = self.monitor._parts.evaluator
        if fails == "generator":
            whole, target.generator = target.generator, type("Broken", (), {"generate": broken})()
            point = self.monitor.evaluate(step=self.step)
            target.generator = whole
        else:
            scorer = target.scorer_set.scorers[target.scorer_set.primary]
            target.scorer_set.scorers[target.scorer_set.primary] = type(
                "Broken", (), {"fingerprint": scorer.fingerprint, "scale": scorer.scale, "score": broken}
            )()
            point = self.monitor.evaluate(step=self.step)
            target.scorer_set.scorers[target.scorer_set.primary] = scorer
        assert point.status == "failed"
        self.curve[self.step] = None

    @rule()
    @precondition(lambda self: self.step > 0)
    def trainer_saves(self):
        """A Trainer's checkpoint of the present step, told of after it was judged."""
        mark = self.curve.get(self.step)
        if mark is None or self.monitor.run.state == "closed" or self.step in self.saved:
            return
        folder = self.root / "elsewhere" / f"{self.attempts}-{self.step}"
        write_weights(folder, mark)
        self.saved[self.step] = mark
        self.monitor.saved(self.step, folder)
        shutil.rmtree(folder)  # rotation takes it at once: what is best was linked

    @rule()
    def crash_and_resume(self):
        """The process dies without a word; another goes on where its last checkpoint was."""
        self.saved = {}
        self._die()
        self.monitor = self._process()
        self._begin(self.step)

    @rule(back=st.integers(1, 3))
    @precondition(lambda self: self.step > 1)
    def crash_and_resume_earlier(self, back):
        """The last checkpoint is some steps back: what came after it is superseded."""
        self.saved = {}
        self._die()
        self.monitor = self._process()
        self._begin(max(0, self.step - back))

    @rule()
    def restart_by_hand(self):
        """A hand-written loop is started again and simply goes on with the next step."""
        if not self.curve or min(self.curve) > self.step:
            return
        self.saved = {}
        self._die()
        before = dict(self.curve)
        self.monitor = self._process()
        self.step += 1
        self.marks += 1
        self.attempts += 1
        self.curve = {s: m for s, m in before.items() if s < self.step}
        self.answers.level = 5
        self.monitor.step(self.step)
        self.curve[self.step] = self.marks

    @rule(new_process=st.booleans())
    def train_again(self, new_process):
        """A fresh training in the same folder, in this process or another."""
        self.saved = {}
        if new_process:
            self._die()
            self.monitor = self._process()
        self._begin(None)

    @rule()
    def close(self):
        """The end: another process that reads the folder says what this one says."""
        self.monitor.close()
        if self.curve:
            read = load_run(self.root)
            assert [p.step for p in read.curve] == [p.step for p in self.monitor.curve]
            assert read.verdict.state == self.monitor.verdict.state

    @rule(level=st.integers(0, 9))
    @precondition(lambda self: self.monitor.run.state == "closed")
    def evaluate_after_the_end(self, level):
        """One more look, at merged or averaged weights: a further point, nothing is wiped."""
        self.step += 1
        self.marks += 1
        self._judge(level, saves=False)

    def _die(self):
        """Let go of the lock as a process that is killed does, and of nothing else."""
        recorder = self.monitor.run._shared.recorder
        if recorder is not None and recorder._history._lock is not None:
            recorder._history._lock.release()

    # ------------------------------------------------------------------ laws

    @invariant()
    def the_curve_is_the_present_attempts(self):
        if self.monitor is None or self.monitor.run is None:
            return
        assert [p.step for p in self.monitor.curve] == sorted(self.curve)
        living = History.read_bare(self.root / "_rm_monitor")
        assert [p.step for p in living] == sorted(self.curve)
        looked_at = [step for step, _ in self.monitor.verdict.states]
        assert set(looked_at) <= {s for s, mark in self.curve.items() if mark is not None}

    @invariant()
    def the_best_is_what_best_json_says_and_what_was_judged(self):
        if self.monitor is None or self.monitor.run is None:
            return
        keeper = Keeper(self.root / "_rm_monitor")
        found, best = keeper.best(), self.monitor.best
        if found is None:
            return
        step, folder = found
        assert json.loads((self.root / "_rm_monitor" / "best.json").read_text())["step"] == step
        assert self.curve.get(step) == mark_of(folder)
        if best is not None and best.checkpoint is not None:
            assert mark_of(best.checkpoint) == self.curve[best.step]

    @invariant()
    def what_an_earlier_attempt_called_best_can_be_loaded(self):
        there = {
            (int(path.parts[-4].removeprefix("attempt-")), mark_of(path.parent))
            for path in (self.root / "_rm_monitor" / "earlier").glob("attempt-*/kept/*/model.safetensors")
        }
        for mark in self.called_best.values():
            assert mark in {m for _, m in there}


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """No page and no console: they are other tests', and cost more than the life does."""
    monkeypatch.setattr("rm_monitor.monitor.parts.load_sinks", lambda asked: [])
    monkeypatch.setattr("rm_monitor.monitor.life.say", lambda text: None, raising=False)
    for module in ("parts", "run", "loop"):
        monkeypatch.setattr(f"rm_monitor.monitor.{module}.say", lambda text: None)
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


EXAMPLES = int(os.environ.get("RM_MONITOR_LIVES", "300"))
COMMON = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}


@pytest.mark.timeout(3600 if EXAMPLES > 300 else 240)
def test_every_life_keeps_the_laws():
    run_state_machine_as_test(
        Life, settings=settings(max_examples=EXAMPLES, stateful_step_count=10, **COMMON)
    )


def _deleted(self, attempt, spare=()):
    for step, _, path in self._folders():
        if step not in spare:
            shutil.rmtree(path, ignore_errors=True)


OLD_FAULTS = {
    "what an earlier attempt called best is deleted": ("checkpoints.keeper.Keeper.set_aside", _deleted),
    "an evaluation after the end begins afresh": ("monitor.run.Run.reopen", lambda self: self.begin(None)),
    "a loop that goes on is taken for a fresh run": ("monitor.monitor.resumes_from", lambda *a: None),
    "a rollback supersedes nothing": (
        "records.history.History.begin",
        lambda self, resume, _whole=History.begin: _whole(self, 2**53),
    ),
    "a run that is open is gone on with": (
        "monitor.monitor.RewardMonitor.begin",
        lambda self, _whole=RewardMonitor.begin, **more: (
            self._run if self._run is not None and self._run.state == "open" else _whole(self, **more)
        ),
    ),
}


@pytest.mark.parametrize("fault", OLD_FAULTS)
def test_any_old_fault_put_back_breaks_a_law(fault, monkeypatch):
    """The machine is worth its name only if it finds what was once wrong."""
    where, broken = OLD_FAULTS[fault]
    monkeypatch.setattr(f"rm_monitor.{where}", broken)
    search = settings(
        max_examples=200, stateful_step_count=10, phases=[Phase.generate], derandomize=True, **COMMON
    )
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Life, settings=search)
