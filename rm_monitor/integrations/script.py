"""Any training script that uses a Hugging Face Trainer, run as it stands, with the monitor added."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

__all__ = ["Target", "find", "run"]

# Command lines that start a training script in another process; the script is run here in its place.
_SCRIPTS = {
    "trl": "trl.scripts.{}",
    "llamafactory-cli": "llamafactory.launcher",
    "lmf": "llamafactory.launcher",
    "axolotl": "axolotl.cli.{}",
    "swift": "swift.cli.{}",
}
_LAUNCHERS = ("accelerate", "torchrun", "deepspeed", "mpirun", "srun")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is run.

    Attributes:
        kind: ``file``: a script; ``module``: as ``python -m``; ``command``: an installed console script.
        name: Its path or name.
        argv: What it finds in ``sys.argv[1:]``.
    """

    kind: Literal["file", "module", "command"]
    name: str
    argv: tuple[str, ...]


def find(words: Sequence[str]) -> Target:
    """What a command line runs.

    Args:
        words: A script's path, a module's name or a console script's, and its arguments. ``-m MODULE`` and a
            leading ``python`` are understood.

    Raises:
        ValueError: If nothing is there to run, or it is a launcher, which starts other processes.

    Example:
        >>> find(["trl", "sft", "--config", "sft.yaml"])
        Target(kind='module', name='trl.scripts.sft', argv=('--config', 'sft.yaml'))
    """
    words = list(words)
    if words and Path(words[0]).name.startswith("python") and not words[0].endswith(".py"):
        words = words[1:]
    if words and words[0] == "-m":
        if len(words) == 1:
            raise ValueError("-m needs the name of a module")
        return Target(kind="module", name=words[1], argv=tuple(words[2:]))
    if not words:
        raise ValueError("nothing to run: rm-monitor run --config monitor.yaml -- train.py --its arguments")
    name, rest = words[0], tuple(words[1:])
    if name in _LAUNCHERS:
        raise ValueError(
            f"{name} starts other processes, which would not be monitored. Let it launch rm-monitor: "
            "torchrun --nproc_per_node 2 -m rm_monitor run --config monitor.yaml -- train.py, or "
            "accelerate launch -m rm_monitor run --config monitor.yaml -- train.py"
        )
    if name in _SCRIPTS and rest:
        return Target(kind="module", name=_SCRIPTS[name].format(rest[0]), argv=rest[1:])
    if Path(name).is_file():
        return Target(kind="file", name=name, argv=rest)
    if entry_points(group="console_scripts", name=name):
        return Target(kind="command", name=name, argv=rest)
    if _is_module(name):
        return Target(kind="module", name=name, argv=rest)
    raise ValueError(
        f"there is no script, console script or module {name!r} here ({Path.cwd()}); for a module that is "
        f"not installed, its folder must be in PYTHONPATH"
    )


def run(target: Target) -> None:
    """Run it in this process, as python would: same ``sys.argv``, same ``sys.path``, ``__main__``.

    Raises:
        BaseException: Whatever it raises, ``SystemExit`` included.
    """
    argv, path = sys.argv, list(sys.path)
    sys.argv = [target.name, *target.argv]
    try:
        if target.kind == "file":
            sys.path.insert(0, str(Path(target.name).resolve().parent))
            runpy.run_path(target.name, run_name="__main__")
        elif target.kind == "module":
            sys.path.insert(0, str(Path.cwd()))
            runpy.run_module(target.name, run_name="__main__", alter_sys=True)
        else:
            (script,) = list(entry_points(group="console_scripts", name=target.name))[:1]
            main: Any = script.load()
            sys.exit(main())
    finally:
        sys.argv, sys.path[:] = argv, path


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False
