"""`Run`: one training's life with the monitor. It is begun once, open, and closed once.

Whatever is remembered between two evaluations lives here and ends with the run: its files, curve, verdict and
best, its budget, its second process, the answers of its initial policy. ``docs/design/life.md`` has the table
of lives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rm_monitor.curve.measured import Measured
from rm_monitor.errors import FirstEvaluationError, RanksLostError, RMMonitorError
from rm_monitor.monitor.described import described
from rm_monitor.monitor.life import EVERY_STEP, Life
from rm_monitor.monitor.plan import Plan
from rm_monitor.monitor.quietly import say
from rm_monitor.monitor.saving import SavesCheckpoint, initial_weights, save_best
from rm_monitor.training.unwrap import tokenizer_of
from rm_monitor.types import EvalPoint

__all__ = ["EVERY_STEP", "Run"]

_LOST = Plan(skipped="other processes did not come to agree earlier in this run")


class Run(Life):
    """What is done in a life: evaluations, and what is told of checkpoints and of the trainer's logs."""

    # ------------------------------------------------------------------ one evaluation

    def touch(self, model: Any, tokenizer: Any, *, step: int, will_judge: bool) -> None:
        """Refuse, before anything is lost, what cannot work; the first call does the work.

        Args:
            model: The model being trained.
            tokenizer: Its tokenizer.
            step: Optimizer step.
            will_judge: These weights are judged next, and that is proof; else two prompts are answered and
                scored, of which nothing is kept.

        Raises:
            ValueError: Prompts that leave this policy no room for an answer.
            UnsupportedSetupError: The distributed set-up cannot be served.
            FirstEvaluationError: The rehearsal failed.
        """
        if self.touched:
            return
        parts, tokenizer = self.parts, tokenizer_of(tokenizer)
        self.trains(model)
        parts.check(model, tokenizer)
        setup = parts.evaluator.prepare(model)
        if self._background is not None:
            self._background.check(model, tokenizer)
        if self._shared.ranks.is_first and (setup.collective or setup.compiled):
            say(f"rm_monitor: answers come from {setup}")
        self.touched = True
        if self._has_worked or parts.settings.on_error == "start-anyway":
            return
        self._is_untried = will_judge
        if will_judge:
            return
        problem = parts.evaluator.rehearse(model, tokenizer, step=step)
        if problem:
            raise FirstEvaluationError(_refusal(f"two prompts were tried before training: {problem}"))

    def evaluate(
        self,
        model: Any = None,
        tokenizer: Any = None,
        *,
        step: int,
        checkpoint: str | Path | None = None,
        save: SavesCheckpoint | None = None,
        about_to_save: bool = False,
        whatever_it_costs: bool = False,
        optimizer: Any = None,
    ) -> EvalPoint:
        """Judge the weights as they stand. See `RewardMonitor.evaluate` for what is not told here.

        With ``about_to_save`` the caller will save these weights if they are the best, then call `saved`;
        with ``whatever_it_costs`` they are judged also over the budget. An ``optimizer`` that keeps other
        weights for evaluation (schedule-free) is asked for them.
        """
        tokenizer = tokenizer_of(tokenizer)
        self.touch(model, tokenizer, step=step, will_judge=True)
        first, self._is_untried = self._is_untried, False
        if step == 0 and checkpoint is None:
            checkpoint = initial_weights(model, self.parts.failures)
        where: dict[str, Any] = {"checkpoint": checkpoint, "save": save, "about_to_save": about_to_save}
        evaluator, fresh = self.parts.evaluator, self.parts.settings.fresh_prompts
        if fresh is not None:
            where["answer_fresh"] = lambda: evaluator.rewards(fresh, model, tokenizer, step=step)
        try:
            plan = _LOST if self._lost else self._plan(model, tokenizer, step, always=whatever_it_costs)
            if self._background is not None and self._background.begun:
                self.last_step = step
                with self._planner.budget.spending(step):  # of training's time: a copy, and waiting for room
                    return self._background.hand_over(
                        plan, model, tokenizer, step=step, checkpoint=checkpoint, record=self.record
                    )
            if plan.skipped:
                return self.record(Measured(table=None, skipped=plan.skipped), step=step, **where)
            with self._planner.budget.spending(step) as spending:
                measured = plan.known or evaluator.measure(model, tokenizer, step=step, optimizer=optimizer)
                point = self.record(replace(measured, weights=plan.weights), step=step, **where)
                spending.whole = point.status == "ok" and plan.known is None
        except RanksLostError as problem:
            self._lose(problem, f"no evaluation at step {step}")
            return EvalPoint(step=step, status="failed", reason=str(problem))
        if first and point.status == "failed":
            raise FirstEvaluationError(_refusal(point.reason))
        if self._background is not None and point.status == "ok":
            self._background.begin(evaluator.references, self.folder, self._shared.recorder)
        return point

    def measure(self, model: Any = None, tokenizer: Any = None, *, step: int) -> Measured:
        """Answer and score with these weights; nothing is recorded. The first half of `evaluate`."""
        return self.parts.evaluator.measure(model, tokenizer, step=step)

    def record(
        self,
        measured: Measured,
        *,
        step: int,
        checkpoint: str | Path | None = None,
        save: SavesCheckpoint | None = None,
        about_to_save: bool = False,
        answer_fresh: Callable[[], Measured] | None = None,
        late: bool = False,
    ) -> EvalPoint:
        """Put a measurement on the curve, judge, elect, show. The second half of `evaluate`.

        Args:
            measured: What was found.
            step: Optimizer step.
            checkpoint: Where the weights lie, if they do.
            save: Writes them, if they are the best so far.
            about_to_save: The caller will save them if they are.
            answer_fresh: Lets them answer fresh prompts, if a warning is to be settled.
            late: It was asked for earlier: what is due next does not depend on it.

        Raises:
            Exception: Whatever went wrong, only if ``on_error="raise"``.
        """
        if not late:
            self.last_step = step
        decision, error = self._shared.record(
            step,
            measured,
            checkpoint=None if checkpoint is None else Path(checkpoint),
            about_to_save=about_to_save or save is not None,
            answer_fresh=answer_fresh,
        )
        if save is not None and decision.best is not None and decision.best.step == step:
            save_best(self.folder, step, save, self._shared.ranks, self.parts.failures, self.saved)
        elif checkpoint is not None and self._shared.recorder is not None:
            self._shared.recorder.keep()
        if decision.error and self.parts.settings.on_error == "raise":
            raise error or RMMonitorError(f"rank 0: {decision.error}")
        return decision.point

    def collect(self, *, wait: bool = False) -> tuple[EvalPoint, ...]:
        """Record what the second process has found; the points that came since the last call."""
        return () if self._background is None else self._background.collect(self.record, wait=wait)

    def saved(self, step: int, checkpoint: str | Path | None) -> None:
        """Tell where the checkpoint of a step lies, None: nowhere. Every rank calls it: rank 0 broadcasts."""
        if self.state != "open" or self._lost:
            return
        if self._shared.recorder is not None and checkpoint is not None:
            self._shared.recorder.lies(step, Path(checkpoint))
            self._shared.recorder.keep()  # the best is linked before rotation can delete it
        try:
            self._shared.share_best()
        except RanksLostError as problem:
            self._lose(problem, f"the best after step {step} is not known to all")

    def look_up(self, model: Any, tokenizer: Any) -> EvalPoint | None:
        """The point of these very weights; None if they were not judged. Every rank calls it."""
        found, recorder = None, self._shared.recorder
        try:
            if recorder is not None:
                found = recorder.look_up(self.parts.evaluator.weights(model, tokenizer))
        except Exception as problem:
            self.parts.failures("weights", "whether these weights were judged cannot be told", problem)
        return None if self._lost else self._shared.ranks.broadcast(found)

    def differs(self, judged: EvalPoint, model: Any, tokenizer: Any) -> bool:
        """Whether the weights as they stand are other ones than a point was made of; every rank calls it."""
        differ = False
        if self.is_first and judged.weights:
            now = self.parts.evaluator.weights(model, tokenizer)
            differ = bool(now) and now != judged.weights
        return not self._lost and self._shared.ranks.broadcast(differ)

    def note(self, step: int, logs: Mapping[str, Any], arguments: Any = None) -> None:
        """Read a record of the trainer's logs: the training reward, and what its reward models are called."""
        same = self._diagnostics.note(step, logs, arguments)
        if same is not None and self._shared.ranks.is_first:
            self.parts.say_signal(same)

    def contaminated(self, found: dict[str, Any]) -> None:
        """Note what of the prompts and references is in the training set."""
        if self._shared.recorder is not None:
            self._shared.recorder.note({"contamination": found})

    def trains(self, model: Any, arguments: Any = None) -> None:
        """Note what is trained, and how, for people who read of it later."""
        if self._shared.recorder is not None:
            self._shared.recorder.note(described(model, arguments))

    def close(self) -> None:
        """Wait for what is outstanding, print the summary and let go of files. Safe to call twice."""
        if self.state != "open":
            return
        self.state = "closed"
        if self._background is not None:
            self._background.collect(self.record, wait=True)
            self._background.close()
        if self._shared.recorder is not None:
            say(self._shared.recorder.close())

    # ------------------------------------------------------------------ parts of it

    def _plan(self, model: Any, tokenizer: Any, step: int, *, always: bool) -> Plan:
        evaluator = self.parts.evaluator
        return self._planner.decide(
            step,
            lambda: evaluator.weights(model, tokenizer),
            lambda name: self._known(name) if evaluator.repeats else None,
            always=always,
        )

    def _known(self, weights: str) -> Measured | None:
        recorder = self._shared.recorder
        before = None if recorder is None else recorder.known(weights)
        return before or self.parts.remembered(weights)


def _refusal(reason: str) -> str:
    return (
        f"the first evaluation failed, so no curve would come of this run: {reason}. Nothing is lost by "
        "mending it now; on_error='start-anyway' trains in any case, with a gap"
    )
