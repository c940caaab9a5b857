"""A file of completions, judged without a model."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from rm_monitor.monitor.config import MonitorConfig
from rm_monitor.monitor.monitor import RewardMonitor
from rm_monitor.monitor.reading import judge_once
from rm_monitor.types import EvalPoint, Prompt, Table

__all__ = ["Scored", "score_file"]


class Scored(NamedTuple):
    """A judged file.

    Attributes:
        point: Its numbers.
        prompts: What was answered, in prompt order.
        table: The completions and their values.
    """

    point: EvalPoint
    prompts: tuple[Prompt, ...]
    table: Table


def score_file(completions: str | Path, config: str | Path) -> Scored:
    """Judge a file of completions with the settings of a YAML file; nothing is written.

    Args:
        completions: A file (or folder of shards) of rows with an id or a prompt, and a completion; or
            ``FILE:COLUMN`` for answers in another column, or under a name in its ``references``.
        config: Settings; they must name references.

    Raises:
        ValueError: If the settings name no references, or the file lacks that column.
    """
    from rm_monitor.generators.recorded import RecordedGenerator  # noqa: PLC0415  the room imports torch

    settings = MonitorConfig.from_yaml(config)
    if settings.references is None:
        raise ValueError("`references` is needed to judge a file: name a column or a file in the settings")
    path, column = _split(str(completions))
    monitor = RewardMonitor.from_config(settings, generator=RecordedGenerator(path, column=column))
    point, table = judge_once(monitor)
    return Scored(point, tuple(monitor.settings.prompts), table)


def _split(text: str) -> tuple[str, str | None]:
    """``FILE`` or ``FILE:COLUMN``."""
    path, _, column = text.rpartition(":")
    if Path(text).exists() or not path or not Path(path).exists():
        return text, None
    return path, column
