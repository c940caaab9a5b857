"""Checkpoints as tasks on an existing Ray cluster: no scheduler of our own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rm_monitor.curve.measured import Measured

__all__ = ["measure_on_ray"]


def measure_on_ray(tasks: Sequence[tuple[Any, ...]], *, address: str) -> Iterator[Measured]:
    """Run `measure_checkpoint` for each task, in order; a task whose worker dies is tried again.

    Args:
        tasks: Arguments of `measure_checkpoint`.
        address: ``"local"`` starts Ray on this machine; else as ``ray.init(address=...)`` takes it.

    Raises:
        ImportError: If Ray is not installed; the message says how to get it.
    """
    try:
        import ray  # noqa: PLC0415  an extra
    except ImportError as missing:
        raise ImportError("sweeping on Ray needs ray: pip install 'rm_monitor[ray]'") from missing
    from rm_monitor.sweep.run import measure_checkpoint  # noqa: PLC0415  run imports this module

    started = not ray.is_initialized()
    if started:
        ray.init(address=None if address == "local" else address, include_dashboard=False)
    try:
        remote = ray.remote(max_retries=3)(measure_checkpoint)
        for reference in [remote.remote(*task) for task in tasks]:
            yield ray.get(reference)
    finally:
        if started:
            ray.shutdown()
