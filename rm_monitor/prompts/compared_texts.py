"""Training texts as text, and what is asked in their place: what comparisons of formats look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rm_monitor.prompts.examples import Example
from rm_monitor.prompts.format import PromptFormat
from rm_monitor.prompts.rendering import prompt_ids
from rm_monitor.types import Prompt

__all__ = ["AGREE", "SHOWN", "ComparedTexts", "middle", "not_stopped"]

AGREE = 0.5  # of the rows in the format that is asked: else it is another one
SHOWN = 400  # characters of a text that a person is shown


class ComparedTexts:
    """Training texts beside prompts.

    Args:
        texts: Of training rows.
        tokenizer: The policy's.
        form: How prompts are asked.
        prompts: What is asked.
        ends: Tokens at which an answer ends; empty: the tokenizer's end token.
    """

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
        self.before = [self.text(t.before) for t in texts]
        self.answer = [self.text(t.answer) for t in texts]
        self.special = [*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()]
        self.contents = [p.messages[-1]["content"] for p in prompts]
        self.prompt = max(prompts, key=lambda p: len(p.messages[-1]["content"]))
        self.prompts = prompts
        self.columns = {frozenset(p.parts) for p in prompts}

    def text(self, ids: list[int]) -> str:
        """Ids as text, control tokens included."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=False)) if ids else ""

    def said(self, prompt: Prompt) -> str:
        """A prompt as it would be asked, or why it would be refused."""
        try:
            return self.text(prompt_ids(self.form.ask([prompt])[0], self.form.tokenizer(self.tokenizer)))
        except ValueError as problem:
            return str(problem)

    def end(self) -> tuple[int | None, float]:
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

    def text_form(self, templates: Sequence[str]) -> PromptFormat:
        """Format strings, with the beginning-of-sequence token named only if the rows differ in it."""
        bos = str(self.tokenizer.bos_token or "")
        ours = bool(bos) and self.text(list(self.tokenizer("x")["input_ids"])).startswith(bos)
        theirs = bool(bos) and templates[0].startswith(bos)
        first, *others = (text.removeprefix(bos) if theirs else text for text in templates)
        return PromptFormat(
            kind="text", template=first, others=tuple(others), bos=None if ours == theirs else theirs
        )


def not_stopped(name: str, share: float) -> str:
    """The sentence about an end token that generation does not know."""
    return f"{share:.0%} of training answers end with {name!r}, at which generation does not stop"


def middle(text: str, most: int) -> str:
    """The beginning and the end of a text."""
    half = most // 2
    return text if len(text) <= most else f"{text[:half]} [...] {text[-half:]}"
