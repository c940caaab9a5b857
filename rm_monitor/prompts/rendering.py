"""A prompt as the policy is asked it: rendered by its tokenizer's chat template, or as plain text.

Everything of a prompt is in what comes out, or the prompt is refused with the name of what is left out.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from rm_monitor.text.trial import rendered
from rm_monitor.text.whole import frozen_dates, healed
from rm_monitor.types import Prompt

__all__ = ["generation_prompt", "prompt_ids", "prompt_text"]

log = logging.getLogger("rm_monitor")

_PROBE = "zq7 probe"
_THOUGHT = "</think>"  # templates leave the reasoning of earlier answers out, as models are trained


def prompt_ids(prompt: Prompt, tokenizer: Any, *, closed: bool = False) -> list[int]:
    """Ids of a prompt up to where the answer begins; the tokenizer is not changed.

    Args:
        prompt: What is asked.
        tokenizer: The policy's.
        closed: Plain text keeps the end token that some tokenizers put after it: what an encoder reads.

    Raises:
        ValueError: If a part of the prompt has no place in what the policy is asked, or its template refuses.
    """
    if not has_template(prompt, tokenizer):
        text = _plain(prompt)
        plain: list[int] = list(tokenizer(text)["input_ids"])
        bos, end = tokenizer.bos_token_id, tokenizer.eos_token_id
        if bos is not None and plain[:2] == [bos, bos] and text.startswith(str(tokenizer.bos_token)):
            del plain[0]  # a prompt that is rendered already begins with its own
        while (
            not closed and len(plain) > 1 and plain[-1] == end and not text.endswith(str(tokenizer.eos_token))
        ):
            plain.pop()  # an answer that begins after the end of the text is one nobody trained
        return plain
    text = prompt_text(prompt, tokenizer)
    if missing := next(_left_out(prompt, text), ""):
        raise ValueError(
            f"prompt {prompt.label}: the policy's chat template leaves out {missing}, so the "
            "policy would not be asked it. Put it into the user's turn, pass prompt_format= with a template "
            "that renders it, or leave the prompt out"
        )
    ids = _apply(prompt, tokenizer, tokenize=True, return_dict=False)
    return list(ids)


def has_template(prompt: Prompt, tokenizer: Any) -> bool:
    """Whether the prompt goes through a chat template."""
    return not prompt.raw and bool(getattr(tokenizer, "chat_template", None))


def prompt_text(prompt: Prompt, tokenizer: Any, *, generation_prompt: bool = True) -> str:
    """What the chat template makes of a prompt; dates are frozen, and half emoji healed.

    Raises:
        ValueError: If the template refuses the prompt; in its own words.
    """
    _say_unread(tuple(prompt.template_kwargs), str(tokenizer.chat_template))
    text: str = _apply(prompt, tokenizer, tokenize=False, add_generation_prompt=generation_prompt)
    return text


def _apply(prompt: Prompt, tokenizer: Any, **more: Any) -> Any:
    messages = healed([dict(message) for message in prompt.messages])
    if not _takes_text(tokenizer):
        messages = [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in messages]
    variables = healed(dict(prompt.template_kwargs))
    if prompt.documents:
        variables["documents"] = healed([dict(document) for document in prompt.documents])
    tools = healed([dict(tool) for tool in prompt.tools]) or None
    try:
        return rendered(
            tokenizer,
            messages,
            template=frozen_dates(tokenizer.get_chat_template(tools=tools)),
            tools=tools,
            tokenizer_kwargs={"verbose": False},  # what is too long is said once, before training
            **{"add_generation_prompt": True, **variables, **more},
        )
    except Exception as problem:  # a template says no in its own words, through whatever jinja raises
        raise ValueError(
            f"prompt {prompt.label}: the policy's chat template refuses it (roles "
            f"{[m['role'] for m in prompt.messages]}): {problem}"
        ) from problem


def generation_prompt(prompt: Prompt, tokenizer: Any) -> str:
    """The end of what is asked that the template adds for the answer, such as ``<|assistant|>``; else ""."""
    if not has_template(prompt, tokenizer):
        return ""
    whole = prompt_text(prompt, tokenizer)
    turns = prompt_text(prompt, tokenizer, generation_prompt=False)
    same = (i for i, (a, b) in enumerate(zip(whole, turns, strict=False)) if a != b)
    return whole[next(same, min(len(whole), len(turns))) :]


def _plain(prompt: Prompt) -> str:
    for name in ("tools", "documents", "template_kwargs"):
        if getattr(prompt, name):
            raise ValueError(
                f"prompt {prompt.label} has `{name}`, which only a chat template can show: "
                "set `tokenizer.chat_template`, or pass prompt_format= with a template"
            )
    if prompt.rendered:
        return str(healed(prompt.rendered))
    if len(prompt.messages) > 1:
        raise ValueError(
            f"prompt {prompt.label} has {len(prompt.messages)} turns and the policy's "
            "tokenizer has no chat template: set `tokenizer.chat_template`, pass prompt_format= with a "
            "template, or give prompts of one turn"
        )
    return str(healed(prompt.text))


def _takes_text(tokenizer: Any) -> bool:
    """Whether the template shows a turn's plain text; processors' templates may read lists of parts alone."""

    def shows(content: Any) -> bool:
        try:
            said = rendered(
                tokenizer,
                [{"role": "user", "content": content}],
                template=tokenizer.get_chat_template(),
                tokenize=False,
            )
        except Exception:
            return False
        return _PROBE in str(said)

    return shows(_PROBE) or not shows([{"type": "text", "text": _PROBE}])


def _left_out(prompt: Prompt, text: str) -> Iterator[str]:
    """What of the prompt is not in the text, in words."""
    squeezed = _squeeze(text)

    def shown(piece: str) -> bool:
        forms = (piece, json.dumps(piece)[1:-1], json.dumps(piece, ensure_ascii=False)[1:-1])
        return any(_squeeze(form) in squeezed for form in forms)

    for number, message in enumerate(prompt.messages, 1):
        content = healed(message["content"])
        if message["role"] == "assistant":
            content = content.rpartition(_THOUGHT)[2]
        apart = prompt.parts.values() if message is prompt.messages[-1] else ()
        if not shown(content) and not (apart and all(shown(part) for part in apart)):
            yield f"turn {number} ({message['role']}: {_short(content)})"
        for piece in _texts(message.get("tool_calls") or []):
            if not shown(piece):
                yield f"a tool call of turn {number} ({_short(piece)})"
    for tool in prompt.tools:
        function = tool.get("function", tool)
        if not shown(str(function.get("name", ""))):
            yield f"the tool {function.get('name')!r}"
    for document in prompt.documents:
        if missing := [piece for piece in _texts(list(document.values())) if not shown(piece)]:
            yield f"a document ({_short(missing[0])})"


def _texts(value: Any) -> Iterator[str]:
    """Every text inside a call, its names and its arguments; what only says its kind is left out."""
    if isinstance(value, str):
        yield healed(value)
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            if name not in ("type", "id"):
                yield from _texts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner)


def _squeeze(text: str) -> str:
    return "".join(text.split())


def _short(text: str) -> str:
    words = " ".join(text.split())
    return repr(words if len(words) <= 40 else words[:37] + "...")


@cache
def _say_unread(names: tuple[str, ...], template: str) -> None:
    """Say once which template arguments nothing reads."""
    unread = [name for name in names if name not in template]
    if unread:
        log.warning(
            "rm_monitor: the policy's chat template does not read %s: passing it changes nothing",
            ", ".join(f"`{name}`" for name in unread),
        )
