"""The settings that a host's configuration file holds, as a callback."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rm_monitor.monitor.config import MonitorConfig, read_settings, with_line

if TYPE_CHECKING:
    from rm_monitor.monitor.callback import RewardMonitorCallback

__all__ = ["OPTIONS", "callback_of", "read"]

OPTIONS = ("select_best", "stop_on_degradation", "baseline", "examine")  # of the callback, not of the monitor


def read(settings: Mapping[str, Any] | str | Path) -> tuple[MonitorConfig, dict[str, Any]]:
    """Check settings before anything is loaded.

    Args:
        settings: What `RewardMonitor` and `RewardMonitorCallback` take, by the same names; or a YAML file.

    Returns:
        The monitor's settings, and the callback's options.

    Raises:
        ValueError: If a setting is unknown or missing, or the file is no mapping.
        FileNotFoundError: If there is no such file.

    Example:
        >>> config, options = read({"reward_model": "rm/", "prompts": "p.jsonl", "stop_on_degradation": True})
        >>> config.prompts, options
        ('p.jsonl', {'stop_on_degradation': True})
    """
    if isinstance(settings, (str, Path)):
        return with_line(settings, read_settings(settings), read)
    options = {name: settings[name] for name in OPTIONS if name in settings}
    return MonitorConfig.from_mapping({k: v for k, v in settings.items() if k not in options}), options


def callback_of(settings: Mapping[str, Any] | str | Path) -> RewardMonitorCallback:
    """Load what the settings name: the reward model, the prompts.

    Raises:
        ValueError: As in `read`, or as `RewardMonitor` does.
    """
    from rm_monitor.monitor.callback import RewardMonitorCallback  # noqa: PLC0415  needs transformers
    from rm_monitor.monitor.monitor import RewardMonitor  # noqa: PLC0415  loads judges

    config, options = read(settings)
    return RewardMonitorCallback(RewardMonitor.from_config(config), **options)
