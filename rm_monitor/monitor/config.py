"""`MonitorConfig`: the arguments of `RewardMonitor` that can be written in a file, checked by one table.

Only settings that can be written down are here; objects (a loaded model, a function, a sink) go to
`RewardMonitor` itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from rm_monitor.monitor.schedule import Schedule, as_schedule
from rm_monitor.types import Alarm, Sampling
from rm_monitor.types.checks import build, did_you_mean

__all__ = ["MonitorConfig", "read_settings", "with_line"]

T = TypeVar("T")

_MOVED = {
    **dict.fromkeys(("max_overhead", "steps"), " (a setting of `every`: {every: 200, max_overhead: 0.1})"),
    **dict.fromkeys(Alarm.__dataclass_fields__, " (a setting of `alarm`)"),
    **dict.fromkeys(Sampling.__dataclass_fields__, " (a setting of `sampling`)"),
    "temperature": " (of answers: a setting of `sampling`; of rewards: {source: ..., temperature: 2.0})",
    "sharded_weights": " (a setting of `generator`)",
}

Judge = str | dict[str, Any]  # what `load_scorer` takes, or a mapping of its options with `source`


class MonitorConfig(BaseModel):
    """The arguments of `RewardMonitor` that can be written in a file; see there for their meaning.

    ``sampling``, ``alarm`` and ``every`` may be mappings of the settings of `Sampling`, `Alarm` and
    `Schedule`; ``reward_model`` a mapping of `load_scorer`'s options with ``source``, or of judges by name;
    ``generator`` one of a server's settings. ``MonitorConfig.model_json_schema()`` is a JSON schema for
    editors.

    Raises:
        ValueError: If a setting is unknown, missing, or breaks its rule.

    Example:
        >>> MonitorConfig.of({"reward_model": "rm/", "prompts": "p.jsonl", "keep_best": 3}).keep_best
        3
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True, strict=True)

    reward_model: Judge | dict[str, Judge]
    prompts: str
    references: str | dict[str, str] | None = None
    every: int | Schedule | None = None
    sampling: Sampling = Sampling()
    metric: str = "win_prob"
    alarm: Alarm = Alarm()
    keep_best: int = 1
    output_dir: str | None = None
    report_to: str | list[str | dict[str, Any]] | dict[str, Any] | None = None
    name: str = ""
    prompt_format: str | list[str] | dict[str, Any] | None = None
    generator: str | dict[str, Any] | None = None
    kl: bool | str | None = None
    overlap: bool | str = False
    seed: int = 0
    on_error: str = "warn"

    @field_validator("every", "sampling", "alarm", mode="before")
    @classmethod
    def _grouped(cls, given: Any, info: ValidationInfo) -> Any:
        """A group of settings from its mapping, refused in the group's own words."""
        if info.field_name == "every":
            return given if given is None else as_schedule(given)
        return build(Sampling if info.field_name == "sampling" else Alarm, str(info.field_name), given)

    @classmethod
    def of(cls, given: MonitorConfig | Mapping[str, Any] | str | Path) -> MonitorConfig:
        """From itself, a mapping, or the path of a YAML file.

        Raises:
            ValueError: If a setting is unknown, missing, or breaks its rule.
        """
        if isinstance(given, MonitorConfig):
            return given
        if isinstance(given, (str, Path)):
            return cls.from_yaml(given)
        return cls.from_mapping(given)

    @classmethod
    def from_mapping(cls, settings: Mapping[str, Any], *, where: str = "") -> MonitorConfig:
        """Check names, types and ranges, and build.

        Args:
            settings: Name -> value.
            where: Of a file, for messages.

        Raises:
            ValueError: If a setting is unknown, missing, or breaks its rule.
        """
        known = list(cls.model_fields)
        at = f"{where}: " if where else ""
        unknown = [name for name in settings if name not in known]
        if unknown:
            first = unknown[0]
            hint = _MOVED.get(first, "") or did_you_mean(first, known)
            raise ValueError(f"{at}unknown settings {unknown}{hint}; the settings are {sorted(known)}")
        missing = sorted({"reward_model", "prompts"} - set(settings))
        if missing:
            raise ValueError(f"{at}a monitor needs the settings {missing}")
        try:
            return cls(**settings)
        except ValidationError as problem:
            raise ValueError(f"{at}{_in_words(problem)}") from None

    @classmethod
    def from_yaml(cls, path: str | Path) -> MonitorConfig:
        """Read a YAML file of settings.

        Raises:
            ValueError: If the file is not a mapping, or as in `from_mapping`; with its line where known.
            FileNotFoundError: If it is not there.
        """
        return with_line(path, read_settings(path), cls.from_mapping)

    def arguments(self) -> dict[str, Any]:
        """As `RewardMonitor` takes them."""
        return {name: getattr(self, name) for name in type(self).model_fields}


def read_settings(path: str | Path) -> dict[str, Any]:
    """What a YAML file holds, unchecked.

    Raises:
        ValueError: If it cannot be read or is not a mapping; with the line where known.
        FileNotFoundError: If it is not there.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FileNotFoundError(f"no such file of settings: {path}") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise ValueError(f"{path} cannot be read: {problem}") from None
    try:
        settings = yaml.safe_load(text)
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        line = "" if mark is None else f" line {mark.line + 1}"
        raise ValueError(f"{path}{line}: {getattr(problem, 'problem', None) or problem}") from None
    if not isinstance(settings, dict):
        raise ValueError(f"{path} must hold a mapping of settings, got {type(settings).__name__}")
    return settings


def with_line(path: str | Path, settings: Mapping[str, Any], build: Callable[[Mapping[str, Any]], T]) -> T:
    """What ``build`` makes of a file's settings; a refusal names the file, and the line where it can be told.

    Raises:
        ValueError: As ``build`` does.
    """
    try:
        return build(settings)
    except ValueError as problem:
        line = _line_of(Path(path).read_text(encoding="utf-8"), str(problem))
        raise ValueError(f"{path}{line}: {problem}") from None


def _in_words(problem: ValidationError) -> str:
    """The first thing that is wrong, in the words that the arguments themselves are refused with."""
    error = problem.errors()[0]
    said = error["msg"].removeprefix("Value error, ")
    if said.startswith("`"):
        return said
    return f"`{error['loc'][0]}`: {said[0].lower()}{said[1:]}, got {error['input']!r:.100}"


def _line_of(text: str, problem: str) -> str:
    """`` line 3``, of the setting that a message names first; empty if that cannot be told."""
    for name in re.findall(r"[`']([A-Za-z_]+)[`']", problem):
        for number, line in enumerate(text.splitlines(), 1):
            if re.search(rf"(?:^|[\s{{,]){name}[\"']?\s*:", line):
                return f" line {number}"
    return ""
