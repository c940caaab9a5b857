"""`Measurer`: answers and their values, with the weights as they stand. The first half of an evaluation.

Every rank answers its share of the prompts (`Answering`); rank 0 scores all answers. Nothing is recorded
here, and training is left as it was.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rm_monitor.errors import RanksLostError, UnsupportedSetupError
from rm_monitor.evaluation.answering import Answering
from rm_monitor.evaluation.early_stop import Duel
from rm_monitor.evaluation.scorer_set import Panel
from rm_monitor.prompts import PromptSet
from rm_monitor.prompts.conditions import manifest
from rm_monitor.prompts.format import PromptFormat
from rm_monitor.prompts.initial_answers import OwnReferences
from rm_monitor.training.ranks import Ranks
from rm_monitor.training.sharded import Setup
from rm_monitor.types import Completion, FloatArray, Generator, ReferenceSet, Sampling, Table

__all__ = ["Measured", "Measurer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What answering and scoring gave.

    Attributes:
        table: Completions and values; None if it failed, and on every rank but the first.
        error: Why it failed.
        skipped: Why it was left out on purpose; empty when it was not.
        facts: ``seconds``, ``seconds_generate``, ``seconds_score``, ``tokens``, ``tokens_per_second``,
            ``score_tokens``, ``score_tokens_per_second``, ``cache_hits`` (share of scores that were kept);
            ``same_weights_as``: the step whose numbers these are; ``early_stop``: the share of the prompts
            that was answered, where fewer than all might have been.
        weights: Name of the weights that answered; empty: unknown.
        level: Of every interval by itself.
        stopped: Why not all prompts were answered; empty: all were.
    """

    table: Table | None
    error: Exception | None = None
    skipped: str = ""
    facts: Mapping[str, float] = field(default_factory=dict)
    weights: str = ""
    level: float = 0.95
    stopped: str = ""


class Measurer:
    """Answers fixed prompts and lets the panel judge the answers.

    Args:
        prompts: The fixed prompts.
        references: Fixed reference sets; empty: the first answers become the references, and are kept.
        panel: The judges; None on every rank but the first.
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
        panel: Panel | None,
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
        self._panel = panel
        self._own = None if references else OwnReferences(prompts)

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
    def panel(self) -> Panel:
        """The judges; only rank 0 has them."""
        assert self._panel is not None, "only rank 0 scores"
        return self._panel

    @property
    def needs_references(self) -> bool:
        """Whether the next answers become the references."""
        return not self.references

    @property
    def given_references(self) -> ReferenceSet | None:
        """The first reference set that the user gave; None when the initial policy's answers serve."""
        return None if self._own is not None else self.references[0]

    def start(self, ranks: Ranks, folder: Path) -> None:
        """Say which process this is and where the initial policy's answers are kept."""
        self._answering.ranks = ranks
        if self._own is not None:
            self._own.folder = folder / "references"

    def resume(self) -> None:
        """Load the initial policy's answers of an earlier process: they are never made again."""
        if self._own is not None:
            self.references = self._own.load()

    def manifest(self, metric: str) -> dict[str, Any]:
        """What the numbers depend on."""
        return manifest(
            prompts=self.prompts,
            references=self.references,
            scorers=self.panel.scorers,
            sampling=self.sampling,
            seed=self._answering.seed,
            metric=metric,
            prompt_format=self.prompt_format,
        )

    def reference_rewards(self) -> FloatArray | None:
        """``(n,)`` rewards of the first reference set; None without one."""
        return self.panel.expected(self.references)

    # ------------------------------------------------------------------ one measurement

    def prepare(self, model: Any) -> Setup:
        """Look how the model is spread over processes.

        Raises:
            UnsupportedSetupError: If it cannot answer safely; the message has the way out.
        """
        return self._answering.prepare(model)

    def weights(self, model: Any, tokenizer: Any) -> str:
        """Name of what answers; empty where the same weights need not say the same again."""
        if self.generator is not None and not getattr(self.generator, "repeats", False):
            return ""
        from rm_monitor.training.digest import fingerprint  # noqa: PLC0415  needs torch

        return fingerprint(model, tokenizer)

    def measure(self, model: Any, tokenizer: Any, *, step: int, duel: Duel | None = None) -> Measured:
        """Answer and score; what goes wrong is in the result, not raised.

        Args:
            model: The model as it stands.
            tokenizer: Its tokenizer.
            step: Optimizer step.
            duel: How it may end early; None: all prompts are answered at once.

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
            if duel is not None:
                return self._in_blocks(model, tokenizer, step, duel)
            completions = self._answering.answer(self.prompts, model, tokenizer, step)
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

    def _in_blocks(self, model: Any, tokenizer: Any, step: int, duel: Duel) -> Measured:
        """Answer and score block by block; one process only."""
        from rm_monitor.training.undisturbed import undisturbed  # noqa: PLC0415  needs torch

        facts = {"seconds_generate": 0.0, "seconds_score": 0.0}
        asked, before = tuple(self.prompts), self.panel.spent()

        def answer(rows: Sequence[int]) -> list[list[Completion]]:
            with _timed(facts, "seconds_generate"):
                return self._answering.answer(
                    self.prompts.only([asked[i] for i in rows]), model, tokenizer, step
                )

        def score(
            rows: Sequence[int], completions: Sequence[Sequence[Completion]]
        ) -> Mapping[str, FloatArray]:
            with _timed(facts, "seconds_score"), undisturbed(model, tokenizer):
                panel, references = self.panel.part(rows, self.references)
                return panel.values(completions, references)

        answers, level, stopped = duel.run(asked, self.sampling.samples_per_prompt, answer, score)
        facts |= {
            "seconds": facts["seconds_generate"] + facts["seconds_score"],
            "early_stop": answers.n / len(asked),
            "tokens": float(answers.tokens),
            **dict(_since(before, self.panel.spent(), facts["seconds_score"])),
        }
        return Measured(table=answers.table(), facts=facts, level=level, stopped=stopped)

    def rewards(self, prompts: PromptSet, model: Any, tokenizer: Any, *, step: int) -> Measured:
        """Answer other prompts and score them by the primary judge: its table holds ``reward`` alone."""
        from rm_monitor.training.undisturbed import undisturbed  # noqa: PLC0415  needs torch

        try:
            rows = self._answering.answer(prompts, model, tokenizer, step)
            if not self.ranks.is_first:
                return Measured(table=None)
            scorer = self.panel.scorers[self.panel.primary]
            with undisturbed(model, tokenizer):
                values = Panel({self.panel.primary: scorer}, tuple(prompts)).values(rows, ())
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
        facts |= getattr(self.generator, "measured", {})  # what it knows of its own cost
        tokens = sum(max(c.n_tokens, 0) for row in completions for c in row)
        facts["tokens"] = float(tokens)
        if tokens:
            facts["tokens_per_second"] = tokens / max(facts["seconds_generate"], 1e-9)
        if self._own is not None:
            if self.needs_references:
                self.references = self._own.make(completions, step)
            self._own.keep()
        before, facts["seconds_score"] = self.panel.spent(), 0.0
        with _timed(facts, "seconds_score"):
            values = self.panel.values(completions, self.references)
        facts.update(_since(before, self.panel.spent(), facts["seconds_score"]))
        if self.panel.noise:
            facts["noise"] = self.panel.noise  # for whoever compares these rewards with others later
        return Table(
            prompt_ids=tuple(p.id for p in self.prompts),
            completions=tuple(tuple(row) for row in completions),
            values=values,
        )


def _since(before: Mapping[str, int], now: Mapping[str, int], seconds: float) -> Iterator[tuple[str, float]]:
    """What the judges did in these seconds, by `Panel.spent`."""
    done = {name: count - before[name] for name, count in now.items()}
    if looked := done["kept"] + done["new"]:
        yield "cache_hits", done["kept"] / looked
    if done["tokens"]:
        yield "score_tokens", float(done["tokens"])
        yield "score_tokens_per_second", done["tokens"] / max(seconds, 1e-9)


@contextmanager
def _timed(facts: dict[str, float], name: str) -> Iterator[None]:
    began = time.monotonic()
    try:
        yield
    finally:
        facts[name] += time.monotonic() - began
