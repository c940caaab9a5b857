"""What every backend in this process shares: rows to answer, the tokens that end one, answers as values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rm_monitor.errors import GenerationError
from rm_monitor.generators.reasoning import opening, split
from rm_monitor.prompts.rendering import prompt_ids
from rm_monitor.types import Completion, Prompt, Sampling

__all__ = ["Row", "completion", "end_tokens", "refuse_not_finite", "rows_of"]


@dataclass(frozen=True, slots=True)
class Row:
    """One answer to give.

    Attributes:
        prompt: What is asked.
        sample: Number of the sample.
        ids: The prompt's ids.
        before: What the template puts before the answer, where reasoning may begin.
    """

    prompt: Prompt
    sample: int
    ids: list[int]
    before: str = ""


def rows_of(prompts: Sequence[Prompt], sampling: Sampling, model: Any, tokenizer: Any) -> list[Row]:
    """Rows in the order in which completions are handed back: prompt by prompt."""
    if prompts and (model is None or tokenizer is None):
        raise GenerationError("answering in this process needs the model and its tokenizer")
    encoder = bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))
    return [
        Row(prompt=p, sample=k, ids=ids, before=before)
        for p in prompts
        for ids, before in [(prompt_ids(p, tokenizer, closed=encoder), opening(p, tokenizer))]
        for k in range(sampling.samples_per_prompt)
    ]


def completion(
    row: Row, tokens: Sequence[int], tokenizer: Any, *, stopped: bool, entropy: float, mass: float
) -> Completion:
    """The answer as a value; ``tokens`` end with the end token if there is one."""
    said = split(tokens, tokenizer, before=row.before)
    return Completion(
        prompt_id=row.prompt.id,
        text=said.answer,
        sample=row.sample,
        finish_reason="stop" if stopped else "length",
        n_tokens=len(tokens),
        reasoning=said.reasoning,
        reasoning_tokens=said.reasoning_tokens,
        entropy=entropy,
        top10_mass=mass,
        tokens=tuple(tokens),
    )


def refuse_not_finite(answers: Sequence[Completion]) -> None:
    """Refuse answers of a policy whose logits are nan or infinite: what is drawn from them is no answer.

    Raises:
        GenerationError: How many, and of which prompt the first is.
    """
    lost = [answer for answer in answers if math.isnan(answer.entropy)]
    if lost:
        raise GenerationError(
            f"the policy's logits are nan or infinite in {len(lost)} of {len(answers)} answers "
            f"(first: prompt {lost[0].prompt_id!r}): training has diverged, or this dtype overflows"
        )


def end_tokens(model: Any, tokenizer: Any) -> tuple[list[int], int]:
    """Tokens that end an answer, and a token to pad with."""
    ends: list[int] = []
    for holder in (getattr(model, "generation_config", None), model.config, tokenizer):
        found = getattr(holder, "eos_token_id", None)
        for token in found if isinstance(found, (list, tuple)) else [found]:
            if token is not None and token not in ends:
                ends.append(int(token))
    # The mask hides it, so any will do; one outside the embedding (a token added without growing it) ends it.
    size = embedded(model)
    usable = (token for token in (tokenizer.pad_token_id, *ends) if token is not None and token < size)
    return ends, int(next(usable, 0))


def embedded(model: Any) -> float:
    """How many tokens the model has embeddings for; infinity if it does not say."""
    try:
        return int(model.get_input_embeddings().num_embeddings)
    except (AttributeError, NotImplementedError, TypeError):
        return math.inf
