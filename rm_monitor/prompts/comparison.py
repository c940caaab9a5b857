"""Training texts beside the format that is asked: do they have it, and which one have they else?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from rm_monitor.prompts.examples import Example
from rm_monitor.prompts.format import PromptFormat
from rm_monitor.prompts.format_report import FormatReport, setting_of
from rm_monitor.prompts.inferred import SOME, Around, around, within
from rm_monitor.prompts.rendering import prompt_ids
from rm_monitor.prompts.templates import PARTS, fields, filled
from rm_monitor.prompts.variants import fits, variants
from rm_monitor.types import Message, Prompt

__all__ = ["AGREE", "Comparison"]

AGREE = 0.5  # of the rows in the format that is asked: else it is another one
_SHOWN = 400  # characters of a text that a person is shown


class _Shape(NamedTuple):
    """What a format puts around a question, as text."""

    form: PromptFormat
    around: Around


class Comparison:
    """Training texts against formats."""

    def __init__(
        self,
        texts: Sequence[Example],
        tokenizer: Any,
        form: PromptFormat,
        prompts: Sequence[Prompt],
        ends: Sequence[int],
    ) -> None:
        self.tokenizer, self.form, self.texts = tokenizer, form, texts
        self.ends = set(ends) or {tokenizer.eos_token_id}
        if form.end:
            self.ends.add(tokenizer.convert_tokens_to_ids(form.end))
        self.before = [self._text(t.before) for t in texts]
        self.answer = [self._text(t.answer) for t in texts]
        self.special = [*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()]
        self.contents = [p.messages[-1]["content"] for p in prompts]
        self.prompt = max(prompts, key=lambda p: len(p.messages[-1]["content"]))
        self.columns = {frozenset(p.parts) for p in prompts}

    def report(self) -> FormatReport:
        """What the texts say, with both sides where they differ."""
        apart = self._apart()
        if apart is not None:
            return self._of_columns(apart)
        now = self._shape(self.form)
        if now is None:
            return FormatReport(rows=len(self.texts), why="the chat template hides where a question begins")
        why, also = [], ""
        differs, found = self._differs(now)
        if differs:
            why.append(self._difference(now))
        end, share = self._end()
        if end is not None and end not in self.ends:
            name = self.tokenizer.convert_ids_to_tokens(end)
            why.append(
                f"{share:.0%} of training answers end with {name!r}, at which generation does not stop"
            )
            also = f", or add {end} to model.generation_config.eos_token_id"
            found = replace(found or self.form, end=str(name)) if found or not differs else None
        asked = self._text(self._ids(self.form))
        i = next((i for i in range(len(self.texts)) if not self._fits(now.around, i, near=True)), 0)
        return FormatReport(
            rows=len(self.texts),
            agrees=not why,
            why="; ".join(why),
            trained=_middle(self.before[i], _SHOWN) + self.answer[i][:40] if why else "",
            asked=_middle(asked, _SHOWN) if why else "",
            found=found,
            setting=setting_of(found, self.form) + also if why else "",
        )

    def _apart(self) -> PromptFormat | None:
        """The format strings of rows that keep the columns of a question apart, if they do and it matters."""
        known = any(text.known for text in self.texts)
        texts = [b for b, t in zip(self.before, self.texts, strict=True) if t.known == known]
        found = variants(texts, known=known)
        if not found or sum(fits(found, text, known=known) for text in texts) < AGREE * len(self.texts):
            return None
        form = self._text_form(found)
        return form if any(self._asked_of(template) for template in form.templates) else None

    def _asked_of(self, template: str) -> bool:
        """Whether any prompt would be asked by this string: one of its columns, or of one piece."""
        names = fields(template) & set(PARTS)
        return names in self.columns or (frozenset() in self.columns and names <= {"instruction", "question"})

    def _of_columns(self, found: PromptFormat) -> FormatReport:
        """Compare column by column: a probe in each is asked as the format string of the rows has it."""
        other = []
        for template in filter(self._asked_of, found.templates):
            names = [name for name in PARTS if f"{{{name}}}" in template]
            parts = {name: f"qz7 {name}" for name in names}
            probe = Prompt(
                id="probe",
                messages=(Message(role="user", content="\n".join(parts.values())),),
                parts=parts if len(names) > 1 or frozenset(names) in self.columns else {},
            )
            text = filled([template], probe.text, parts, "") or ""
            bos = str(self.tokenizer.bos_token or "")
            try:
                said = self._text(prompt_ids(self.form.ask([probe])[0], self.form.tokenizer(self.tokenizer)))
            except ValueError as problem:
                said = str(problem)
            theirs = bos if found.bos else ""
            if said not in ({text, bos + text} if found.bos is None else {theirs + text}):
                other.append((template, said, names))
        if not other:
            return FormatReport(rows=len(self.texts), agrees=True, found=found)
        template, said, names = other[0]
        shown = next((i for i, text in enumerate(self.before) if fits([template], text, known=False)), 0)
        return FormatReport(
            rows=len(self.texts),
            agrees=False,
            why=f"training texts with {' and '.join(names)} keep them under headings of their own",
            trained=_middle(self.before[shown], _SHOWN) + self.answer[shown][:40],
            asked=_middle(said, _SHOWN),
            found=found,
            setting=setting_of(found, self.form),
        )

    def _differs(self, now: _Shape) -> tuple[bool, PromptFormat | None]:
        """Whether the rows are in another format than the one that is asked, and in which; None unknown."""
        fits = self._share(now.around, near=True) >= AGREE
        if fits and now.around.between.strip():
            return False, None
        others = [shape for shape in self._others() if shape.around != now.around]
        shares = [self._share(shape.around) for shape in others]
        best = max(
            range(len(others)), key=lambda i: (shares[i], len("".join(others[i].around))), default=None
        )
        if best is not None and shares[best] >= AGREE:
            return True, others[best].form
        guessed = self._guessed()
        if fits:  # as with plain text, which anything fits: only more than it is another format
            shape = None if guessed is None else self._shape(guessed)
            return (False, None) if shape is None or shape.around == now.around else (True, guessed)
        return True, guessed

    def _others(self) -> Iterator[_Shape]:
        """The chat template as it is, with its thinking switched, and with a system text."""
        template = str(getattr(self.tokenizer, "chat_template", None) or "")
        if not template:
            return
        chat = replace(self.form, kind="chat", template="", bos=None)
        forms = [chat]
        if "enable_thinking" in template:
            kwargs = self.form.template_kwargs
            forms += [
                replace(chat, template_kwargs={**kwargs, "enable_thinking": on}) for on in (False, True)
            ]
        for form in list(forms):
            if (text := self._system(form)) is not None:
                forms.append(replace(form, system=text))
        yield from (shape for form in forms if (shape := self._shape(form)) is not None)

    def _system(self, form: PromptFormat) -> str | None:
        """The system text that most rows begin with, where the template renders one."""
        probe = "qz7 system"
        shape = self._shape(replace(form, system=probe))
        if shape is None or probe not in shape.around.before:
            return None
        head, _, tail = shape.around.before.partition(probe)
        texts = Counter(
            text[len(head) :].partition(tail)[0]
            for text in self.before
            if text.startswith(head) and tail in text
        )
        text, times = texts.most_common(1)[0] if texts else ("", 0)
        return text if text and times >= AGREE * len(self.before) else None

    def _guessed(self) -> PromptFormat | None:
        """A format string from what the rows have in common."""
        texts = [b for b, t in zip(self.before, self.texts, strict=True) if t.known]
        find = around if texts else within
        shape = find(texts or self.before, self.special, self.contents)
        if shape is None or "{prompt}" in "".join(shape):
            return None
        form = self._text_form([shape.before + "{prompt}" + shape.between])
        if form.template == "{prompt}" and form.bos is None:
            return PromptFormat(kind="raw")
        seen = self._shape(form)
        return form if seen is not None and self._share(seen.around) >= SOME else None

    def _text_form(self, templates: Sequence[str]) -> PromptFormat:
        """Format strings, with the beginning-of-sequence token named only if the rows differ in it."""
        bos = str(self.tokenizer.bos_token or "")
        ours = bool(bos) and self._text(list(self.tokenizer("x")["input_ids"])).startswith(bos)
        theirs = bool(bos) and templates[0].startswith(bos)
        first, *others = (text.removeprefix(bos) if theirs else text for text in templates)
        return PromptFormat(
            kind="text", template=first, others=tuple(others), bos=None if ours == theirs else theirs
        )

    def _difference(self, now: _Shape) -> str:
        n = len(self.texts)
        between = sum(self._ends_with(now.around, i, near=True) for i in range(n))
        if now.around.between and between < AGREE * n:
            return (
                f"{now.around.between!r} stands between a question and its answer when the policy is asked, "
                f"and in {between} of {n} training texts"
            )
        start = sum(text.startswith(now.around.before) for text in self.before)
        if now.around.before and start < AGREE * n:
            begins = _middle(now.around.before, 120)
            return f"a prompt begins with {begins!r}, and so do {start} of {n} training texts"
        return "training texts have more around a question than what is asked"

    def _end(self) -> tuple[int | None, float]:
        """The token that most training answers end with, if it is a control token."""
        control = set(self.tokenizer.all_special_ids) | set(self.tokenizer.get_added_vocab().values())
        last: Counter[int] = Counter()
        for text in self.texts:
            ids = text.answer if text.known else text.before
            last.update(next(([i] for i in reversed(ids[-3:]) if i in control), []))
        if not last:
            return None, 0.0
        end, times = last.most_common(1)[0]
        return (end, times / len(self.texts)) if times >= AGREE * len(self.texts) else (None, 0.0)

    # ------------------------------------------------------------------ formats as text

    def _shape(self, form: PromptFormat) -> _Shape | None:
        try:
            text = self._text(self._ids(form))
        except ValueError:
            return None
        content = self._text(
            list(self.tokenizer(self.prompt.messages[-1]["content"], add_special_tokens=False)["input_ids"])
        )
        before, found, between = text.rpartition(content.strip())
        return _Shape(form, Around(before, between)) if found else None

    def _ids(self, form: PromptFormat) -> list[int]:
        asked = form.ask([self._one_turn()])[0]
        return prompt_ids(asked, form.tokenizer(self.tokenizer))

    def _one_turn(self) -> Prompt:
        message = Message(role="user", content=self.prompt.messages[-1]["content"])
        return replace(self.prompt, messages=(message,), tools=(), documents=(), parts={})

    def _text(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=False)) if ids else ""

    def _share(self, shape: Around, *, near: bool = False) -> float:
        return sum(self._fits(shape, i, near=near) for i in range(len(self.texts))) / len(self.texts)

    def _fits(self, shape: Around, i: int, *, near: bool = False) -> bool:
        return self.before[i].startswith(shape.before) and self._ends_with(shape, i, near=near)

    def _ends_with(self, shape: Around, i: int, *, near: bool = False) -> bool:
        """Whether what stands before an answer ends as the format does.

        ``near``: also where the answer itself begins with the end of it, as with an empty block of reasoning
        that is learned.
        """
        before, between = self.before[i], shape.between
        if not self.texts[i].known:
            return between in before[len(shape.before) :]
        if before.endswith(between):
            return True
        whole = before + self.answer[i]
        return near and any(
            whole[: len(before) + more].endswith(between) for more in range(1, len(between) + 1)
        )


def _middle(text: str, most: int) -> str:
    half = most // 2
    return text if len(text) <= most else f"{text[:half]} [...] {text[-half:]}"
