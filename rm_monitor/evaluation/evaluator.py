"""`Evaluator`: answers and their values, with the weights as they stand. The first half of an evaluation.

Every rank answers its share of the prompts (`Answering`); rank 0 scores all answers. Nothing is recorded
here, and training is left as it was.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rm_monitor.curve.measured import Measured
from rm_monitor.errors import RanksLostError, UnsupportedSetupError
from rm_monitor.evaluation.answering import Answering
from rm_monitor.evaluation.costs import since, timed
from rm_monitor.evaluation.rehearsal import rehearse
from rm_monitor.evaluation.scorer_set import ScorerSet
from rm_monitor.prompts import PromptSet
from rm_monitor.prompts.conditions import Conditions
from rm_monitor.prompts.format import PromptFormat
from rm_monitor.prompts.initial_answers import OwnReferences
from rm_monitor.training.ranks import Ranks
from rm_monitor.training.sharded import Setup
from rm_monitor.types import (
    Completion,
    FloatArray,
    Generator,
    KnowsItsCost,
    ReferenceSet,
    Repeatable,
    Sampling,
    Table,
)

__all__ = ["Evaluator"]


class Evaluator:
    """Answers fixed prompts and lets the judges judge the answers.

    Args:
        prompts: The fixed prompts.
        references: Fixed reference sets; empty: the first answers become the references, and are kept.
        scorer_set: The judges; None on every rank but the first.
        sampling: How completions are drawn.
        seed: Of sampling.
        generator: How completions are made; None: in this process.
        kl: The initial policy, as `rm_monitor.generators.kl.InitialPolicy` takes it; None: no KL.
        keep_sharded: Generate with the sharded model where weights are sharded, instead of with whole
        weights.
        prompt_format: How prompts become what the policy is asked; None: by its chat template.
    """

    def __init__(
        self,
        prompts: PromptSet,
        references: tuple[ReferenceSet, ...],
        scorer_set: ScorerSet | None,
        *,
        sampling: Sampling,
        seed: int,
        generator: Generator | None,
        kl: Any = None,
        keep_sharded: bool = False,
        prompt_format: PromptFormat | None = None,
    ) -> None:
        self.prompts = prompts
        self.references = references
        self.sampling = sampling
        self._answering = Answering(
            sampling=sampling,
            seed=seed,
            generator=generator,
            kl=kl,
            keep_sharded=keep_sharded,
            prompt_format=prompt_format,
        )
        self._scorer_set = scorer_set
        self._own = None if references else OwnReferences(prompts)
        self._conditions: Conditions | None = None

    @property
    def ranks(self) -> Ranks:
        """The processes that share the prompts."""
        return self._answering.ranks

    @property
    def generator(self) -> Generator | None:
        """How completions are made; None: in this process, not needed so far."""
        return self._answering.generator

    @generator.setter
    def generator(self, generator: Generator) -> None:
        self._answering.generator = generator

    @property
    def prompt_format(self) -> PromptFormat:
        """How prompts become what the policy is asked; judges read the prompts as they came."""
        return self._answering.prompt_format

    @prompt_format.setter
    def prompt_format(self, found: PromptFormat) -> None:
        self._answering.prompt_format = found

    @property
    def has_judges(self) -> bool:
        """Whether this process scores."""
        return self._scorer_set is not None

    @property
    def scorer_set(self) -> ScorerSet:
        """The judges; only the process that scores has them.

        Raises:
            UnsupportedSetupError: On another process.
        """
        if self._scorer_set is None:
            raise UnsupportedSetupError(
                f"rank {self.ranks.rank} does not score: the reward model is loaded on rank 0 alone"
            )
        return self._scorer_set

    def judge_with(self, scorer_set: ScorerSet) -> None:
        """Score with these judges from now on."""
        self._scorer_set = scorer_set

    @property
    def needs_references(self) -> bool:
        """Whether the next answers become the references."""
        return not self.references

    def begin(self, ranks: Ranks, folder: Path | None, *, resumes: bool) -> None:
        """Begin with a run: nothing of an earlier one's initial policy is used, unless this run goes on.

        Args:
            ranks: The processes that share the prompts.
            folder: Where the initial policy's answers are kept; None: nowhere.
            resumes: The answers of an earlier process are read: they are never made again.

        Raises:
            StoreError: If they are there and damaged.
        """
        self._answering.begin(ranks, folder, resumes=resumes)
        if self._own is not None:
            self._own = OwnReferences(self.prompts)
            self._own.folder = None if folder is None else folder / "references"
            self.references = self._own.load() if resumes else ()

    def conditions(self, metric: str) -> Conditions:
        """What the numbers depend on, as of now; a judge that changed under way has another fingerprint."""
        scorers = {name: scorer.fingerprint for name, scorer in self.scorer_set.scorers.items()}
        known = self._conditions
        if (
            known is None
            or (known.scorers, known.metric) != (scorers, metric)
            or known.references is not self.references
            or known.prompt_format != self.prompt_format
        ):
            known = self._conditions = Conditions(
                prompts=self.prompts,
                references=self.references,
                scorers=scorers,
                sampling=self.sampling,
                seed=self._answering.seed,
                metric=metric,
                prompt_format=self.prompt_format,
            )
        return known

    def reference_rewards(self) -> FloatArray | None:
        """``(n,)`` rewards of the first reference set; None without one."""
        return self.scorer_set.expected(self.references)

    # ------------------------------------------------------------------ one measurement

    def prepare(self, model: Any) -> Setup:
        """Look how the model is spread over processes.

        Raises:
            UnsupportedSetupError: If it cannot answer safely; the message has the way out.
        """
        return self._answering.prepare(model)

    @property
    def repeats(self) -> bool:
        """Whether the same weights say the same again, so that they need not."""
        own = self.generator
        return own is None or (isinstance(own, Repeatable) and own.repeats)

    def weights(self, model: Any, tokenizer: Any) -> str:
        """Name of what answers, bit by bit; empty where it cannot be told."""
        if model is None:
            return ""
        from rm_monitor.training.digest import fingerprint  # noqa: PLC0415  needs torch

        return fingerprint(model, tokenizer)

    def rehearse(self, model: Any, tokenizer: Any, *, step: int) -> str:
        """Answer and score two prompts, of which nothing is kept; why it failed, else empty. On every rank.

        Raises:
            UnsupportedSetupError: If this model cannot answer safely.
            RanksLostError: If another process did not come to agree.
        """
        return rehearse(
            self._answering, self._scorer_set, self.prompts, self.references, model, tokenizer, step=step
        )

    def measure(self, model: Any, tokenizer: Any, *, step: int, optimizer: Any = None) -> Measured:
        """Answer and score; what goes wrong is in the result, not raised.

        Args:
            model: The model as it stands.
            tokenizer: Its tokenizer.
            step: Optimizer step.
            optimizer: One that keeps other weights for evaluation is asked for them.

        Raises:
            UnsupportedSetupError: If this model cannot answer safely.
            RanksLostError: If another process did not come to agree.
        """
        from rm_monitor.training.undisturbed import undisturbed  # noqa: PLC0415  needs torch

        began = time.monotonic()
        facts: dict[str, float] = {}
        table: Table | None = None
        error: Exception | None = None
        try:
            completions = self._answering.answer(self.prompts, model, tokenizer, step, optimizer)
            facts["seconds_generate"] = time.monotonic() - began
            if self.ranks.is_first:
                with undisturbed(model, tokenizer):
                    table = self._score(completions, step, facts)
        except (UnsupportedSetupError, RanksLostError):
            raise
        except Exception as problem:
            error = problem
        facts["seconds"] = time.monotonic() - began
        return Measured(table=table, error=error, facts=facts)

    def rewards(self, prompts: PromptSet, model: Any, tokenizer: Any, *, step: int) -> Measured:
        """Answer other prompts and score them by the primary judge: its table holds ``reward`` alone."""
        from rm_monitor.training.undisturbed import undisturbed  # noqa: PLC0415  needs torch

        try:
            rows = self._answering.answer(prompts, model, tokenizer, step)
            if not self.ranks.is_first:
                return Measured(table=None)
            scorer = self.scorer_set.scorers[self.scorer_set.primary]
            with undisturbed(model, tokenizer):
                values = ScorerSet({self.scorer_set.primary: scorer}, tuple(prompts)).values(rows, ())
        except (UnsupportedSetupError, RanksLostError):
            raise
        except Exception as problem:
            return Measured(table=None, error=problem)
        table = Table(
            prompt_ids=tuple(p.id for p in prompts),
            completions=tuple(tuple(row) for row in rows),
            values={"reward": values["reward"]},
        )
        return Measured(table=table)

    def _score(self, completions: list[list[Completion]], step: int, facts: dict[str, float]) -> Table:
        """The values of all answers; on rank 0."""
        if (own := self.generator) is not None and isinstance(own, KnowsItsCost):
            facts |= own.measured
        tokens = sum(max(c.n_tokens, 0) for row in completions for c in row)
        facts["tokens"] = float(tokens)
        if tokens:
            facts["tokens_per_second"] = tokens / max(facts["seconds_generate"], 1e-9)
        if self._own is not None:
            if self.needs_references:
                self.references = self._own.make(completions, step)
            self._own.keep()
        before, facts["seconds_score"] = self.scorer_set.spent(), 0.0
        with timed(facts, "seconds_score"):
            values = self.scorer_set.values(completions, self.references)
        facts.update(since(before, self.scorer_set.spent(), facts["seconds_score"]))
        if self.scorer_set.noise:
            facts["noise"] = self.scorer_set.noise  # for whoever compares these rewards with others later
        return Table(
            prompt_ids=tuple(p.id for p in self.prompts),
            completions=tuple(tuple(row) for row in completions),
            values=values,
        )
