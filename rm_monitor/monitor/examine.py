"""Are the prompts, or what answers are compared with, in the training set? Looked at once, at the start."""

from __future__ import annotations

from functools import partial
from typing import Any

from rm_monitor.messages.failures import FailureLog
from rm_monitor.monitor.quietly import quietly, say
from rm_monitor.monitor.run import Run
from rm_monitor.prompts import PromptSet, contamination
from rm_monitor.types import ReferenceSet

__all__ = ["examine"]


def examine(
    run: Run,
    prompts: PromptSet,
    references: tuple[ReferenceSet, ...],
    dataset: Any,
    tokenizer: Any,
    failures: FailureLog,
) -> None:
    """Look, within bounds, say what was found, and note it in the run's manifest.

    Args:
        run: Where it is noted.
        prompts: The fixed prompts.
        references: What answers are compared with; those of the initial policy are of no interest.
        dataset: Rows of texts, conversations, TRL's columns or token ids; None: there is none.
        tokenizer: Decodes token ids.
        failures: Where a failure goes: it costs the look, nothing else.
    """
    if dataset is None:
        return
    decode = None if tokenizer is None else partial(tokenizer.decode, skip_special_tokens=True)
    try:
        with quietly():  # a dataset may draw random numbers when it is read
            rows, total = contamination.rows_of(dataset)
            found = contamination.check(tuple(prompts), references, rows, decode=decode, total=total)
        run.contaminated(found.as_dict())
    except Exception as problem:
        failures("contamination", "the training set could not be examined", problem)
        return
    say(f"rm_monitor: {found}")
