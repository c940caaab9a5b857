"""Whether the policy is asked as it is trained, seen before anything is asked; on every rank."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from rm_monitor.errors import RMMonitorError
from rm_monitor.monitor.parts import Parts
from rm_monitor.monitor.quietly import say
from rm_monitor.prompts.as_trained import FormatReport, check_format, find_format
from rm_monitor.prompts.format import PromptFormat
from rm_monitor.prompts.training_rows import training_rows
from rm_monitor.training.ranks import Ranks

__all__ = ["settle_format"]

log = logging.getLogger("rm_monitor")


def settle_format(
    parts: Parts, dataset: Any, model: Any, tokenizer: Any, args: Any = None, *, examine: bool = True
) -> FormatReport | None:
    """Compare what is asked with the training rows, say loudly if they differ, find what is to be found.

    Args:
        parts: Whose prompts and format.
        dataset: The training set; it is read without running code of its own.
        model: The policy, for the tokens that end its answers.
        tokenizer: Its tokenizer.
        args: The trainer's arguments, which may render prompts with ``chat_template_kwargs``.
        examine: Look also where nothing has to be found.

    Returns:
        What the rows say; None on other ranks than the first, and where nothing was looked at.

    Raises:
        ValueError: If the format is to be found and cannot be; on every rank.
    """
    asked = parts.settings.prompt_format
    to_find = asked.kind == "as-trained"
    if not (to_find or examine) or (parts.settings.generator is not None and not to_find):
        return None
    ranks = Ranks.current()
    report: FormatReport | None = None
    found: PromptFormat | None = None
    error: Exception | None = None
    if ranks.is_first:
        try:
            report, found = _look(parts, dataset, model, tokenizer, args)
        except Exception as problem:
            error = problem
    if to_find:
        payloads, errors = ranks.agree(found, error)
        if error is not None:
            raise error
        if errors or payloads[0] is None:
            raise RMMonitorError(f"rank 0 could not find the prompt format: {errors.get(0, errors)}")
        parts.evaluator.prompt_format = payloads[0]
        log.info("rm_monitor: prompts are asked as found in the training rows: %s", payloads[0].as_dict())
    elif error is not None:
        parts.failures("format", "whether the policy is asked as it is trained cannot be told", error)
    if report is not None and report.agrees is False:
        log.warning("rm_monitor: %s", report)
    elif report is not None and report.agrees is None:
        say(f"rm_monitor: {report}")
    elif report is not None:
        log.info("rm_monitor: %s", report)
    return report


def _look(
    parts: Parts, dataset: Any, model: Any, tokenizer: Any, args: Any
) -> tuple[FormatReport | None, PromptFormat | None]:
    asked, prompts = parts.settings.prompt_format, tuple(parts.settings.prompts)
    if tokenizer is None:
        return None, None
    rows = training_rows(dataset)
    more: dict[str, Any] = {"ends": _ends(model, tokenizer), "trainer_kwargs": _template_kwargs(args)}
    if asked.kind == "as-trained":
        return None, find_format(rows, tokenizer, asked, prompts, **more)
    return check_format(rows, tokenizer, asked, prompts, **more), None


def _ends(model: Any, tokenizer: Any) -> list[int]:
    from rm_monitor.generators.rows import end_tokens  # noqa: PLC0415  needed at the start alone
    from rm_monitor.training.unwrap import unwrap  # noqa: PLC0415

    policy = unwrap(model)
    return [] if policy is None else end_tokens(policy, tokenizer)[0]


def _template_kwargs(args: Any) -> Mapping[str, Any]:
    """With which arguments a trainer that renders prompts itself (TRL's GRPO) does it."""
    given = getattr(args, "chat_template_kwargs", None) or {}
    return json.loads(given) if isinstance(given, str) else given
