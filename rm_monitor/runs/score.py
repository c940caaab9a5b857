"""A file of completions, judged without a model."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from rm_monitor.monitor.config import MonitorConfig
from rm_monitor.monitor.monitor import RewardMonitor
from rm_monitor.prompts import load_prompts
from rm_monitor.types import EvalPoint, Prompt

__all__ = ["Scored", "score_file"]


class Scored(NamedTuple):
    """A judged file.

    Attributes:
        point: Its numbers.
        prompts: What was answered, in prompt order.
    """

    point: EvalPoint
    prompts: tuple[Prompt, ...]


def score_file(completions: str | Path, config: str | Path) -> Scored:
    """Judge a file of completions with the settings of a YAML file; nothing is written.

    Args:
        completions: A JSONL file of rows with an id or a prompt, and a completion; or ``FILE:COLUMN`` for
            any file of prompts with answers in a column, or under a name in its ``references``.
        config: Settings; they must name references.

    Raises:
        ValueError: If the settings name no references, or the file lacks that column.
    """
    from rm_monitor.generators.recorded import RecordedGenerator  # noqa: PLC0415  the room imports torch

    settings = MonitorConfig.from_yaml(config)
    if settings.references is None:
        raise ValueError("`references` is needed to judge a file: name a column or a file in the settings")
    source = Path(completions) if Path(completions).is_file() else _column(str(completions))
    monitor = RewardMonitor.from_config(settings, generator=RecordedGenerator(source))
    return Scored(monitor.judge_once(), tuple(monitor.prompts))


def _column(text: str) -> dict[str, str]:
    """Prompt id -> answer."""
    path, _, name = text.rpartition(":")
    if not path or not Path(path).is_file():
        raise ValueError(f"{text} is no file of completions, and no FILE:COLUMN")
    rows = load_prompts(path)
    if name not in rows.columns:
        raise ValueError(f"{path} has no answers called {name!r}; it has {sorted(rows.columns)}")
    pairs = zip(rows, rows.columns[name], strict=True)
    return {key: answer for prompt, answer in pairs if answer is not None for key in (prompt.id, prompt.text)}
