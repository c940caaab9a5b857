"""The best checkpoint stays: candidates are linked, one is marked, and no crash leaves it unloadable.

Nothing is ever written into a ``checkpoint-*`` folder: the Trainer's rotation sorts by modification time,
and a file of ours would make an old checkpoint the newest.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from rm_monitor import files
from rm_monitor.checkpoints.disk import problem
from rm_monitor.files.strict_json import dumps, read_object

__all__ = ["Keeper"]

log = logging.getLogger("rm_monitor")

_KEPT = re.compile(r"step-(\d+)(?:~(\d+))?")
# Needed to train on, not to load: they would double the space of what is kept.
_TRAINING_ONLY = (
    *("optimizer", "scheduler", "scaler", "rng_state", "trainer_state", "training_args", "global_step"),
    *("zero_", "latest"),
)
_SMALL = 1_000_000  # bytes: what is smaller is copied, for its writer may rewrite it in place


class Keeper:
    """Keeps checkpoints by hard links, and one of them marked as the best.

    ``kept/step-N`` are the candidates (``step-N~2`` if the step was judged again while the old one was the
    best), ``best.json`` says which is the best and where it lies, and ``best`` shows it. ``best.json`` is
    the truth, replaced in one step; what it names is whole before it is named, and stays until another is
    named.

    Args:
        folder: ``<output_dir>/_rm_monitor``.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.kept = self.folder / "kept"
        self._said: set[tuple[str, str]] = set()
        self._settled: set[str] = set()  # kept folders whose contents outlast a loss of power

    def pin(self, step: int, source: str | Path) -> Path:
        """Link what is needed to load a checkpoint; a copy where the file system has no links.

        Raises:
            ValueError: If the source is not a complete checkpoint.
            OSError: If the disk refuses; what was kept before is untouched.
        """
        source = Path(source)
        why = problem(source)
        if why is not None:
            raise ValueError(f"{source} cannot be kept: {why}")
        wanted = [
            p for p in sorted(source.iterdir()) if p.is_file() and not p.name.startswith(_TRAINING_ONLY)
        ]
        there = self.available().get(step)
        if there is not None and _same(wanted, there):
            return there
        building = self.kept / f".building-{step}"
        files.remove(building)
        building.mkdir(parents=True)
        try:
            for path in wanted:
                _link(path.resolve(), building / path.name)
            why = problem(building)
            if why is not None:
                raise ValueError(f"{source} cannot be kept, it changed meanwhile: {why}")
        except (OSError, ValueError):
            files.remove(building)
            raise
        files.sync(building)
        target = self._free(step)
        os.replace(building, target)
        files.sync(self.kept)
        return target

    def refer(self, step: int, source: str | Path) -> Path:
        """Point at a checkpoint that nobody deletes, such as the folder the policy was loaded from.

        Raises:
            ValueError: If the source is not a complete checkpoint.
            OSError: If the disk refuses.
        """
        source = Path(source).resolve()
        why = problem(source)
        if why is not None:
            raise ValueError(f"{source} cannot be kept: {why}")
        there = self.available().get(step)
        if there is not None and there.resolve() == source:
            return there
        self.kept.mkdir(parents=True, exist_ok=True)
        building, target = self.kept / f".building-{step}", self._free(step)
        files.remove(building)
        try:
            building.symlink_to(source, target_is_directory=True)
        except OSError:  # no links here
            return self.pin(step, source)
        os.replace(building, target)
        files.sync(self.kept)
        return target

    def available(self) -> dict[int, Path]:
        """Step -> newest folder of every kept checkpoint that is whole; what is left out is said, once.

        Raises:
            OSError: If the disk does not let us look.
        """
        return {step: path for step, _, path in sorted(self._folders()) if self._is_whole(path)}

    def mark_best(self, step: int, facts: Mapping[str, Any]) -> None:
        """Say in ``best.json`` that a kept checkpoint is the best and why, and let ``best`` show it.

        Raises:
            KeyError: If that step is not kept.
            OSError: If the disk refuses; the old best stays marked.
        """
        chosen = self.available()[step]
        if chosen.name not in self._settled and not chosen.is_symlink():
            for path in chosen.iterdir():  # the Trainer does not, and the best before it may be let go of
                files.settle(path)
            self._settled.add(chosen.name)
        said = {**facts, "step": step, "folder": f"kept/{chosen.name}"}
        files.replace(self.folder / "best.json", dumps(said, indent=1) + "\n")
        self._show(chosen)

    def best(self) -> tuple[int, Path] | None:
        """Step and folder of the marked best; None if none is marked, or it is not whole.

        The folder is ``best`` when that shows it, else the kept one.
        """
        chosen = self._marked()
        if chosen is None:
            return None
        link = self.folder / "best"
        shown = link.is_dir() and _same(sorted(chosen.iterdir()), link)
        return _number(chosen), link if shown else chosen

    def facts(self) -> dict[str, Any]:
        """What ``best.json`` says; empty if there is none that can be read."""
        return read_object(self.folder / "best.json")

    def set_aside(self, attempt: int, spare: Collection[int] = ()) -> Path | None:
        """Move what an earlier attempt kept out of the way, whole and loadable; nothing of it is deleted.

        It lies in ``earlier/attempt-K``, which is laid out as this folder is: ``Keeper(...)`` of it finds its
        best. A crash half-way is finished by the next call.

        Args:
            attempt: Number of the attempt that kept it.
            spare: Steps whose kept checkpoints stay where they are.

        Returns:
            Where it lies now; None if there was nothing.

        Raises:
            OSError: If the disk refuses; what was moved can be loaded where it is.
        """
        facts, marked = self.facts(), self._marked()
        away = [(step, path) for step, _, path in self._folders() if step not in spare]
        if not away and not facts:
            return None
        earlier = self.folder / "earlier" / f"attempt-{attempt}"
        kept = earlier / "kept"
        kept.mkdir(parents=True, exist_ok=True)
        if marked is not None and any(path == marked for _, path in away):
            files.replace(earlier / "best.json", dumps(facts, indent=1) + "\n")
        for _, path in away:
            target = kept / path.name
            if not target.exists() and not target.is_symlink():
                os.replace(path, target)
        files.sync(kept)
        if self._marked() is None:  # what it named has moved, or was not whole
            for name in ("best", "best.json"):
                files.remove(self.folder / name)
        Keeper(earlier).tidy()
        return earlier

    def prune(self, keep: Collection[int]) -> None:
        """Let go of every kept checkpoint but the newest of these steps and the marked best."""
        newest, marked = self.available(), self._marked()
        spared = {newest[step] for step in keep if step in newest} | ({marked} if marked else set())
        for _, _, path in self._folders():
            if path not in spared:
                away = path.with_name(f".gone-{path.name}")  # half of it is never taken for a whole one
                files.remove(away)
                os.replace(path, away)
                files.remove(away)

    def tidy(self) -> None:
        """Clear away what a crash left half done, and let ``best`` show what ``best.json`` names."""
        for leftover in (*self.kept.glob(".*"), *self.folder.glob(".best*")):
            files.remove(leftover)
        chosen = self._marked()
        if chosen is not None and self.best() != (_number(chosen), self.folder / "best"):
            self._show(chosen)

    # ------------------------------------------------------------------ parts

    def _folders(self) -> list[tuple[int, int, Path]]:
        """Step, generation and path of every kept folder."""
        if not self.kept.is_dir():
            return []
        found = [(match, path) for path in self.kept.iterdir() if (match := _KEPT.fullmatch(path.name))]
        return [(int(match.group(1)), int(match.group(2) or 1), path) for match, path in found]

    def _free(self, step: int) -> Path:
        """A name for a new folder of a step: names that are used are not used again, `best` may show them."""
        used = [generation for other, generation, _ in self._folders() if other == step]
        return self.kept / (f"step-{step}~{max(used) + 1}" if used else f"step-{step}")

    def _marked(self) -> Path | None:
        """The kept folder that ``best.json`` names, if it is whole."""
        name = str(self.facts().get("folder", "")).removeprefix("kept/")
        path = self.kept / name
        return path if _KEPT.fullmatch(name) and self._is_whole(path) else None

    def _is_whole(self, path: Path) -> bool:
        """Whether a kept folder can be loaded: it was whole when it was kept, so that it is not is news."""
        why = problem(path)
        if why is not None and (path.name, why) not in self._said:
            self._said.add((path.name, why))
            log.warning("rm_monitor: the kept %s cannot be loaded now: %s", path, why)
        return why is None

    def _show(self, chosen: Path) -> None:
        """Let ``best`` show a kept folder: a link, or a copy of hard links where there are none."""
        link, new, old = (self.folder / name for name in ("best", ".best.new", ".best.old"))
        files.remove(new)
        try:
            new.symlink_to(Path("kept") / chosen.name, target_is_directory=True)
        except OSError:
            new.mkdir()
            for path in chosen.iterdir():
                _link(path, new / path.name)
        there = link.is_symlink() or link.exists()
        if there and not (link.is_symlink() and new.is_symlink()):  # a folder cannot be replaced in one step
            files.remove(old)
            os.replace(link, old)
        os.replace(new, link)
        files.remove(old)
        files.sync(self.folder)


def _number(kept: Path) -> int:
    match = _KEPT.fullmatch(kept.name)
    assert match is not None
    return int(match.group(1))


def _same(wanted: list[Path], folder: Path) -> bool:
    """Whether a folder holds these very files: same names, sizes and times of writing."""
    try:
        there = {p.name: p.stat() for p in folder.iterdir()}
        here = {p.name: p.stat() for p in wanted}
    except OSError:
        return False
    return here.keys() == there.keys() and all(
        (here[n].st_size, here[n].st_mtime_ns) == (there[n].st_size, there[n].st_mtime_ns) for n in here
    )


def _link(source: Path, target: Path) -> None:
    try:
        if source.stat().st_size >= _SMALL:
            os.link(source, target)
            return
    except FileNotFoundError:
        raise
    except OSError as why:  # another file system, or one without links
        log.debug("%s is copied: %s", source, why)
    shutil.copy2(source, target)
