"""`PromptFormat`: how a policy is asked, as a value that belongs to the conditions of a curve."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from rm_monitor.prompts.templates import fields, filled
from rm_monitor.types import Message, Prompt

__all__ = ["PromptFormat"]

Kind = Literal["chat", "raw", "text", "jinja", "as-trained"]

_WORDS = ("chat", "raw", "as-trained")
_AS_IT_STANDS = "{{ messages[0]['content'] }}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptFormat:
    r"""How prompts become what the policy is asked.

    Attributes:
        kind: ``chat``: the tokenizer's chat template; ``raw``: the prompt's text as it stands; ``text``: a
            format string; ``jinja``: a chat template of its own; ``as-trained``: to be found from the
            training rows before anything is asked (`rm_monitor.prompts.as_trained.find_format`).
        template: The format string, with ``{prompt}`` (or the names of the columns that a prompt is joined
            from: ``{instruction}``, ``{input}``, ``{context}``, ``{question}``) and perhaps ``{system}``; or
            the Jinja template, in which those columns are variables.
        others: Further format strings, for prompts that the first has no place for or too many places.
        system: System text of prompts that have none of their own.
        tools: Tools of prompts that have none of their own.
        template_kwargs: Variables of the chat template; a prompt's own go first.
        bos: Whether ``text`` begins with the beginning-of-sequence token; None: as the tokenizer does it.
        end: A token that ends answers beside those of model and tokenizer; empty: none.

    Example:
        >>> form = PromptFormat.of("### Instruction:\n{prompt}\n### Response:\n")
        >>> form.ask([Prompt(id="1", messages=({"role": "user", "content": "Hi"},))])[0].text
        '### Instruction:\nHi\n### Response:\n'
    """

    kind: Kind = "chat"
    template: str = ""
    others: tuple[str, ...] = ()
    system: str = ""
    tools: tuple[Mapping[str, Any], ...] = ()
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    bos: bool | None = None
    end: str = ""

    def __post_init__(self) -> None:
        if self.kind not in ("chat", "raw", "text", "jinja", "as-trained"):
            raise ValueError(f"`kind` must be chat, raw, text, jinja or as-trained, got {self.kind!r}")
        for template in self.templates:
            if not fields(template) - {"system"}:
                raise ValueError(
                    f"`prompt_format` is a format string without {{prompt}}: {template!r}. Write {{prompt}} "
                    f"where the prompt's text belongs, or pass one of {_WORDS} or a Jinja template"
                )
        plain = self.kind == "raw" or any("{system}" not in template for template in self.templates)
        for name, value in (("system", self.system), ("tools", self.tools)):
            if value and (self.kind in ("raw", "text")) and not (name == "system" and not plain):
                raise ValueError(
                    f"`{name}` has no place in prompt_format={self.setting!r}: write it into the format, or "
                    "use a chat template"
                )
        if self.template_kwargs and self.kind in ("raw", "text"):
            raise ValueError(
                f"`chat_template_kwargs` are of a chat template, and prompt_format={self.setting!r} is none"
            )

    @classmethod
    def of(
        cls,
        given: Any = None,
        *,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        system: str | None = None,
    ) -> PromptFormat:
        """The format that the settings of a monitor name.

        Args:
            given: None or ``"chat"``, ``"raw"``, ``"as-trained"``, a format string with ``{prompt}``, a list
                of format strings of which each prompt takes the first that has a place for all its columns
                (``{instruction}``, ``{input}``) and no other, a Jinja template, or a `PromptFormat`, which
                the other arguments are added to.
            chat_template_kwargs: Variables of the chat template, such as ``{"enable_thinking": False}``.
            tools: Schemas of tools for prompts that have none.
            system: System text for prompts that have none.

        Raises:
            TypeError: If ``given`` is no text.
            ValueError: If it is none of these, or something has no place in it.
        """
        beside: dict[str, Any] = {}
        if chat_template_kwargs:
            beside["template_kwargs"] = dict(chat_template_kwargs)
        if tools:
            beside["tools"] = tuple(dict(tool) for tool in tools)
        if system:
            beside["system"] = system
        if isinstance(given, PromptFormat):
            return replace(given, **beside)
        if given is None:
            return cls(**beside)
        if isinstance(given, (list, tuple)) and given and all(isinstance(text, str) for text in given):
            return cls(kind="text", template=given[0], others=tuple(given[1:]), **beside)
        if not isinstance(given, str):
            raise TypeError(
                f"`prompt_format` must be one of {_WORDS}, a format string, a list of them or a Jinja "
                f"template, got {type(given).__name__}"
            )
        if given in _WORDS:
            return cls(kind=given, **beside)  # type: ignore[arg-type]  # one of the words
        jinja = "{%" in given or "{{" in given
        return cls(kind="jinja" if jinja else "text", template=given, **beside)

    @property
    def templates(self) -> tuple[str, ...]:
        """The format strings; none for the other kinds."""
        return (self.template, *self.others) if self.kind == "text" else ()

    @property
    def setting(self) -> str | list[str]:
        """What to pass as ``prompt_format=`` to get this kind and template."""
        if self.others:
            return list(self.templates)
        return self.template if self.kind in ("text", "jinja") else self.kind

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for the conditions of a segment; what is left at its default has no key."""
        facts: dict[str, Any] = {"kind": self.kind}
        for name in ("template", "others", "system", "tools", "template_kwargs", "bos", "end"):
            value = getattr(self, name)
            if value not in ("", (), {}, None):
                facts[name] = list(value) if name == "others" else value
                if name == "tools":
                    facts[name] = [dict(tool) for tool in value]
        return facts

    @property
    def fingerprint(self) -> str:
        """16 hex digits of all of it; the policy's own chat template is not part of it."""
        text = json.dumps(self.as_dict(), sort_keys=True, ensure_ascii=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def ask(self, prompts: Sequence[Prompt]) -> tuple[Prompt, ...]:
        """The prompts as they are asked; ids stay, and so does what came as plain text to be continued.

        Raises:
            ValueError: If a prompt has more than this format can show, or the format is not found yet.
        """
        if self.kind == "as-trained":
            raise ValueError(
                "prompt_format='as-trained' is found from the training rows, and none were looked at: a "
                "Trainer's callback does that; elsewhere name the format, or find it with "
                "rm_monitor.prompts.as_trained.find_format(training_rows(dataset), ...)"
            )
        return tuple(self._ask(prompt) for prompt in prompts)

    def tokenizer(self, tokenizer: Any) -> Any:
        """The tokenizer that renders what `ask` gives: itself, or a copy; the user's is not changed."""
        template = self.template if self.kind == "jinja" else ""
        if self.kind == "text" and self.bos is not None:
            template = ("{{ bos_token }}" if self.bos else "") + _AS_IT_STANDS
        if tokenizer is None or not (template or self.end):
            return tokenizer
        own = copy.copy(tokenizer)
        for name, value in vars(own).items():
            if type(value) in (dict, list, set):
                vars(own)[name] = value.copy()  # the copy is shallow, and its names of tokens are in there
        if template:
            own.chat_template = template
        if self.end:
            own.eos_token = self.end
        return own

    def _ask(self, prompt: Prompt) -> Prompt:
        if prompt.raw:
            return prompt
        if self.kind in ("raw", "text"):
            text = self._text(prompt)
            return replace(prompt, messages=(Message(role="user", content=text),), raw=self.bos is None)
        messages = prompt.messages
        if self.system and messages[0]["role"] not in ("system", "developer"):
            messages = (Message(role="system", content=self.system), *messages)
        kwargs = {**self.template_kwargs, **prompt.template_kwargs}
        if self.kind == "jinja":  # a template that keeps the columns apart reads them by name
            kwargs = {**{n: t for n, t in prompt.parts.items() if n in self.template}, **kwargs}
        return replace(prompt, messages=messages, tools=prompt.tools or self.tools, template_kwargs=kwargs)

    def _text(self, prompt: Prompt) -> str:
        """The prompt in a format that knows one turn, and perhaps a system text."""
        turns = list(prompt.messages)
        own = turns.pop(0)["content"] if turns[0]["role"] in ("system", "developer") else ""
        beside = prompt.tools or prompt.documents or prompt.template_kwargs
        if len(turns) != 1 or beside or (own and not any("{system}" in t for t in self.templates)):
            what = "a system text" if own and len(turns) == 1 else f"{len(turns)} turns"
            raise ValueError(
                f"prompt {prompt.label} has {'tools or the like' if beside else what}, for "
                f"which prompt_format={self.setting!r} has no place: use a Jinja template that renders it, "
                "or leave the prompt out"
            )
        if self.kind == "raw":
            return turns[0]["content"]
        text = filled(self.templates, turns[0]["content"], prompt.parts, own or self.system)
        if text is None:
            columns = ", ".join(f"`{name}`" for name in prompt.parts) or "one text and no columns"
            raise ValueError(
                f"prompt {prompt.label} has {columns}, for which no string of "
                f"prompt_format={self.setting!r} has exactly the places: write one with {{prompt}}, or a "
                "list with one string for each kind of row"
            )
        return text
