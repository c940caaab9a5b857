"""The best checkpoint as a model artifact of W&B: one collection a run, whose alias ``best`` moves."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any, Literal, TypeAlias

from rm_monitor.types import Best, Update

__all__ = ["LogBest", "Models"]

log = logging.getLogger("rm_monitor")

LogBest: TypeAlias = Literal["reference", "upload"] | None


class Models:
    """Says once for each checkpoint that was ever the best where it lies, or uploads it.

    Args:
        run: A W&B run.
        log_best: See `WandbSink`.
        link: Likewise.
    """

    def __init__(self, run: Any, *, log_best: LogBest, link: str | None) -> None:
        self._run = run
        self._log_best = log_best
        self._link = link
        self._logged: int | None = None

    def show(self, update: Update) -> None:
        """Log the best if it is another one and lies on disk."""
        best = update.best
        if self._log_best is None or best is None or best.step == self._logged:
            return
        if best.checkpoint is None or not Path(best.checkpoint).is_dir():
            return  # about to be saved
        if not self._alias_of_the_trainers(best):
            self._log(best, update)
        self._logged = best.step

    close = show  # the last best may have been saved after it was shown

    def _log(self, best: Best, update: Update) -> None:
        import wandb  # noqa: PLC0415  a run is open

        folder = Path(str(best.checkpoint)).resolve()  # `best/` shows another step tomorrow
        value, low, high, n = best.value
        artifact = wandb.Artifact(
            f"{self._run.id}-best",
            type="model",
            metadata={
                "step": best.step,
                "metric": update.metric,
                update.metric: float(value),
                "low": float(low),
                "high": float(high),
                "n": int(n),
                "p_best": float(best.p_best),
                "segment": update.point.segment,
                "path": str(folder),
            },
        )
        if self._log_best == "upload":
            artifact.add_dir(str(folder))  # copied first: a later best may let go of this folder
        else:
            # Unread: hashing the weights would hold training up.
            artifact.add_reference(folder.as_uri(), checksum=False)
        aliases = ["best", f"step-{best.step}"]
        logged = self._run.log_artifact(artifact, aliases=aliases)
        if self._link is not None:
            self._run.link_artifact(logged, target_path=self._link, aliases=aliases)

    def _alias_of_the_trainers(self, best: Best) -> bool:
        """Put the alias on the artifact that transformers made of this very checkpoint, if it did.

        Returns:
            False where it makes none, or where W&B does not (yet) have it.
        """
        if os.environ.get("WANDB_LOG_MODEL", "").lower() != "checkpoint" or self._run.offline:
            return False
        import wandb  # noqa: PLC0415  a run is open

        for name in (f"model-{self._run.id}", f"model-{self._run.name}"):
            where = f"{self._run.entity}/{self._run.project}/{name}"
            try:
                artifact = wandb.Api().artifact(f"{where}:checkpoint_global_step_{best.step}")
                artifact.aliases.extend(["best", f"step-{best.step}"])
                artifact.save()
                if self._link is not None:
                    artifact.link(self._link, aliases=["best"])
            except (wandb.errors.CommError, ValueError) as why:
                log.debug("%s has no checkpoint of step %d: %s", where, best.step, why)
            else:
                return True
        return False
