"""axolotl: ``plugins: [rm_monitor.integrations.axolotl.RewardMonitorPlugin]`` and an ``rm_monitor:`` section.

The plug-in's class is made when axolotl asks for it, so that this module can be imported without axolotl.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, field_validator

from rm_monitor.integrations.settings import callback_of, read

__all__ = ["RewardMonitorArgs", "RewardMonitorPlugin"]  # noqa: F822  made when it is asked for


class RewardMonitorArgs(BaseModel):
    """What axolotl's own schema learns: the section, checked when the file is read.

    Example:
        >>> RewardMonitorArgs(rm_monitor={"prompts": "p.jsonl"})
        Traceback (most recent call last):
            ...
        pydantic_core._pydantic_core.ValidationError: 1 validation error for RewardMonitorArgs
        ...
    """

    rm_monitor: dict[str, Any] | None = None

    @field_validator("rm_monitor")
    @classmethod
    def _of_a_monitor(cls, section: dict[str, Any] | None) -> dict[str, Any] | None:
        if section is not None:
            read(section)
        return section


def __getattr__(name: str) -> Any:
    if name != "RewardMonitorPlugin":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from axolotl.integrations.base import BasePlugin  # noqa: PLC0415  the host

    class RewardMonitorPlugin(BasePlugin):
        """Adds the callback to the trainer that axolotl builds."""

        def get_input_args(self) -> str:
            """The section's schema."""
            return f"{__name__}.RewardMonitorArgs"

        def add_callbacks_post_trainer(self, cfg: Any, trainer: Any) -> list[Any]:
            """The callback; none without the section."""
            return [] if cfg.rm_monitor is None else [callback_of(dict(cfg.rm_monitor))]

    globals()[name] = RewardMonitorPlugin  # one class, however often it is asked for
    return RewardMonitorPlugin
