"""Checkpoints on disk: is one complete, and how the best ones stay.

Nothing is ever written into a ``checkpoint-*`` folder: the Trainer's rotation sorts by modification time,
and a file of ours would make an old checkpoint the newest.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

__all__ = ["Keeper", "problem", "step_of"]

_STEP = re.compile(r"(?:checkpoint|step)-(\d+)")
# Needed to train on, not to load: they would double the space of what is kept.
_TRAINING_ONLY = (
    "optimizer",
    "scheduler",
    "scaler",
    "rng_state",
    "trainer_state",
    "training_args",
    "global_step",
    "zero_",
    "latest",
)


def step_of(path: str | Path) -> int | None:
    """The step in a checkpoint folder's name; None if it is not one.

    Example:
        >>> step_of("out/checkpoint-200"), step_of("out/best")
        (200, None)
    """
    match = _STEP.fullmatch(Path(path).name)
    return int(match.group(1)) if match else None


def problem(path: str | Path) -> str | None:
    """Why a folder is not a complete, loadable checkpoint; None if it is.

    No weights are read: a safetensors file says in its header how long it must be.
    """
    path = Path(path)
    if not path.is_dir():
        return "it is not a folder"
    state = path / "trainer_state.json"
    if _STEP.fullmatch(path.name) and path.name.startswith("checkpoint-") and not state.is_file():
        return "trainer_state.json, which the Trainer writes last, is not there"
    if state.is_file():
        try:
            step = json.loads(state.read_text(encoding="utf-8"))["global_step"]
        except (ValueError, KeyError, TypeError):
            return "trainer_state.json is not whole"
        if step_of(path) is not None and step != step_of(path):
            return f"trainer_state.json is of step {step}"
    return _weights_problem(path)


def _weights_problem(path: Path) -> str | None:
    index = path / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError):
            return "model.safetensors.index.json is not whole"
        config = "config.json"
    elif (path / "model.safetensors").is_file():
        names, config = ["model.safetensors"], "config.json"
    elif (path / "adapter_model.safetensors").is_file():
        names, config = ["adapter_model.safetensors"], "adapter_config.json"
    else:
        return "no safetensors weights are there"
    if not (path / config).is_file():
        return f"{config} is not there"
    return next((why for name in names if (why := _file_problem(path / name)) is not None), None)


def _file_problem(path: Path) -> str | None:
    """Whether a safetensors file has the length its header asks for."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > 100_000_000:
                return f"the header of {path.name} is not whole"
            header = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        size = path.stat().st_size
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, struct.error) as why:
        return f"{path.name} cannot be read ({type(why).__name__})"
    if size != 8 + length + max(ends, default=0):
        return f"{path.name} is not whole: {size} bytes of {8 + length + max(ends, default=0)}"
    return None


class Keeper:
    """Keeps checkpoints by hard links, and one of them marked as the best.

    ``kept/step-N`` are the candidates, ``best`` a link to one of them and ``best.json`` the facts. Each is
    replaced in one step, so at every
    moment ``best`` is whole: a crash leaves the old one or the new one.

    Args:
        folder: ``<output_dir>/_rm_monitor``.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.kept = self.folder / "kept"

    def pin(self, step: int, source: str | Path) -> Path:
        """Link what is needed to load a checkpoint; a copy where the file system has no links.

        Raises:
            ValueError: If the source is not a complete checkpoint.
        """
        why = problem(source)
        if why is not None:
            raise ValueError(f"{source} cannot be kept: {why}")
        target, building = self.kept / f"step-{step}", self.kept / f".building-{step}"
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        for path in sorted(Path(source).iterdir()):
            if path.is_file() and not path.name.startswith(_TRAINING_ONLY):
                _link(path, building / path.name)
        if target.exists():  # the same step judged again: the old one goes first, `best` moves on below
            old = self.kept / f".old-{step}"
            shutil.rmtree(old, ignore_errors=True)
            os.replace(target, old)
            os.replace(building, target)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(building, target)
        _sync(self.kept)
        return target

    def refer(self, step: int, source: Path) -> Path:
        """Point at a checkpoint that nobody deletes, such as the folder the policy was loaded from."""
        self.kept.mkdir(parents=True, exist_ok=True)
        target = self.kept / f"step-{step}"
        if target.is_symlink():
            target.unlink()
        shutil.rmtree(target, ignore_errors=True)
        target.symlink_to(source.resolve(), target_is_directory=True)
        return target

    def available(self) -> dict[int, Path]:
        """Step -> folder of every kept checkpoint that is whole."""
        if not self.kept.is_dir():
            return {}
        found = {step_of(path): path for path in self.kept.iterdir()}
        return {step: path for step, path in found.items() if step is not None and problem(path) is None}

    def mark_best(self, step: int, facts: Mapping[str, Any]) -> None:
        """Point ``best`` at a kept checkpoint and say why in ``best.json``."""
        link, temporary = self.folder / "best", self.folder / ".best.tmp"
        if link.is_dir() and not link.is_symlink():  # a file system without links: a real copy
            shutil.rmtree(link)
        temporary.unlink(missing_ok=True)
        try:
            temporary.symlink_to(Path("kept") / f"step-{step}", target_is_directory=True)
            os.replace(temporary, link)
        except OSError:
            shutil.copytree(self.kept / f"step-{step}", link, copy_function=_link, dirs_exist_ok=True)
        whole = self.folder / ".best.json.tmp"
        with whole.open("w", encoding="utf-8") as file:
            json.dump(dict(facts), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(whole, self.folder / "best.json")
        _sync(self.folder)

    def best(self) -> tuple[int, Path] | None:
        """Step and folder of the marked best; None if none is marked, or it is not whole."""
        link = self.folder / "best"
        try:
            step = json.loads((self.folder / "best.json").read_text(encoding="utf-8"))["step"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return (int(step), link) if problem(link) is None else None

    def prune(self, keep: Collection[int]) -> None:
        """Let go of every kept checkpoint but these and the marked best."""
        marked = self.best()
        spared = set(keep) | ({marked[0]} if marked else set())
        for path in self.kept.iterdir() if self.kept.is_dir() else ():
            if step_of(path) in spared:
                continue
            if path.is_symlink():
                path.unlink()
            else:
                shutil.rmtree(path, ignore_errors=True)


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)


def _sync(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
