"""Lightning: ``Trainer(callbacks=[RewardMonitorCallback(monitor, tokenizer), ModelCheckpoint(...)])``.

The class is made when it is asked for, so that this module can be imported without Lightning.
"""

from __future__ import annotations

import math
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rm_monitor.types import EvalPoint

if TYPE_CHECKING:
    from rm_monitor.monitor.monitor import RewardMonitor

__all__ = ["RewardMonitorCallback"]  # noqa: F822  made when it is asked for


class _Events:
    """What Lightning's events mean for a monitor."""

    def __init__(self, monitor: RewardMonitor, tokenizer: Any, *, model: str | None = None) -> None:
        """Judges checkpoints while a ``lightning.Trainer`` runs.

        Numbers reach ``trainer.callback_metrics`` as ``rm_<metric>``, so ``ModelCheckpoint(monitor=
        "rm_win_prob", mode="max")`` and ``EarlyStopping`` work if they are listed after this one; and every
        logger of the trainer as ``rm_monitor/<metric>`` (W&B by the monitor's own sink, with pictures).

        Args:
            monitor: What to judge with; without an ``output_dir`` files go below ``default_root_dir``.
            tokenizer: Of the policy.
            model: Attribute of the LightningModule that holds the transformers model, dotted if it lies
                deeper; None: the one child that can ``generate``.
        """
        super().__init__()
        self.monitor = monitor
        self._tokenizer = tokenizer
        self._model = model
        self._step: int | None = None
        self._judged: int | None = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin a run, or go on with one that is resumed; judge the weights that training starts from."""
        self._policy(pl_module)  # refused before training
        self._step = self._judged = None
        self.monitor.begin(resume_step=trainer.global_step or None, output_dir=trainer.default_root_dir)
        self._look(trainer, pl_module)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any, **kwargs: Any) -> None:
        """Once an optimizer step: with gradient accumulation most batches are none."""
        self._look(trainer, pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Judge the last weights, print the summary."""
        if self._judged != trainer.global_step:
            self._look(trainer, pl_module, always=True)
        self.monitor.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """The run has ended here, too."""
        self.monitor.close()

    def _look(self, trainer: Any, pl_module: Any, *, always: bool = False) -> None:
        step = trainer.global_step
        if step == self._step and not always:
            return
        self._step = step
        policy = self._policy(pl_module)

        def save(folder: Path) -> None:
            if trainer.is_global_zero:
                policy.save_pretrained(folder)
                self._tokenizer.save_pretrained(folder)

        point: EvalPoint | None
        if always:
            point = self.monitor.evaluate(policy, self._tokenizer, step=step, save=save)
        else:
            point = self.monitor.step(step, policy, self._tokenizer, save=save)
        if point is not None:
            self._judged = step
            self._tell(trainer, point)

    def _tell(self, trainer: Any, point: EvalPoint) -> None:
        """Give the numbers to Lightning's own callbacks and loggers; an unknown one stops no training."""
        import torch  # noqa: PLC0415  Lightning has it

        known = {name: e for name, e in point.metrics.items() if math.isfinite(e.value)}
        trainer.callback_metrics.update({f"rm_{name}": torch.tensor(e.value) for name, e in known.items()})
        row = {f"rm_monitor/{name}": float(e.value) for name, e in known.items()}
        for name, e in known.items():
            row |= {f"rm_monitor/{name}_low": float(e.low), f"rm_monitor/{name}_high": float(e.high)}
        for logger in trainer.loggers:
            if type(logger).__name__ != "WandbLogger":  # the monitor's own sink logs there, with pictures
                logger.log_metrics({k: x for k, x in row.items() if math.isfinite(x)}, step=point.step)

    def _policy(self, pl_module: Any) -> Any:
        if self._model is not None:
            return attrgetter(self._model)(pl_module)
        found = {name: m for name, m in pl_module.named_children() if callable(getattr(m, "generate", None))}
        if len(found) != 1:
            raise ValueError(
                f"{type(pl_module).__name__} has {len(found)} children that can generate "
                f"({sorted(found)}), and one is to be judged: pass `model`, the name of its attribute"
            )
        return next(iter(found.values()))


@cache
def _callback() -> Any:
    try:
        from lightning.pytorch import Callback  # noqa: PLC0415  the host
    except ImportError:
        from pytorch_lightning import Callback  # noqa: PLC0415  its older name

    return type("RewardMonitorCallback", (_Events, Callback), {"__doc__": _Events.__init__.__doc__})


def __getattr__(name: str) -> Any:
    if name != "RewardMonitorCallback":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _callback()
