"""Reference sets: what the checkpoint's completions are compared with."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rm_monitor import files
from rm_monitor.errors import StoreError
from rm_monitor.files.strict_json import dumps, loads
from rm_monitor.prompts.answers import matched, named, one_each, read_answers
from rm_monitor.prompts.load import PromptSet
from rm_monitor.text.reasoning import cut
from rm_monitor.types import Completion, ReferenceSet

__all__ = ["load_references", "resolve_references", "save_references"]


def resolve_references(spec: Any, prompts: PromptSet) -> tuple[ReferenceSet, ...]:
    """Named reference sets from whatever the user gave.

    Args:
        spec: None (no set: the initial policy's own answers will be used), a column of the prompts, the
            path of a file of
            completions, one completion a prompt, or ``{name: any of these}``.
        prompts: The prompts they answer.

    Raises:
        ValueError: If a set is not found or lacks prompts; the message says which and how many.

    Example:
        >>> from rm_monitor.prompts import load_prompts
        >>> prompts = load_prompts([{"prompt": "Hi", "chosen": "Hello!"}])
        >>> [(s.name, s.completions[0].text) for s in resolve_references("chosen", prompts)]
        [('chosen', 'Hello!')]
    """
    if spec is None:
        return ()
    if isinstance(spec, Mapping):
        if not spec:
            raise ValueError("`references` is an empty mapping; None means the initial policy's own answers")
        for name in spec:
            if not isinstance(name, str) or not name or set(name) & set("/@ "):
                raise ValueError(
                    f"a reference set's name must be text without '/', '@' or blanks, got {name!r}"
                )
        return tuple(_one(name, given, prompts) for name, given in spec.items())
    name = Path(spec).stem if isinstance(spec, (str, Path)) else "references"
    return (_one(name, spec, prompts),)


def _one(name: str, given: Any, prompts: PromptSet) -> ReferenceSet:
    if isinstance(given, str) and given in prompts.columns:
        texts = [text if text and text.strip() else None for text in prompts.columns[given]]
        source = f"column {given!r}"
    elif isinstance(given, ReferenceSet):
        by_id = {c.prompt_id: c.text for c in given.completions}
        texts, source = [by_id.get(prompt.id) for prompt in prompts], given.source or "given"
    else:
        texts, source = _read(given, prompts), str(given) if isinstance(given, (str, Path)) else "given"
    said = [cut(text or "") for text in texts]  # the policy's reasoning is cut before it is judged too
    missing = [prompt for prompt, (answer, _) in zip(prompts, said, strict=True) if not answer.strip()]
    if missing:
        raise ValueError(
            f"`references` {name!r} lacks {len(missing)} of {len(prompts)} prompts, or has an empty answer "
            f"for them: {named(missing)}. Every prompt needs a reference: add them, or drop those prompts"
        )
    completions = (
        Completion(prompt_id=prompt.id, text=answer, reasoning=reasoning)
        for prompt, (answer, reasoning) in zip(prompts, said, strict=True)
    )
    return ReferenceSet(name=name, completions=tuple(completions), source=source)


def _read(given: Any, prompts: PromptSet) -> list[str | None]:
    """Texts in prompt order: rows with an id or a prompt are matched, plain texts are taken in order."""
    if isinstance(given, str) and not _is_there(given):
        near = difflib.get_close_matches(given, prompts.columns, 1)
        raise ValueError(
            f"`references` {given!r} is neither a column of the prompts nor a file; the columns are "
            f"{sorted(prompts.columns)}" + (f": did you mean {near[0]!r}?" if near else "")
        )
    try:
        answers = read_answers(given)
    except TypeError as problem:
        raise ValueError(f"`references` must be a column, a path or completions: {problem}") from problem
    return one_each(matched(answers, prompts, what="references"), prompts, what="references")


def _is_there(path: str) -> bool:
    return Path(path).exists() or any(mark in path for mark in "*?[")


def save_references(folder: str | Path, references: ReferenceSet, prompts: PromptSet) -> None:
    """Write a reference set so that a crash leaves either the old file or the new one."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{references.name}.jsonl"
    head = {"name": references.name, "source": references.source, "prompts": prompts.fingerprint}
    lines = [head, *({"id": c.prompt_id, "text": c.text} for c in references.completions)]
    files.replace(path, "".join(dumps(line) + "\n" for line in lines))


def load_references(folder: str | Path, name: str, prompts: PromptSet) -> ReferenceSet | None:
    """Read a kept set; None if there is none.

    Raises:
        StoreError: If it answers other prompts, or is damaged: references are never made again silently.
    """
    path = Path(folder) / f"{name}.jsonl"
    if not path.is_file():
        return None
    try:
        head, *rows = (loads(line) for line in path.read_text(encoding="utf-8").splitlines())
        completions = tuple(Completion(prompt_id=row["id"], text=row["text"]) for row in rows)
    except (ValueError, KeyError) as problem:
        raise StoreError(
            f"{path} is damaged ({problem}): restore it, or start a run in another folder"
        ) from problem
    if head["prompts"] != prompts.fingerprint or len(completions) != len(prompts):
        raise StoreError(
            f"{path} answers other prompts (fingerprint {head['prompts']}, now {prompts.fingerprint}): "
            "use the prompts it was made with, or start a run in another folder"
        )
    return ReferenceSet(name=head["name"], completions=completions, source=head["source"])
