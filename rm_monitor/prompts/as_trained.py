"""Is the policy asked as it is trained? What the training rows show, beside what would be asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from rm_monitor.prompts.comparison import AGREE, Comparison
from rm_monitor.prompts.examples import conversation, examples
from rm_monitor.prompts.format import PromptFormat
from rm_monitor.prompts.format_report import FormatReport, setting_of
from rm_monitor.prompts.training_rows import TrainingRows, columns
from rm_monitor.types import Prompt

__all__ = ["FormatReport", "check_format", "find_format"]

ROWS = 512  # as many are looked at


def check_format(
    rows: TrainingRows,
    tokenizer: Any,
    form: PromptFormat,
    prompts: Sequence[Prompt],
    *,
    ends: Sequence[int] = (),
    trainer_kwargs: Mapping[str, Any] | None = None,
) -> FormatReport:
    """Compare what stands around the answers of training rows with what would be asked; runs no user code.

    Args:
        rows: The training set, as `rm_monitor.prompts.training_rows.training_rows` reads it.
        tokenizer: The policy's.
        form: How prompts are asked.
        prompts: What is asked.
        ends: Tokens at which an answer ends; empty: the tokenizer's end token.
        trainer_kwargs: ``chat_template_kwargs`` of the trainer's arguments, where it renders prompts itself.
    """
    if rows.why_not or rows.transformed:
        return FormatReport(why=rows.why_not or "a transform of the user's makes what training sees")
    looked = rows.first(ROWS)
    texts = list(islice((e for row in looked for e in examples(row, tokenizer)), ROWS))
    talks = [turns for row in looked if (turns := conversation(row))]
    if not texts and not talks:
        return FormatReport(why="its training rows hold no token ids, rendered texts or conversations")
    plain = [prompt for prompt in prompts if not prompt.raw and len(prompt.messages) <= 2]
    if not plain:
        return FormatReport(why="every prompt is continued as it stands, or has several turns")
    if not texts:
        return _rendered_by_the_trainer(looked, talks, form, plain, trainer_kwargs or {})
    return Comparison(texts, tokenizer, form, plain, ends).report()


def find_format(
    rows: TrainingRows, tokenizer: Any, form: PromptFormat, prompts: Sequence[Prompt], **more: Any
) -> PromptFormat:
    """The format of the training rows, for ``prompt_format="as-trained"``; arguments as of `check_format`.

    Raises:
        ValueError: If it cannot be told.
    """
    chat = replace(form, kind="chat")
    report = check_format(rows, tokenizer, chat, prompts, **more)
    found = chat if report.agrees else report.found
    if found is None:
        raise ValueError(
            f"prompt_format='as-trained' cannot be found: {report.why}. Name it: 'chat', 'raw', a format "
            "string with {prompt}, or a Jinja template"
        )
    return found


def _rendered_by_the_trainer(
    looked: Sequence[Any],
    talks: Sequence[Sequence[Mapping[str, Any]]],
    form: PromptFormat,
    prompts: Sequence[Prompt],
    trainer_kwargs: Mapping[str, Any],
) -> FormatReport:
    """Conversations: the trainer renders them by the chat template, with arguments and a system text."""
    own = [columns(row).get("chat_template_kwargs") or {} for row in looked]
    kwargs = {**trainer_kwargs, **{k: v for k, v in own[0].items() if all(o.get(k) == v for o in own)}}
    systems = Counter(t[0].get("content") for t in talks if t[0].get("role") == "system")
    system, times = systems.most_common(1)[0] if systems else (None, 0)
    found = replace(form, kind="chat", template="", bos=None)
    found = replace(found, template_kwargs={**form.template_kwargs, **kwargs})
    why = []
    if form.kind not in ("chat", "as-trained"):
        why.append(
            f"the trainer renders conversations by the chat template, and prompt_format={form.setting!r}"
        )
    asked = [{**form.template_kwargs, **p.template_kwargs} for p in prompts]
    if any(a.get(name) != value for a in asked for name, value in kwargs.items()):
        why.append(
            f"training renders its prompts with chat_template_kwargs={kwargs}, and they are asked without"
        )
    bare = not form.system and all(p.messages[0]["role"] != "system" for p in prompts)
    if isinstance(system, str) and times >= AGREE * len(talks) and bare:
        why.append(
            f"{times} of {len(talks)} training conversations begin with one system text, prompts with none"
        )
        found = replace(found, system=system)
    setting = setting_of(found, form) if why else ""
    return FormatReport(rows=len(talks), agrees=not why, why="; ".join(why), found=found, setting=setting)
