"""`Measurer`: answers and their values, with the weights as they stand. The first half of an evaluation.

Every rank answers its share of the prompts; rank 0 scores all answers. Nothing is recorded here, and
training is left as it was.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from rm_monitor.early_stop import Duel
from rm_monitor.errors import GenerationError, RanksLostError, UnsupportedSetupError
from rm_monitor.manifest import manifest
from rm_monitor.panel import Panel
from rm_monitor.progress import SlowBar
from rm_monitor.prompts import PromptSet
from rm_monitor.ranks import Ranks
from rm_monitor.references import load_references, save_references
from rm_monitor.sharded import Setup, describe, whole
from rm_monitor.types import Completion, FloatArray, Generator, ReferenceSet, Sampling, Table

if TYPE_CHECKING:
    from rm_monitor.generators.kl import InitialPolicy

__all__ = ["Measured", "Measurer"]

log = logging.getLogger("rm_monitor")

INITIAL = "initial"  # name of the reference set that the initial policy answered


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What answering and scoring gave.

    Attributes:
        table: Completions and values; None if it failed, and on every rank but the first.
        error: Why it failed.
        skipped: Why it was left out on purpose; empty when it was not.
        facts: ``seconds``, ``seconds_generate``, ``seconds_score``, ``tokens``, ``tokens_per_second``;
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


_Answers: TypeAlias = list[tuple[int, list[Completion]]]  # with the number of the prompt they answer


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
    ) -> None:
        self.prompts = prompts
        self.references = references
        self.sampling = sampling
        self.generator = generator
        self.ranks = Ranks.alone()
        self._panel = panel
        self._seed = seed
        self._keep_sharded = keep_sharded
        self._own = not references
        self._folder: Path | None = None
        self._unkept: ReferenceSet | None = None  # answers of the initial policy that no disk has yet
        self._initial: InitialPolicy | None = None
        if kl is not None and kl is not False:
            from rm_monitor.generators.kl import InitialPolicy  # noqa: PLC0415  needs torch

            self._initial = InitialPolicy(kl)

    @property
    def panel(self) -> Panel:
        """The judges; only rank 0 has them."""
        assert self._panel is not None, "only rank 0 scores"
        return self._panel

    @property
    def needs_references(self) -> bool:
        """Whether the next answers become the references."""
        return self._own and not self.references

    @property
    def given_references(self) -> ReferenceSet | None:
        """The first reference set that the user gave; None when the initial policy's answers serve."""
        return None if self._own or not self.references else self.references[0]

    def start(self, ranks: Ranks, folder: Path) -> None:
        """Say which process this is and where the initial policy's answers are kept."""
        self.ranks, self._folder = ranks, folder / "references"

    def resume(self) -> None:
        """Load the initial policy's answers of an earlier process: they are never made again."""
        if self._own and self._folder is not None:
            kept = load_references(self._folder, INITIAL, self.prompts)
            self.references = () if kept is None else (kept,)

    def manifest(self, metric: str) -> dict[str, Any]:
        """What the numbers depend on."""
        return manifest(
            prompts=self.prompts,
            references=self.references,
            scorers=self.panel.scorers,
            sampling=self.sampling,
            seed=self._seed,
            metric=metric,
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
        if not getattr(self.generator, "needs_model", True):
            return Setup()
        return describe(model, sharded_forward=self._keep_sharded)

    def weights(self, model: Any, tokenizer: Any) -> str:
        """Name of what answers; empty where the same weights need not say the same again."""
        if self.generator is not None and not getattr(self.generator, "repeats", False):
            return ""
        from rm_monitor.same_weights import fingerprint  # noqa: PLC0415  needs torch

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
        from rm_monitor.undisturbed import undisturbed  # noqa: PLC0415  needs torch

        began = time.monotonic()
        facts: dict[str, float] = {}
        table: Table | None = None
        error: Exception | None = None
        try:
            if duel is not None:
                return self._in_blocks(model, tokenizer, step, duel)
            completions = self._answer(self.prompts, model, tokenizer, step)
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
        from rm_monitor.undisturbed import undisturbed  # noqa: PLC0415  needs torch

        facts = {"seconds_generate": 0.0, "seconds_score": 0.0}
        asked = tuple(self.prompts)

        def answer(rows: Sequence[int]) -> list[list[Completion]]:
            with _timed(facts, "seconds_generate"):
                return self._answer(self.prompts.only([asked[i] for i in rows]), model, tokenizer, step)

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
        }
        return Measured(table=answers.table(), facts=facts, level=level, stopped=stopped)

    def rewards(self, prompts: PromptSet, model: Any, tokenizer: Any, *, step: int) -> Measured:
        """Answer other prompts and score them by the primary judge: its table holds ``reward`` alone."""
        from rm_monitor.undisturbed import undisturbed  # noqa: PLC0415  needs torch

        try:
            rows = self._answer(prompts, model, tokenizer, step)
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

    def _answer(self, asked: PromptSet, model: Any, tokenizer: Any, step: int) -> list[list[Completion]]:
        """``n`` lists of ``k`` completions, on every rank; each answered its share.

        Raises:
            Exception: What kept this rank from answering; GenerationError if it was another.
        """
        mine, error = self._own_answers(asked, model, tokenizer, step)
        payloads, errors = self.ranks.agree(mine, error)  # reached by every rank, whatever happened to it
        if error is not None:
            raise error
        if errors:
            raise GenerationError(_by_rank(errors))
        rows = dict(pair for payload in payloads if payload for pair in payload)
        return [rows[i] for i in sorted(rows)]

    def _own_answers(
        self, asked: PromptSet, model: Any, tokenizer: Any, step: int
    ) -> tuple[_Answers | None, Exception | None]:
        """This rank's share of the answers, or what kept it from answering."""
        from rm_monitor.undisturbed import undisturbed  # noqa: PLC0415

        share = self.ranks.share(list(asked))
        k = self.sampling.samples_per_prompt
        in_step = False
        try:
            with ExitStack() as stack:
                setup = self._begin(stack, model, undisturbed(model, tokenizer))
                in_step = setup.forward == "sharded"
                missing = self.ranks.largest_share(len(asked)) - len(share) if in_step else 0
                # as many generate calls as every other rank
                prompts = [prompt for _, prompt in share + [(0, asked[0])] * missing]
                module = stack.enter_context(whole(model, setup))
                answers = self._generate(prompts, module, tokenizer)
                if self._initial is not None and model is not None:
                    each = [prompt for prompt in prompts for _ in range(k)]
                    answers = self._initial.measured(
                        each, answers, model=module, tokenizer=tokenizer, step=step
                    )
                answers = [replace(c, tokens=()) for c in answers]
        except UnsupportedSetupError:
            raise
        except Exception as problem:
            if in_step:  # the others wait in a forward for this rank: only the end of the job frees them
                raise UnsupportedSetupError(
                    f"rank {self.ranks.rank} failed while the sharded model answered "
                    f"({type(problem).__name__}: {problem}), and the others wait for it: the job ends. "
                    "With sharded_weights='gather' such a failure is a gap on the curve"
                ) from problem
            return None, problem
        return [(i, answers[j * k : (j + 1) * k]) for j, (i, _) in enumerate(share)], None

    def _begin(self, stack: ExitStack, model: Any, context: AbstractContextManager[None]) -> Setup:
        """Look at the model and enter; go on only if every rank could, for gathering weights needs them all.

        Raises:
            Exception: What went wrong here, or on another rank.
        """
        setup, error = Setup(), None
        try:
            setup = self.prepare(model)
            stack.enter_context(context)
        except Exception as problem:
            error = problem
        _, errors = self.ranks.agree(None, error)
        if error is not None:
            raise error
        if errors:
            raise GenerationError(_by_rank(errors))
        return setup

    def _score(self, completions: list[list[Completion]], step: int, facts: dict[str, float]) -> Table:
        """The values of all answers; on rank 0."""
        facts |= getattr(self.generator, "measured", {})  # what it knows of its own cost
        tokens = sum(max(c.n_tokens, 0) for row in completions for c in row)
        facts["tokens"] = float(tokens)
        if tokens:
            facts["tokens_per_second"] = tokens / max(facts["seconds_generate"], 1e-9)
        self._keep_on_disk()
        if self.needs_references:
            self._keep_references(completions, step)
        began = time.monotonic()
        values = self.panel.values(completions, self.references)
        facts["seconds_score"] = time.monotonic() - began
        return Table(
            prompt_ids=tuple(p.id for p in self.prompts),
            completions=tuple(tuple(row) for row in completions),
            values=values,
        )

    def _generate(self, prompts: Sequence[Any], model: Any, tokenizer: Any) -> list[Completion]:
        if self.generator is None:
            from rm_monitor.generators import load_generator  # noqa: PLC0415  needs torch

            self.generator = load_generator()
        bar = SlowBar("answers")
        try:
            answers = self.generator.generate(
                prompts,
                self.sampling,
                seed=self._seed,
                model=model,
                tokenizer=tokenizer,
                progress=bar if self.ranks.is_first else None,
            )
        finally:
            bar.close()
        k = self.sampling.samples_per_prompt
        if len(answers) != len(prompts) * k:
            raise GenerationError(
                f"the generator gave {len(answers)} completions for {len(prompts)} prompts x {k} samples"
            )
        return answers

    def _keep_references(self, completions: Sequence[Sequence[Completion]], step: int) -> None:
        source = "the initial policy" if step == 0 else f"the policy at step {step}"
        if step != 0:
            log.warning(
                "rm_monitor: no answers of the initial policy are kept; %s becomes the reference", source
            )
        own = ReferenceSet(
            name=INITIAL, completions=tuple(replace(row[0], sample=0) for row in completions), source=source
        )
        self.references, self._unkept = (own,), own
        self._keep_on_disk()

    def _keep_on_disk(self) -> None:
        """Write the initial policy's answers; a disk that refuses is asked again at the next evaluation."""
        if self._unkept is None or self._folder is None:
            return
        try:
            save_references(self._folder, self._unkept, self.prompts)
            self._unkept = None
        except OSError as problem:
            log.warning("rm_monitor: the references could not be written yet: %s", problem)


@contextmanager
def _timed(facts: dict[str, float], name: str) -> Iterator[None]:
    began = time.monotonic()
    try:
        yield
    finally:
        facts[name] += time.monotonic() - began


def _by_rank(errors: Mapping[int, str]) -> str:
    return "; ".join(f"rank {rank}: {text}" for rank, text in errors.items())
