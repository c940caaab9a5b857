"""Reference sets: what the checkpoint's completions are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rm_monitor import files
from rm_monitor.errors import StoreError
from rm_monitor.files.strict_json import dumps, loads
from rm_monitor.prompts.load import PromptSet, read_rows
from rm_monitor.types import Completion, ReferenceSet

__all__ = ["load_references", "resolve_references", "save_references"]

_TEXT = ("completion", "output", "response", "answer", "text", "reference")


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
    if isinstance(given, ReferenceSet):
        given = list(given.completions)
    if isinstance(given, str) and given in prompts.columns:
        texts: Sequence[str | None] = prompts.columns[given]
        source = f"column {given!r}"
    elif isinstance(given, (str, Path)):
        if not Path(given).is_file():
            raise ValueError(
                f"`references` {str(given)!r} is neither a column of the prompts nor a file; "
                f"the columns are {sorted(prompts.columns)}"
            )
        texts, source = _from_rows(list(read_rows(given)), prompts), str(given)
    elif isinstance(given, Sequence):
        texts, source = _from_rows(list(given), prompts), "given"
    else:
        raise ValueError(f"`references` must be a column, a path or completions, got {type(given).__name__}")
    missing = [p.id for p, text in zip(prompts, texts, strict=True) if text is None]
    if missing:
        raise ValueError(
            f"`references` {name!r} lacks {len(missing)} of {len(prompts)} prompts: {missing[:5]}. "
            "Every prompt needs a reference: add them, or drop those prompts"
        )
    completions = (
        Completion(prompt_id=p.id, text=text or "") for p, text in zip(prompts, texts, strict=True)
    )
    return ReferenceSet(name=name, completions=tuple(completions), source=source)


def _from_rows(rows: Sequence[Any], prompts: PromptSet) -> list[str | None]:
    """Texts in prompt order: rows with an id or a prompt are matched, plain texts are taken in order."""
    if all(isinstance(row, str) for row in rows):
        if len(rows) != len(prompts):
            raise ValueError(
                f"`references` must have one text a prompt: {len(rows)} texts for {len(prompts)} prompts"
            )
        return list(rows)
    by_key: dict[str, str] = {}
    for number, row in enumerate(rows):
        if isinstance(row, Completion):
            by_key[row.prompt_id] = row.text
            continue
        if not isinstance(row, Mapping):
            raise ValueError(
                f"reference {number} must be a text, a row or a Completion, got {type(row).__name__}"
            )
        text = next((row[name] for name in _TEXT if isinstance(row.get(name), str)), None)
        if text is None:
            raise ValueError(f"reference {number} has none of the columns {_TEXT}; it has {sorted(row)}")
        for key in ("id", "prompt_id", "prompt", "instruction"):
            if isinstance(row.get(key), str):
                by_key.setdefault(row[key], text)
    return [by_key.get(p.id, by_key.get(p.text)) for p in prompts]


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
