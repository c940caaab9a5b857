"""Completions that were written down before: a file, or a mapping."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rm_monitor.errors import GenerationError
from rm_monitor.types import Completion, Progress, Prompt, Sampling

__all__ = ["RecordedGenerator"]

_TEXT = ("completion", "output", "response", "answer", "text")


class RecordedGenerator:
    """Answers from a JSONL file (``id`` or ``prompt``, ``completion``) or a mapping of ids to texts."""

    needs_model = False

    def __init__(self, source: str | Path | Mapping[str, str]) -> None:
        self._texts = dict(source) if isinstance(source, Mapping) else _read(Path(source))

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        *,
        seed: int = 0,
        model: Any = None,
        tokenizer: Any = None,
        progress: Progress | None = None,
    ) -> list[Completion]:
        """The recorded text of each prompt; the same for every sample.

        Raises:
            GenerationError: Which prompts have no completion.
        """
        texts = [self._texts.get(p.id, self._texts.get(p.text)) for p in prompts]
        missing = [p.id for p, text in zip(prompts, texts, strict=True) if text is None]
        if missing:
            raise GenerationError(
                f"{len(missing)} of {len(prompts)} prompts have no recorded completion: {missing[:5]}"
            )
        return [
            Completion(prompt_id=p.id, text=text or "", sample=k)
            for p, text in zip(prompts, texts, strict=True)
            for k in range(sampling.samples_per_prompt)
        ]


def _read(path: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        row = json.loads(line)
        text = next((row[name] for name in _TEXT if isinstance(row.get(name), str)), None)
        keys = [
            row[name]
            for name in ("id", "prompt_id", "prompt", "instruction")
            if isinstance(row.get(name), str)
        ]
        if text is None or not keys:
            raise ValueError(
                f"{path} line {number} needs an id or prompt, and one of {_TEXT}; it has {sorted(row)}"
            )
        texts |= dict.fromkeys(keys, text)
    return texts
