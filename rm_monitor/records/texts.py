"""What a reader of a run needs beside the curve: the prompts and the references, as text.

``prompts.jsonl`` holds one line a prompt, with the references by name, so that a page can be written, and two
answers laid side by side, on a machine that has neither the data set nor the reward model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rm_monitor import files
from rm_monitor.files.strict_json import dumps, loads
from rm_monitor.types import Completion, Prompt, ReferenceSet

__all__ = ["read_texts", "write_texts"]

FILE = "prompts.jsonl"


def write_texts(folder: str | Path, prompts: Sequence[Prompt], references: Sequence[ReferenceSet]) -> None:
    """Replace ``prompts.jsonl`` atomically.

    Args:
        folder: ``<output_dir>/_rm_monitor``.
        prompts: ``n`` prompts.
        references: Reference sets, each in prompt order.
    """
    lines = (
        dumps(_row(prompt, {r.name: r.completions[i].text for r in references}))
        for i, prompt in enumerate(prompts)
    )
    files.replace(Path(folder) / FILE, "".join(f"{line}\n" for line in lines))


def read_texts(folder: str | Path) -> tuple[tuple[Prompt, ...], tuple[ReferenceSet, ...]]:
    """The prompts and the reference sets of a run; both empty for a run that kept none.

    Example:
        >>> import tempfile
        >>> prompt = Prompt(id="p", messages=({"role": "user", "content": "Hi"},), tags=("chat",))
        >>> gold = ReferenceSet(name="gold", completions=(Completion(prompt_id="p", text="Hello!"),))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_texts(folder, [prompt], [gold])
        ...     read_texts(folder) == ((prompt,), (gold,))
        True
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return (), ()
    rows = [loads(line) for line in path.read_text(encoding="ascii").splitlines()]
    prompts = tuple(
        Prompt(
            id=row["id"],
            messages=tuple(row["messages"]),
            raw=row.get("raw", False),
            rendered=row.get("rendered", ""),
            tags=tuple(row["tags"]),
            cluster=row["cluster"],
            tools=tuple(row.get("tools", ())),
            documents=tuple(row.get("documents", ())),
            template_kwargs=row.get("template_kwargs", {}),
            parts=row.get("parts", {}),
            row=row["row"],
        )
        for row in rows
    )
    names = list(rows[0]["references"]) if rows else []
    sets = (
        ReferenceSet(
            name=name,
            completions=tuple(Completion(prompt_id=r["id"], text=r["references"][name]) for r in rows),
        )
        for name in names
    )
    return prompts, tuple(sets)


def _row(prompt: Prompt, references: dict[str, str]) -> dict[str, Any]:
    return {
        "id": prompt.id,
        **prompt.question,
        **({"parts": dict(prompt.parts)} if prompt.parts else {}),
        "row": prompt.row,
        "tags": list(prompt.tags),
        "cluster": prompt.cluster,
        "references": references,
    }
