"""Training texts beside the format that is asked: do they have it, and which one have they else?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from rm_monitor.prompts.columns_apart import kept_apart, of_columns
from rm_monitor.prompts.compared_texts import AGREE, SHOWN, ComparedTexts, middle, not_stopped
from rm_monitor.prompts.format import PromptFormat
from rm_monitor.prompts.format_report import FormatReport, setting_of
from rm_monitor.prompts.inferred import SOME, Around, around, within
from rm_monitor.prompts.rendering import prompt_ids
from rm_monitor.types import Message, Prompt

__all__ = ["AGREE", "Comparison"]


class _Shape(NamedTuple):
    """What a format puts around a question, as text."""

    form: PromptFormat
    around: Around


class Comparison(ComparedTexts):
    """Training texts against formats."""

    def report(self) -> FormatReport:
        """What the texts say, with both sides where they differ."""
        if (apart := kept_apart(self)) is not None:
            return of_columns(self, apart)
        now = self._shape(self.form)
        if now is None:
            return FormatReport(rows=len(self.texts), why="the chat template hides where a question begins")
        why, also = [], ""
        differs, found = self._differs(now)
        if differs:
            why.append(self._difference(now))
        end, share = self.end()
        if end is not None and end not in self.ends:
            name = self.tokenizer.convert_ids_to_tokens(end)
            why.append(not_stopped(name, share))
            also = f", or add {end} to model.generation_config.eos_token_id"
            found = replace(found or self.form, end=str(name)) if found or not differs else None
        asked = self.text(self._ids(self.form))
        i = next((i for i in range(len(self.texts)) if not self._fits(now.around, i, near=True)), 0)
        return FormatReport(
            rows=len(self.texts),
            agrees=not why,
            why="; ".join(why),
            trained=middle(self.before[i], SHOWN) + self.answer[i][:40] if why else "",
            asked=middle(asked, SHOWN) if why else "",
            found=found,
            setting=setting_of(found, self.form) + also if why else "",
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
        form = self.text_form([shape.before + "{prompt}" + shape.between])
        if form.template == "{prompt}" and form.bos is None:
            return PromptFormat(kind="raw")
        seen = self._shape(form)
        return form if seen is not None and self._share(seen.around) >= SOME else None

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
            begins = middle(now.around.before, 120)
            return f"a prompt begins with {begins!r}, and so do {start} of {n} training texts"
        return "training texts have more around a question than what is asked"

    # ------------------------------------------------------------------ formats as text

    def _shape(self, form: PromptFormat) -> _Shape | None:
        try:
            text = self.text(self._ids(form))
        except ValueError:
            return None
        content = self.text(
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
