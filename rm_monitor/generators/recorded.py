"""Completions that were written down before: a file, a dataset, or a mapping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rm_monitor.errors import GenerationError
from rm_monitor.prompts.answers import Answer, matched, named, read_answers
from rm_monitor.text.reasoning import cut
from rm_monitor.types import Completion, Progress, Prompt, Sampling

__all__ = ["RecordedGenerator"]


class RecordedGenerator:
    """Answers that are read once, and matched to prompts by id first, then by what they answer.

    Args:
        source: Whatever `load_prompts` reads, with answers in a column; or a mapping of ids (or texts of
            prompts) to answers.
        column: The column of the answers; None: ``completion``, ``output``, ``response`` ...
    """

    needs_model = False

    def __init__(self, source: Any, *, column: str | None = None) -> None:
        self._answers = read_answers(source, column=column)

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        *,
        seed: int = 0,
        model: Any = None,
        tokenizer: Any = None,
        progress: Progress | None = None,
    ) -> list[Completion]:
        """The recorded answers without their reasoning: one serves for every sample, several are the samples.

        Raises:
            GenerationError: Which prompts have no answer, or neither one nor ``samples_per_prompt``.
        """
        found = matched(self._answers, prompts, what="completions")
        missing = [p for p, answers in zip(prompts, found, strict=True) if not answers]
        if missing:
            raise GenerationError(
                f"{len(missing)} of {len(prompts)} prompts have no recorded completion: {named(missing)}. "
                "Rows are matched by `id`, then by `prompt`"
            )
        return [
            Completion(
                prompt_id=prompt.id,
                text=text,
                reasoning=reasoning,
                sample=k,
                finish_reason=answer.finish_reason,
            )
            for prompt, answers in zip(prompts, found, strict=True)
            for k, answer in enumerate(_samples(prompt, answers, sampling.samples_per_prompt))
            for text, reasoning in [cut(answer.text)]
        ]


def _samples(prompt: Prompt, answers: Sequence[Answer], n: int) -> list[Answer]:
    if len({answer.text for answer in answers}) == 1:
        return [answers[0]] * n
    if len(answers) != n:
        places = ", ".join(answer.place for answer in answers[:4])
        raise GenerationError(
            f"{len(answers)} different completions are recorded for prompt {prompt.label} ({places}), and "
            f"`samples_per_prompt` is {n}: keep one, or set it to {len(answers)}"
        )
    return list(answers)
