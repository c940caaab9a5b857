"""Judge every checkpoint in a folder, in order, each once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from rm_monitor.config import MonitorConfig
from rm_monitor.measurer import Measured
from rm_monitor.monitor import RewardMonitor
from rm_monitor.sweep.discover import PATTERN, Found, discover, load, load_base

__all__ = ["Swept", "sweep"]

log = logging.getLogger("rm_monitor")


@dataclass(slots=True)
class Swept:
    """What a sweep did.

    Attributes:
        judged: Steps judged now.
        known: Steps that were judged before.
        left_out: Step -> why it was not judged.
    """

    judged: list[int] = field(default_factory=list)
    known: list[int] = field(default_factory=list)
    left_out: dict[int, str] = field(default_factory=dict)


def sweep(
    folder: str | Path,
    config: MonitorConfig,
    *,
    base: str | Path | None = None,
    tokenizer: str | Path | None = None,
    pattern: str = PATTERN,
    jobs: int = 1,
    ray: str | None = None,
    monitor: RewardMonitor | None = None,
) -> tuple[RewardMonitor, Swept]:
    """Judge every complete checkpoint in a folder that was not judged yet, in order of step.

    The records are those the callback writes for the same settings; running it again judges only what is new.

    Args:
        folder: Where the checkpoints lie; our files go beside them unless ``config.output_dir`` says
            otherwise.
        config: What to judge with.
        base: The model before training, judged as step 0, and the base of adapters.
        tokenizer: Where the tokenizer lies, if not beside the weights.
        pattern: See `discover`.
        jobs: Processes that measure side by side; the records are the same for any number.
        ray: Address of a Ray cluster (``"auto"``, ``"local"``) to measure on instead.
        monitor: A monitor to use instead of building one from ``config`` (only with one job).

    Raises:
        ValueError: If an argument breaks a rule, or no checkpoint was found.
    """
    if jobs < 1:
        raise ValueError(f"`jobs` must be at least 1, got {jobs}")
    if config.output_dir is None:
        config.output_dir = str(folder)
    found = discover(folder, pattern=pattern)
    if not found and base is None:
        raise ValueError(f"no checkpoints in {folder} whose name matches {pattern!r}")
    monitor = monitor or RewardMonitor.from_config(config)
    monitor.start(
        resume_step=max((f.step for f in found), default=0), horizon=len(found) + (base is not None)
    )
    swept = Swept()
    done = {p.step for p in monitor.curve if p.segment == monitor.segment and p.status in ("ok", "partial")}
    if base is not None and 0 not in done:
        monitor.evaluate(*load_base(base), step=0)
        swept.judged.append(0)
        done = done | {0}
    todo = []
    for checkpoint in found:
        if checkpoint.step in done:
            swept.known.append(checkpoint.step)
        elif checkpoint.problem is not None:
            swept.left_out[checkpoint.step] = checkpoint.problem
        else:
            todo.append(checkpoint)
    if monitor.needs_own_references and todo:  # the first checkpoint gives the references
        first, todo = todo[0], todo[1:]
        monitor.evaluate(
            *load(first.path, base=base, tokenizer=tokenizer), step=first.step, checkpoint=first.path
        )
        swept.judged.append(first.step)
    for checkpoint, measured in _measure(monitor, config, todo, base, tokenizer, jobs, ray):
        monitor.record(measured, step=checkpoint.step, checkpoint=checkpoint.path)
        swept.judged.append(checkpoint.step)
    return monitor, swept


def _measure(
    monitor: RewardMonitor,
    config: MonitorConfig,
    todo: list[Found],
    base: str | Path | None,
    tokenizer: str | Path | None,
    jobs: int,
    ray: str | None,
) -> Iterable[tuple[Found, Measured]]:
    """Measurements of these checkpoints, in order of step however they were made."""
    tasks = [(config, str(f.path), f.step, base, tokenizer) for f in todo]
    if ray is not None:
        from rm_monitor.sweep.on_ray import measure_on_ray  # noqa: PLC0415  ray is an extra

        yield from zip(todo, measure_on_ray(tasks, address=ray), strict=True)
    elif jobs > 1:
        with _pool(jobs) as pool:
            futures: list[Future[Measured]] = [pool.submit(measure_checkpoint, *task) for task in tasks]
            for checkpoint, future in zip(todo, futures, strict=True):
                yield checkpoint, future.result()
    else:
        for checkpoint in todo:
            yield checkpoint, _measured(monitor, checkpoint.path, checkpoint.step, base, tokenizer)


@contextmanager
def _pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Fresh processes: a fork after torch has started threads can hang."""
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield pool


def measure_checkpoint(
    config: MonitorConfig,
    path: str,
    step: int,
    base: str | Path | None = None,
    tokenizer: str | Path | None = None,
) -> Measured:
    """Answer and score with one checkpoint, in any process on any machine that sees the files."""
    return _measured(_reader(config), Path(path), step, base, tokenizer)


_readers: dict[str, RewardMonitor] = {}


def _reader(config: MonitorConfig) -> RewardMonitor:
    """One monitor a process and configuration: the reward model is loaded once, nothing is written."""
    key = repr(config)
    if key not in _readers:
        _readers[key] = RewardMonitor.from_config(config)
        _readers[key].start_reading()
    return _readers[key]


def _measured(
    monitor: RewardMonitor, path: Path, step: int, base: str | Path | None, tokenizer: str | Path | None
) -> Measured:
    try:
        model, its_tokenizer = load(path, base=base, tokenizer=tokenizer)
    except Exception as problem:
        log.warning("rm_monitor: %s cannot be loaded", path, exc_info=True)
        return Measured(table=None, error=problem)
    return monitor.measure(model, its_tokenizer, step=step)
