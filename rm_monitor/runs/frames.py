"""What a run holds as columns: for data frames, CSV, Parquet and notebooks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

from rm_monitor.types import Completion, EvalPoint, Prompt, ReferenceSet, Table

__all__ = ["Kind", "columns_of_completions", "columns_of_curve", "kind_of"]

Kind: TypeAlias = Literal["curve", "completions"]
Columns: TypeAlias = dict[str, list[Any]]


def kind_of(text: str) -> Kind:
    """``curve`` or ``completions``.

    Raises:
        ValueError: If it is neither.
    """
    for kind in get_args(Kind):
        if text == kind:
            return kind  # type: ignore[no-any-return]
    raise ValueError(f"`kind` is one of {list(get_args(Kind))}, got {text!r}")


def columns_of_curve(curve: Sequence[EvalPoint]) -> Columns:
    """One row an evaluation, gaps included.

    Returns:
        ``step``, ``status``, ``reason``, ``segment``, ``attempt``, ``checkpoint``; then of each metric
        ``<name>``, ``<name>_low``, ``<name>_high`` (the 95 % interval) and ``<name>_n`` (prompts behind it).
        None where nothing is known.

    Example:
        >>> from rm_monitor.types import Estimate
        >>> point = EvalPoint(step=5, metrics={"win_rate": Estimate(0.5, 0.25, 0.75, 8)})
        >>> columns = columns_of_curve([point])
        >>> columns["step"], columns["win_rate"], columns["win_rate_n"]
        ([5], [0.5], [8])
    """
    facts = ("step", "status", "reason", "segment", "attempt", "checkpoint")
    columns: Columns = {name: [getattr(point, name) for point in curve] for name in facts}
    for metric in _names(point.metrics for point in curve):
        for end, suffix in (("value", ""), ("low", "_low"), ("high", "_high"), ("n", "_n")):
            columns[metric + suffix] = [
                _known(getattr(point.metrics[metric], end)) if metric in point.metrics else None
                for point in curve
            ]
    return columns


def columns_of_completions(
    tables: Mapping[int, Table], prompts: Sequence[Prompt], references: Sequence[ReferenceSet] = ()
) -> Columns:
    """One row a completion.

    Args:
        tables: Step -> what was answered there.
        prompts: For their texts; a prompt that is not among them has none.
        references: Each gives a column ``reference`` (the first) or ``reference/<name>``.

    Returns:
        ``step``, ``prompt_id``, ``row`` (1-based, of the prompt's source), ``prompt``, ``tags``, the
        references, ``sample``, ``completion``, ``reasoning``, ``finish_reason``, ``n_tokens``; then each
        metric's value for this completion. None where nothing is known.
    """
    by_id = {prompt.id: prompt for prompt in prompts}
    texts = {
        "reference" if k == 0 else f"reference/{one.name}": {c.prompt_id: c.text for c in one.completions}
        for k, one in enumerate(references)
    }
    metrics = _names(table.values for table in tables.values())
    columns: Columns = {name: [] for name in ("step", "prompt_id", "row", "prompt", "tags", *texts)}
    columns |= {
        name: [] for name in ("sample", "completion", "reasoning", "finish_reason", "n_tokens", *metrics)
    }
    for step, table in tables.items():
        for i, samples in enumerate(table.completions):
            prompt = by_id.get(table.prompt_ids[i])
            asked = _asked(prompt) | {name: known.get(table.prompt_ids[i]) for name, known in texts.items()}
            for j, completion in enumerate(samples):
                scores = {m: _known(table.values[m][i, j]) if m in table.values else None for m in metrics}
                row = {"step": step, **asked, **_answered(completion), **scores}
                for name, column in columns.items():
                    column.append(row[name])
    return columns


def _asked(prompt: Prompt | None) -> dict[str, Any]:
    if prompt is None:
        return {"row": None, "prompt": None, "tags": None}
    return {"row": prompt.row or None, "prompt": prompt.text, "tags": " ".join(prompt.tags)}


def _answered(completion: Completion) -> dict[str, Any]:
    return {
        "prompt_id": completion.prompt_id,
        "sample": completion.sample,
        "completion": completion.text,
        "reasoning": completion.reasoning,
        "finish_reason": completion.finish_reason,
        "n_tokens": completion.n_tokens,
    }


def _names(mappings: Any) -> list[str]:
    """Keys of all, in the order they first came."""
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))


def _known(number: float) -> float | None:
    number = number if isinstance(number, int) else float(number)
    return number if math.isfinite(number) else None
