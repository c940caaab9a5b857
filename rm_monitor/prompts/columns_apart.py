"""Rows that keep the columns of a question apart, as Alpaca's do: are the prompts asked column by column?"""

from __future__ import annotations

from dataclasses import replace

from rm_monitor.prompts.compared_texts import AGREE, SHOWN, ComparedTexts, middle, not_stopped
from rm_monitor.prompts.format import PromptFormat
from rm_monitor.prompts.format_report import FormatReport, setting_of
from rm_monitor.prompts.templates import PARTS, fields, filled
from rm_monitor.prompts.variants import fits, variants
from rm_monitor.types import Message, Prompt

__all__ = ["kept_apart", "of_columns"]


def kept_apart(texts: ComparedTexts) -> PromptFormat | None:
    """The format strings of rows that keep the columns of a question apart, if they do and it matters."""
    known = any(text.known for text in texts.texts)
    before = [b for b, t in zip(texts.before, texts.texts, strict=True) if t.known == known]
    found = variants(before, known=known, columns=frozenset().union(*texts.columns))
    if not found or sum(fits(found, text, known=known) for text in before) < AGREE * len(texts.texts):
        return None
    form = texts.text_form(found)
    return form if any(_is_asked(texts, template) for template in form.templates) else None


def of_columns(texts: ComparedTexts, found: PromptFormat) -> FormatReport:
    """What the texts say: a probe in each column is asked as the format string of the rows has it, or not."""
    other = [
        template
        for template in found.templates
        if _is_asked(texts, template) and not _agrees(texts, found, template)
    ]
    why = []
    if other:
        names = " and ".join(_columns(other[0]))
        why = [f"training texts with {names} keep them under headings of their own"]
    end, share = texts.end()
    if end is not None and end not in texts.ends:
        name = texts.tokenizer.convert_ids_to_tokens(end)
        why.append(not_stopped(name, share))
        found = replace(found, end=str(name))
    if not why:
        return FormatReport(rows=len(texts.texts), agrees=True, found=found)
    shown = other[0] if other else found.template
    prompt = next((p for p in texts.prompts if [*p.parts] == _columns(shown)), texts.prompt)
    i = next((i for i, text in enumerate(texts.before) if fits([shown], text, known=False)), 0)
    return FormatReport(
        rows=len(texts.texts),
        agrees=False,
        why="; ".join(why),
        trained=middle(texts.before[i], SHOWN) + texts.answer[i][:40],
        asked=middle(texts.said(prompt), SHOWN),
        found=found,
        setting=setting_of(found, texts.form),
    )


def _is_asked(texts: ComparedTexts, template: str) -> bool:
    """Whether any prompt would be asked by this string: one of its columns, or of one piece."""
    names = fields(template) & set(PARTS)
    return names in texts.columns or (frozenset() in texts.columns and names <= {"instruction", "question"})


def _agrees(texts: ComparedTexts, found: PromptFormat, template: str) -> bool:
    names = _columns(template)
    parts = {name: f"qz7 {name}" for name in names}
    turn = Message(role="user", content="\n".join(parts.values()))
    apart = len(names) > 1 or frozenset(names) in texts.columns
    probe = Prompt(id="probe", messages=(turn,), parts=parts if apart else {})
    expected = filled([template], probe.text, parts, "") or ""
    bos = str(texts.tokenizer.bos_token or "")
    if found.bos is not None:
        return texts.said(probe) == (bos if found.bos else "") + expected
    return texts.said(probe) in (expected, bos + expected)


def _columns(template: str) -> list[str]:
    return [name for name in PARTS if f"{{{name}}}" in template]
