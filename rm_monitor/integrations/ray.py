"""Ray Train: what the monitor wrote on a worker's disk, in the experiment's storage.

The numbers need nothing: behind our callback, Ray's own ``RayTrainReportCallback`` reports them with
each checkpoint, so that ``metric="rm_monitor/win_prob"`` works in Tune, too.
"""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from rm_monitor.monitor.monitor import RewardMonitor

__all__ = ["StoreInRay"]


class StoreInRay(TrainerCallback):
    """Copies ``_rm_monitor`` (page, history, best checkpoint) to ``<storage_path>/<name>/_rm_monitor``.

    A worker's disk goes with the worker. List it behind ``RewardMonitorCallback``.

    Args:
        monitor: The run's.
        every_save: Also at each save, so that a worker that dies has left what it knew.
    """

    def __init__(self, monitor: RewardMonitor, *, every_save: bool = True) -> None:
        self._monitor = monitor
        self._every_save = every_save

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Copy what there is."""
        if self._every_save:
            self._copy()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Copy the whole."""
        self._copy()

    def _copy(self) -> None:
        import ray.train  # noqa: PLC0415  the host
        from pyarrow import fs  # noqa: PLC0415  Ray has it

        context = ray.train.get_context()
        if context.get_world_rank() != 0:
            return
        storage = context.get_storage()
        run = self._monitor.run
        if run is None or not run.folder.is_dir():
            return
        target = f"{storage.experiment_fs_path}/_rm_monitor"
        fs.copy_files(
            str(run.folder.resolve()),
            target,
            source_filesystem=fs.LocalFileSystem(),
            destination_filesystem=storage.storage_filesystem,
        )
