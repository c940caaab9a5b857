"""`rehearse`: two prompts answered and scored before training, so that what cannot work is said at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rm_monitor.errors import RanksLostError, UnsupportedSetupError
from rm_monitor.evaluation.answering import Answering
from rm_monitor.evaluation.scorer_set import ScorerSet
from rm_monitor.prompts import PromptSet
from rm_monitor.types import ReferenceSet

__all__ = ["rehearse"]


def rehearse(
    answering: Answering,
    scorer_set: ScorerSet | None,
    prompts: PromptSet,
    references: Sequence[ReferenceSet],
    model: Any,
    tokenizer: Any,
    *,
    step: int,
) -> str:
    """Answer and score the first two prompts, of which nothing is kept. On every rank.

    Args:
        answering: How prompts are answered.
        scorer_set: The judges; None on every rank but the first.
        prompts: All prompts.
        references: Reference sets of all prompts; empty: there are none yet.
        model: The model as it stands.
        tokenizer: Its tokenizer.
        step: Optimizer step.

    Returns:
        Why it failed; empty where it worked.

    Raises:
        UnsupportedSetupError: If this model cannot answer safely.
        RanksLostError: If another process did not come to agree.
    """
    from rm_monitor.training.undisturbed import undisturbed  # noqa: PLC0415  needs torch

    problem = ""
    two = prompts.only(list(prompts)[:2])
    try:
        rows = answering.answer(two, model, tokenizer, step)
        if scorer_set is not None:
            theirs = [replace(r, completions=r.completions[: len(two)]) for r in references]
            with undisturbed(model, tokenizer):
                values = ScorerSet(scorer_set.scorers, tuple(two)).values(rows, theirs)
            if not {"reward", "win_rate"} & set(values):
                problem = "no completion could be scored"
    except (UnsupportedSetupError, RanksLostError):
        raise
    except Exception as why:
        problem = f"{type(why).__name__}: {why}"
    return answering.ranks.broadcast(problem)
