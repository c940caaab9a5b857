"""A monitor's settings as a dataclass that reads YAML: what `RewardMonitor.from_config` takes.

Only settings that can be written down are here; objects (a loaded model, a function, a sink) go to
`RewardMonitor` itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from rm_monitor.types import Sampling, Tolerance

__all__ = ["MonitorConfig"]


@dataclass(kw_only=True)
class MonitorConfig:
    """The arguments of `RewardMonitor` that can be written in a file; see there for their meaning.

    Example:
        >>> MonitorConfig.from_mapping({"reward_model": "rm/", "prompts": "p.jsonl", "every": 50}).every
        50
    """

    reward_model: str | dict[str, str]
    prompts: str
    references: str | dict[str, str] | None = None
    every: int | None = None
    output_dir: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    metric: str = "win_prob"
    report_to: str | list[str] | None = None
    seed: int = 0
    on_error: str = "warn"
    keep_best: int = 1
    temperature: float | None = None
    min_drop: float = 0.02
    tolerance: Tolerance = 0.0
    horizon: int | None = None
    training_reward: str | list[str] | None = None
    kl: bool | str | None = None
    generator: str | dict[str, Any] | None = None
    confirm_on_warn: str | None = None
    max_overhead: float | None = None
    early_stop: str | None = None
    overlap: bool | str = False
    sharded_weights: str = "gather"

    @classmethod
    def from_mapping(cls, settings: dict[str, Any]) -> MonitorConfig:
        """Check names and build.

        Raises:
            ValueError: If a setting is unknown or a needed one is missing.
        """
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(settings) - known)
        if unknown:
            raise ValueError(f"unknown settings {unknown}; the settings are {sorted(known)}")
        missing = sorted({"reward_model", "prompts"} - set(settings))
        if missing:
            raise ValueError(f"a monitor needs the settings {missing}")
        settings = dict(settings)
        sampling = settings.pop("sampling", None)
        if isinstance(sampling, dict):
            sampling = Sampling(**sampling)
        return cls(**settings, **({} if sampling is None else {"sampling": sampling}))

    @classmethod
    def from_yaml(cls, path: str | Path) -> MonitorConfig:
        """Read a YAML file of settings.

        Raises:
            ValueError: If the file is not a mapping, or as in `from_mapping`.
        """
        settings = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        if not isinstance(settings, dict):
            raise ValueError(f"{path} must hold a mapping of settings, got {type(settings).__name__}")
        return cls.from_mapping(settings)
