"""A planted secret is searched for in every file, log, record and print, after every way to fail."""

from __future__ import annotations

import io
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rm_monitor import RewardMonitor
from rm_monitor.errors import FirstEvaluationError
from tests.helpers import CountsGood, Says

SECRETS = {
    "RM_TEST_API_KEY": "planted-Zk3vQ9xT7wB1",
    "HF_TOKEN": "hf_PlantedPlantedPlantedPlanted01",
    "MY_DB_PASSWORD": "correct-horse-battery",
}
LOOSE = "sk-proj-LoosePlantedSecret0001"  # in no variable: known by its looks
IN_URL = "urlplantedpass"
TEXT = (
    f"401 for https://someone:{IN_URL}@host.example/v1?api_key={SECRETS['RM_TEST_API_KEY']} "
    f"(Authorization: Bearer {LOOSE}; token {SECRETS['HF_TOKEN']}, password {SECRETS['MY_DB_PASSWORD']})"
)
ALL = (*SECRETS.values(), LOOSE, IN_URL)


def boom(*_: Any, **__: Any) -> Any:
    """Fails with every secret in its message, and in its cause's."""
    try:
        raise ValueError(TEXT)
    except ValueError as cause:
        raise RuntimeError(f"request failed: {TEXT}") from cause


class _BreaksAt(Says):
    def __init__(self, at: int) -> None:
        super().__init__(lambda step: 0.5)
        self.at = at

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        return boom() if self.calls >= self.at else super().generate(*args, **kwargs)


class _Scores(CountsGood):
    """Fails when it is asked for the `at`-th time; tells its secret to whoever prints it."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def score(self, prompts: Any, completions: Any) -> Any:
        return boom() if self.calls >= self.at else super().score(prompts, completions)


def run(folder: Path, **given: Any) -> None:
    """Three evaluations, whatever happens in them."""
    settings = dict(
        prompts=[f"p {i}" for i in range(4)],
        references=["a good answer"] * 4,
        every=10,
        output_dir=folder,
        generator=Says(lambda step: 0.5),
        report_to="none",
    )
    reward_model = given.pop("reward_model", CountsGood())
    save = given.pop("save", None)
    monitor = RewardMonitor(reward_model, **{**settings, **given})
    for step in (0, 10, 20):
        with suppress(RuntimeError, FirstEvaluationError):  # the first one that fails is refused
            monitor.step(step, save=save)
    print(monitor, monitor.curve, monitor.verdict)
    monitor.close()


def offline_wandb(folder: Path) -> None:
    """A real offline run of W&B beside a scorer that fails."""
    import wandb

    with wandb.init(mode="offline", dir=str(folder), project="p", settings=wandb.Settings(silent=True)):
        run(folder, report_to="wandb", reward_model=_Scores(2))


def remote(folder: Path) -> None:
    """A reward model behind a URL with a password, at which nothing listens."""
    with suppress(Exception):
        run(folder, reward_model=f"http://someone:{IN_URL}@127.0.0.1:9/v1")


def command_line(*arguments: str) -> Callable[[Path], None]:
    """A command that fails with the secret in its arguments or in its settings."""

    def call(folder: Path) -> None:
        from rm_monitor import cli

        (folder / "bad.yaml").unlink(missing_ok=True)
        argv = sys.argv
        sys.argv = ["rm-monitor", *arguments]
        try:
            with suppress(SystemExit):
                cli.main()
        finally:
            sys.argv = argv

    return call


def breaks_history(folder: Path) -> None:
    """The disk refuses, with the secret in what it says."""
    from rm_monitor.files import lines

    real = lines.append
    lines.append = boom
    try:
        run(folder)
    finally:
        lines.append = real


PATHS: dict[str, Callable[[Path], None]] = {
    "nothing fails": run,
    "scorer at the first call": lambda d: run(d, reward_model=_Scores(0)),
    "scorer in the middle": lambda d: run(d, reward_model=_Scores(2)),
    "scorer raises, on_error=raise": lambda d: run(d, reward_model=_Scores(1), on_error="raise"),
    "function": lambda d: run(d, reward_model=boom),
    "generator at the first call": lambda d: run(d, generator=_BreaksAt(0)),
    "generator in the middle": lambda d: run(d, generator=_BreaksAt(1)),
    "own references": lambda d: run(d, references=None, generator=_BreaksAt(0)),
    "sink": lambda d: run(d, report_to=SimpleNamespace(show=boom)),
    "function sink": lambda d: run(d, report_to=[boom]),
    "save": lambda d: run(d, save=boom),
    "history": breaks_history,
    "W&B": offline_wandb,
    "remote scorer": remote,
    "command line, not found": command_line("compare", TEXT, TEXT),
    "command line, best": command_line("best", f"/nowhere/{SECRETS['RM_TEST_API_KEY']}"),
}


def leaks(paths: dict[str, Callable[[Path], None]] = PATHS) -> tuple[int, list[str]]:
    """How many places were searched, and where a secret was found."""
    found, searched = [], 0
    before = {name: os.environ.get(name) for name in (*SECRETS, "RM_MONITOR_CACHE")}
    os.environ.update(SECRETS)
    try:
        for name, path in paths.items():
            with tempfile.TemporaryDirectory() as temporary:
                os.environ["RM_MONITOR_CACHE"] = f"{temporary}/cache"
                printed, logged = io.StringIO(), io.StringIO()
                handler = logging.StreamHandler(logged)
                logging.getLogger().addHandler(handler)
                try:
                    with redirect_stdout(printed), redirect_stderr(printed):
                        path(Path(temporary))
                finally:
                    logging.getLogger().removeHandler(handler)
                places = {str(p): p.read_bytes() for p in Path(temporary).rglob("*") if p.is_file()}
                places |= {
                    "prints": printed.getvalue().encode("utf-8", "replace"),
                    "log": logged.getvalue().encode("utf-8", "replace"),
                    "names of files": " ".join(places).encode("utf-8", "replace"),
                }
                searched += len(places)
                for place, data in places.items():
                    found += [
                        f"{secret[:8]}... in {place} ({name})" for secret in ALL if secret.encode() in data
                    ]
    finally:
        for key, value in before.items():
            os.environ.pop(key, None) if value is None else os.environ.update({key: value})
    return searched, found


def campaign() -> Iterator[tuple[str, str, str]]:
    """Every path."""
    searched, found = leaks()
    got = f"{len(found)} found, {len(PATHS)} failure paths, {searched} files, logs and prints searched"
    yield "a planted secret, after every failure path", "0 found", got + "".join(f"; {f}" for f in found[:4])
