"""What `--help` says beside a command's own words: an example, and words instead of Python's types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typer.core import TyperGroup

from rm_monitor.cli.verbosity import NAMES

__all__ = ["EXAMPLES", "Helped"]

EXAMPLES = {
    "average": "rm-monitor average out --steps 400 600 800 --config monitor.yaml",
    "best": "rm-monitor best out --export best-model",
    "cache": "rm-monitor cache stats",
    "cache stats": "rm-monitor cache stats",
    "cache verify": "rm-monitor cache verify",
    "cache export": "rm-monitor cache export scores.jsonl.gz",
    "cache import": "rm-monitor cache import scores.jsonl.gz",
    "cache prune": "rm-monitor cache prune --older-than 90",
    "check": "rm-monitor check monitor.yaml",
    "compare": "rm-monitor compare 200 best --run out",
    "demo": "rm-monitor demo --output-dir demo",
    "doctor": "rm-monitor doctor Skywork/Skywork-Reward-V2-Qwen3-0.6B",
    "export": "rm-monitor export out --csv",
    "power": "rm-monitor power --prompts 256 --evaluations 20",
    "prompts": "rm-monitor prompts data/ --without train.jsonl -o prompts.jsonl",
    "rank": "rm-monitor rank out other-run",
    "report": "rm-monitor report out other-run -o report.html",
    "run": "rm-monitor run --config monitor.yaml -- train.py --its arguments",
    "score": "rm-monitor score answers.jsonl --config monitor.yaml",
    "sweep": "rm-monitor sweep out --config monitor.yaml",
    "view": "rm-monitor view out other-run",
    "watch": "rm-monitor watch out --config monitor.yaml --idle 60",
}

_FOLDERS = {"folder", "folders", "runs", "export", "output_dir"}
_FILES = {"config", "output", "completions", "card", "pairs", "file", "to", "source", "without", "held_out"}
_NUMBERS = {"n", "seed", "index", "max_length", "jobs", "confirm", "until", "pid", "older_than", "port"}
_NUMBERS |= {"prompts", "evaluations", "spread", "jitter", "seconds", "last", "steps", "more", "show"}
_OWN = {"sides": "STEP STEP", "rows": "N|all", "push": "USER/MODEL", "run": "DIR", "command": "SCRIPT"}
_OWN |= {
    "layout": "TRAINER",
    "pattern": "REGEX",
    "inside": "DIR",
    "a": "A",
    "b": "B",
    "idle": "MINUTES",
    "rest": "SECONDS",
    "poll": "SECONDS",
}


class Helped(TyperGroup):
    """The program, with help for people."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        shared = [parameter for parameter in self.params if parameter.name in NAMES]
        _help(self, "", shared)


def _help(command: Any, name: str, shared: Sequence[Any]) -> None:
    """A command and those below it; ``name`` are its words after ``rm-monitor``, ``shared`` what all take."""
    if name and not getattr(command, "commands", None):
        command.params += shared
    if name in EXAMPLES:
        command.epilog = f"Example: {EXAMPLES[name]}"
    for parameter in command.params:
        if parameter.metavar is None:
            parameter.metavar = _takes(parameter)
    for below, inner in getattr(command, "commands", {}).items():
        _help(inner, f"{name} {below}".strip(), shared)


def _takes(parameter: Any) -> str:
    """What stands for a value: blank for a flag, which takes none."""
    name = parameter.name
    if getattr(parameter, "is_flag", False):
        return " "
    if name in _OWN:
        return _OWN[name]
    for word, names in (("DIR", _FOLDERS), ("FILE", _FILES), ("N", _NUMBERS)):
        if name in names:
            return word
    return "NAME"
