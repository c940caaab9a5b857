"""`Answering`: every process answers its share of the prompts, and all learn what became of every share.

A failure on one rank must be known on all, and no rank may wait for one that will never come: where a
collective follows, all agree first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from rm_monitor.errors import GenerationError, UnsupportedSetupError
from rm_monitor.evaluation.progress import SlowBar
from rm_monitor.prompts import PromptSet
from rm_monitor.prompts.format import PromptFormat
from rm_monitor.training.ranks import Ranks
from rm_monitor.training.sharded import Setup, describe, whole
from rm_monitor.types import Completion, Generator, NeedsModel, Sampling

if TYPE_CHECKING:
    from rm_monitor.generators.kl import InitialPolicy

__all__ = ["Answering"]

_Answers: TypeAlias = list[tuple[int, list[Completion]]]  # with the number of the prompt they answer


class Answering:
    """Asks a model, or a generator that needs none.

    Args:
        sampling: How completions are drawn.
        seed: Of sampling.
        generator: How completions are made; None: in this process.
        kl: The initial policy, as `rm_monitor.generators.kl.InitialPolicy` takes it; None: no KL.
        keep_sharded: Generate with the sharded model where weights are sharded, instead of with whole
            weights.
        prompt_format: How prompts become what the policy is asked; None: by its chat template.

    Attributes:
        prompt_format: The same; "as-trained" is to be replaced by what was found before anything is asked.
        ranks: The processes that share the prompts.
    """

    def __init__(
        self,
        *,
        sampling: Sampling,
        seed: int,
        generator: Generator | None,
        kl: Any = None,
        keep_sharded: bool = False,
        prompt_format: PromptFormat | None = None,
    ) -> None:
        self.prompt_format = prompt_format or PromptFormat()
        self.sampling = sampling
        self.seed = seed
        self.generator = generator
        self.ranks = Ranks.alone()
        self._keep_sharded = keep_sharded
        self._kl = kl
        self._initial: InitialPolicy | None = None
        self.begin(self.ranks)

    def begin(self, ranks: Ranks, folder: Path | None = None, *, resumes: bool = True) -> None:
        """Begin with a run, whose initial policy is another one's no more.

        Args:
            ranks: The processes that share the prompts.
            folder: Of the run, where what was trained at step 0 may be kept; None: nowhere.
            resumes: What an earlier process kept there is this run's.
        """
        self.ranks = ranks
        if self._kl is not None and self._kl is not False:
            from rm_monitor.generators.initial_adapter import forget  # noqa: PLC0415  needs torch
            from rm_monitor.generators.kl import InitialPolicy  # noqa: PLC0415

            if folder is not None and ranks.is_first and not resumes:
                forget(folder)
            self._initial = InitialPolicy(self._kl, folder if ranks.is_first or resumes else None)

    def prepare(self, model: Any) -> Setup:
        """Look how the model is spread over processes.

        Raises:
            UnsupportedSetupError: If it cannot answer safely; the message has the way out.
        """
        own = self.generator
        if own is not None and isinstance(own, NeedsModel) and not own.needs_model:
            return Setup()
        setup = describe(model, sharded_forward=self._keep_sharded)
        if setup.forward == "sharded":
            self._check_in_step(model)
        return setup

    def _check_in_step(self, model: Any) -> None:
        """Refuse what would make a rank enter more forwards than the others, who would wait for ever."""
        from rm_monitor.generators.apart import why_not_in_step  # noqa: PLC0415  needs torch
        from rm_monitor.training.unwrap import unwrap  # noqa: PLC0415

        why = why_not_in_step(unwrap(model).config)
        if self._initial is not None:
            why = "`kl` needs forwards of its own, as many as a rank's answers are long"
        if why:
            raise UnsupportedSetupError(
                f"sharded_weights='keep': {why}, and every forward of a sharded model is one of all ranks "
                "together. Leave sharded_weights='gather', which gives every rank whole weights"
            )

    def answer(
        self, asked: PromptSet, model: Any, tokenizer: Any, step: int, optimizer: Any = None
    ) -> list[list[Completion]]:
        """``n`` lists of ``k`` completions, on every rank; each answered its share.

        Raises:
            Exception: What kept this rank from answering; GenerationError if it was another.
        """
        mine, error = self._share(asked, model, tokenizer, step, optimizer)
        payloads, errors = self.ranks.agree(mine, error)  # reached by every rank, whatever happened to it
        if error is not None:
            raise error
        if errors:
            raise GenerationError(_by_rank(errors))
        rows = dict(pair for payload in payloads if payload for pair in payload)
        return [rows[i] for i in sorted(rows)]

    def _share(
        self, asked: PromptSet, model: Any, tokenizer: Any, step: int, optimizer: Any
    ) -> tuple[_Answers | None, Exception | None]:
        """This rank's share of the answers, or what kept it from answering."""
        from rm_monitor.training.undisturbed import undisturbed  # noqa: PLC0415  needs torch

        share = self.ranks.share(list(asked))
        k = self.sampling.samples_per_prompt
        in_step = False
        try:
            with ExitStack() as stack:
                context = undisturbed(model, tokenizer, optimizer=optimizer)
                setup = self._begin(stack, model, context)
                in_step = setup.forward == "sharded"
                missing = self.ranks.largest_share(len(asked)) - len(share) if in_step else 0
                # as many generate calls as every other rank
                prompts = self.prompt_format.ask([p for _, p in share + [(0, asked[0])] * missing])
                tokenizer = self.prompt_format.tokenizer(tokenizer)
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

    def _generate(self, prompts: Sequence[Any], model: Any, tokenizer: Any) -> list[Completion]:
        if self.generator is None:
            from rm_monitor.generators import load_generator  # noqa: PLC0415  needs torch

            self.generator = load_generator()
        bar = SlowBar("answers")
        try:
            answers = self.generator.generate(
                prompts,
                self.sampling,
                seed=self.seed,
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
        odd: list[Any] = [a for a in answers if not isinstance(a, Completion)]  # type: ignore[redundant-expr]
        if odd:
            raise GenerationError(
                "a generator gives Completion(prompt_id=..., text=...) values, got "
                f"{type(odd[0]).__name__} {odd[0]!r:.80}"
            )
        return answers


def _by_rank(errors: Mapping[int, str]) -> str:
    return "; ".join(f"rank {rank}: {text}" for rank, text in errors.items())
