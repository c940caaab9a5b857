"""Judge every checkpoint in a folder, in order, each once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from rm_monitor.curve.curve import Curve
from rm_monitor.curve.measured import Measured
from rm_monitor.monitor.config import MonitorConfig
from rm_monitor.monitor.monitor import RewardMonitor
from rm_monitor.monitor.reading import reader
from rm_monitor.monitor.run import EVERY_STEP, Run
from rm_monitor.sweep.discover import Found, Source
from rm_monitor.types import LoadsCheckpoints

__all__ = ["Swept", "measure_checkpoint", "measure_loaded", "sweep"]


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
    source: Source,
    config: MonitorConfig,
    *,
    jobs: int = 1,
    ray: str | None = None,
    monitor: RewardMonitor | None = None,
) -> tuple[RewardMonitor, Swept]:
    """Judge every complete checkpoint that was not judged yet, in order of step.

    The records are those the callback writes for the same settings; running it again judges only what is new.

    Args:
        source: Where the checkpoints come from.
        config: What to judge with; files go beside the checkpoints unless ``output_dir`` says otherwise.
        jobs: Processes that measure side by side; the records are the same for any number.
        ray: Address of a Ray cluster (``"auto"``, ``"local"``) to measure on instead.
        monitor: A monitor to use instead of building one from ``config`` (only with one job).

    Raises:
        ValueError: If an argument breaks a rule, or no checkpoint was found.
    """
    if jobs < 1:
        raise ValueError(f"`jobs` must be at least 1, got {jobs}")
    config = config.model_copy(update={"output_dir": config.output_dir or str(source.folder)})
    found = source.discover()
    if not found and source.base is None:
        raise ValueError(source.nothing())
    monitor = monitor or RewardMonitor.from_config(config)
    if (jobs > 1 or ray is not None) and isinstance(monitor.settings.generator, LoadsCheckpoints):
        raise ValueError(
            "`jobs` must be 1 and `ray` None with a server: it has one checkpoint's weights at a time"
        )
    run = monitor.begin(resume_step=EVERY_STEP, horizon=len(found) + (source.base is not None))
    swept = Swept()
    done = {p.step for p in Curve(monitor.curve).segment(run.segment) if p.status in ("ok", "partial")}
    if source.base is not None and 0 not in done:
        measured = measure_loaded(run, source, None, 0)
        run.record(measured, step=0, checkpoint=source.base_folder)
        swept.judged.append(0)
    todo = []
    for checkpoint in found:
        if checkpoint.step in done:
            swept.known.append(checkpoint.step)
            monitor.saved(checkpoint.step, checkpoint.path)
        elif checkpoint.problem is not None:
            swept.left_out[checkpoint.step] = checkpoint.problem
        else:
            todo.append(checkpoint)
    if run.parts.evaluator.needs_references and todo:  # the first checkpoint gives the references
        first, todo = todo[0], todo[1:]
        run.record(
            measure_loaded(run, source, first.path, first.step), step=first.step, checkpoint=first.path
        )
        swept.judged.append(first.step)
    for checkpoint, measured in _measure(run, source, config, todo, jobs, ray):
        run.record(measured, step=checkpoint.step, checkpoint=checkpoint.path)
        swept.judged.append(checkpoint.step)
    return monitor, swept


def _measure(
    run: Run,
    source: Source,
    config: MonitorConfig,
    todo: list[Found],
    jobs: int,
    ray: str | None,
) -> Iterable[tuple[Found, Measured]]:
    """Measurements of these checkpoints, in order of step however they were made."""
    tasks = [(config, source, f.path, f.step) for f in todo]
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
            yield checkpoint, measure_loaded(run, source, checkpoint.path, checkpoint.step)


@contextmanager
def _pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Fresh processes: a fork after torch has started threads can hang."""
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield pool


def measure_checkpoint(config: MonitorConfig, source: Source, path: Path, step: int) -> Measured:
    """Answer and score with one checkpoint, in any process on any machine that sees the files."""
    return measure_loaded(_reader(config), source, path, step)


_readers: dict[str, Run] = {}


def _reader(config: MonitorConfig) -> Run:
    """One run a process and configuration: the reward model is loaded once, nothing is written."""
    key = repr(config)
    if key not in _readers:
        _readers[key] = reader(RewardMonitor.from_config(config))
    return _readers[key]


def measure_loaded(run: Run, source: Source, path: Path | None, step: int) -> Measured:
    """Load a checkpoint (None: the base) and measure it; what goes wrong is in the result."""
    generator = run.parts.settings.generator
    try:
        if generator is not None and isinstance(generator, LoadsCheckpoints):  # nothing is loaded here
            generator.load_checkpoint(path, base=source.base)
            return run.measure(step=step)
        model, tokenizer = source.load(path)
    except Exception as problem:
        return Measured(table=None, error=problem)
    return run.measure(model, tokenizer, step=step)
