"""The best of a swept run, answered again on held-out prompts (`rm_monitor.sweep.confirmation`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from rm_monitor.curve import tables
from rm_monitor.errors import GenerationError
from rm_monitor.monitor.config import MonitorConfig
from rm_monitor.monitor.monitor import RewardMonitor
from rm_monitor.monitor.reading import reader
from rm_monitor.monitor.run import Run
from rm_monitor.prompts import PromptSet, load_prompts
from rm_monitor.sweep.confirmation import Confirmation, confirm_best
from rm_monitor.sweep.discover import Source
from rm_monitor.sweep.run import measure_loaded
from rm_monitor.types import EvalPoint, FloatArray, Prompt

__all__ = ["confirm", "stages_of"]


def stages_of(top: int) -> tuple[int, ...]:
    """How many checkpoints answer at each stage: the top few, then the better half of them, rounded up.

    Example:
        >>> stages_of(5), stages_of(2), stages_of(1)
        ((5, 3), (2,), (1,))
    """
    return (top, (top + 1) // 2) if top > 2 else (top,)


def confirm(
    monitor: RewardMonitor, source: Source, config: MonitorConfig, held_out: str | Path, *, top: int = 5
) -> Confirmation:
    """Let the top few checkpoints of a judged run answer prompts that the run was not judged on.

    Args:
        monitor: Holds the run's curve.
        source: Where its checkpoints came from.
        config: What the run was judged with; its ``references`` must be found beside the held-out prompts
            too, or be None (then the base answers them).
        held_out: File of prompts, at least 10 a stage.
        top: How many answer again.

    Raises:
        ValueError: If ``top`` is below 1, the prompts do not fit, or there is no base where one is needed.
    """
    if top < 1:
        raise ValueError(f"`confirm` is how many checkpoints answer again, at least 1, got {top}")
    if config.references is None and source.base is None:
        raise ValueError(
            "`base` is needed to confirm: the references are the initial policy's answers, and it has to "
            "answer the held-out prompts too"
        )
    prompts = load_prompts(held_out)
    assert monitor.run is not None, "a swept monitor has a run"
    parts = monitor.run.parts
    with TemporaryDirectory(prefix="rm-monitor-confirm-") as folder:
        again = _Again(parts.evaluator.scorer_set.scorers, source, config, prompts, Path(folder))
        return confirm_best(
            monitor.curve,
            prompts,
            again,
            metric=parts.metric,
            keep=stages_of(top),
            temperature=parts.evaluator.scorer_set.pool_temperature,
            seed=config.seed,
        )


class _Again:
    """Answers held-out prompts with a saved checkpoint; each stage has a monitor of its own."""

    def __init__(
        self,
        judges: Mapping[str, Any],
        source: Source,
        config: MonitorConfig,
        prompts: PromptSet,
        folder: Path,
    ) -> None:
        self._judges, self._source, self._config = judges, source, config
        self._prompts, self._folder = prompts, folder
        self._stages: dict[tuple[str, ...], Run] = {}

    def __call__(self, point: EvalPoint, prompts: Sequence[Prompt]) -> Mapping[str, FloatArray]:
        """See `rm_monitor.sweep.confirmation.AnswersAgain`."""
        run = self._stage(tuple(p.id for p in prompts), prompts)
        path = None if point.step == 0 else Path(str(point.checkpoint))
        return self._values(run, path, point.step)

    def _stage(self, key: tuple[str, ...], prompts: Sequence[Prompt]) -> Run:
        if key not in self._stages:
            objects: dict[str, Any] = {
                "reward_model": self._judges,
                "prompts": self._prompts.only(prompts),
                "output_dir": self._folder / str(len(self._stages)),
                "report_to": "none",
                "alarm": replace(self._config.alarm, confirm_on_warn=None),
            }
            run = reader(RewardMonitor.from_config(self._config, **objects))
            if run.parts.evaluator.needs_references:
                self._values(run, None, 0)
            self._stages[key] = run
        return self._stages[key]

    def _values(self, run: Run, path: Path | None, step: int) -> Mapping[str, FloatArray]:
        measured = measure_loaded(run, self._source, path, step)
        if measured.table is None:
            raise GenerationError(f"step {step} could not answer the held-out prompts") from measured.error
        values = tables.per_prompt(measured.table)
        return {name: np.asarray(x, dtype=np.float64) for name, x in values.items()}
