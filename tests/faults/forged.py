"""Folders, settings and numbers that strangers made up: read, or refused in words, in bounded memory.

A run's folder is forged line by line, with checksums that fit, and opened by all that opens one: `load_run`,
the report, the list of ``view``, ``best`` and ``compare``. Names of checkpoints and settings follow.
"""

from __future__ import annotations

import contextlib
import io
import json
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rm_monitor import RewardMonitor, load_run
from rm_monitor.errors import RMMonitorError
from rm_monitor.files.lines import line, parse
from rm_monitor.monitor.config import MonitorConfig
from rm_monitor.sweep.discover import Source
from tests.faults.hostile import TEXTS, screen_problems
from tests.helpers import CountsGood, Says

SAID = (RMMonitorError, ValueError, FileNotFoundError)  # refused in words
NUMBERS: tuple[Any, ...] = (
    *(-1, 0, 10**9, 10**30, 2**63, -(2**63), 1e308, -1e308, 0.5, "12", "", None, True, [], {}),
    *([[[[[[[[]]]]]]]], {"a": {"b": {}}}, "NaN", "Infinity", "-Infinity", "1e999", "\ud800"),
)
FIELDS = ("step", "seq", "attempts", "status", "metrics", "measured", "rows", "segment", "reason", "weights")
NAMES = (
    *(
        "checkpoint-",
        "checkpoint--1",
        "checkpoint-1e9",
        "checkpoint-0x10",
        "checkpoint-９",
        "checkpoint-1 ",
        "a",
    ),
    *(
        "checkpoint-" + "9" * 200,
        "checkpoint-00012",
        "checkpoint-1\n2",
        "checkpoint-\x1b[31m3",
        "Checkpoint-4",
    ),
    *("checkpoint-5.safetensors", "checkpoint-6~2", "tmp-checkpoint-7", "checkpoint-8.tmp", ".checkpoint-9"),
    *("checkpoint-<b>", "checkpoint-$(id)", "checkpoint-;ls", "checkpoint-${HOME}", "checkpoint-'1'", "CON"),
)
SETTINGS = {
    "laughs": "a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n"
    "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\nprompts: [*d,*d,*d,*d,*d,*d]\nreward_model: x\n",
    "object": "!!python/object/apply:os.system ['touch /tmp/owned']",
    "name": "reward_model: !!python/name:os.system\nprompts: p\n",
    "deep": "prompts: " + "[" * 5000 + "]" * 5000,
    "two": "prompts: a\nprompts: b\nreward_model: x\n",
    "no mapping": "- a\n- b\n",
    "nothing": "",
    "binary": "\x00\x01\x02",
    "number": "reward_model: x\nprompts: p\nevery: 99999999999999999999999999999999\nkeep_best: -5\n",
    "merge": "<<: *x\nprompts: a\n",
    "tabs": "reward_model:\tx\n\tprompts: p\n",
    "unknown": "reward_model: x\nprompts: p\n__class__: y\n",
    **{f"every {v}": f"reward_model: x\nprompts: p\nevery: {v}\n" for v in ("-1", ".nan", ".inf", "0")},
    **{f"seed {v}": f"reward_model: x\nprompts: p\nseed: {v}\n" for v in ("-1", ".nan", "1e400", "x")},
    **{
        f"{name} {v}": f"reward_model: x\nprompts: p\nsampling: {{{name}: {v}}}\n"
        for name in ("temperature", "top_p", "max_new_tokens", "samples_per_prompt")
        for v in ("-1", ".nan", ".inf", "1e30", "x")
    },
}


def run_folder(folder: Path) -> Path:
    """A whole run of three evaluations."""
    answers = Says(lambda step: step / 20)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        monitor = RewardMonitor(
            CountsGood(),
            [f"p {i}" for i in range(4)],
            references=["good answer"] * 4,
            generator=answers,
            every=10,
            output_dir=folder,
            report_to=[],
        )
        for step in (0, 10, 20):
            answers.step = step
            monitor.step(step)
        monitor.close()
    return folder / "_rm_monitor"


def forged(ours: Path, texts: dict[str, str] = TEXTS) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Name and deed of every forgery of a run's folder."""

    def field(name: str, value: Any) -> Callable[[Path], None]:
        def do(at: Path) -> None:
            path = at / "history.jsonl"
            records = [parse(one) for one in path.read_bytes().split(b"\n") if one]
            assert records[-1] is not None
            records[-1][name] = value
            path.write_text("".join(line(r) for r in records if r is not None), encoding="utf-8")

        return do

    def replaced(name: str, text: str) -> Callable[[Path], None]:
        return lambda at: (at / name).write_text(text, encoding="utf-8", errors="surrogatepass") and None

    for name in FIELDS:
        for value in NUMBERS:
            yield f"{name} = {value!r:.30}", field(name, value)
    for name, text in texts.items():
        short = text[:100_000]
        yield f"reason: {name}", field("reason", short)
        yield f"segment: {name}", field("segment", short)
        yield f"metric: {name}", field("metrics", {short: [0.5, 0.4, 0.6, 4]})
    for name in ("manifest.json", "best.json", "verdict.json"):
        for text in ("", "[]", "{", "null", "[" * 5000, json.dumps({"step": 10**30, "folder": "../../.."})):
            yield f"{name}: {text[:20]}", replaced(name, text)
    for text in ("", "\n" * 1000, "\x00" * 1000, "x" * 5_000_000, "[" * 100_000 + "\n"):
        yield f"history: {text[:9]!r}", replaced("history.jsonl", text)


def opened(at: Path) -> list[str]:
    """What goes wrong where a run's folder is opened."""
    from rm_monitor import cli

    wrong = []
    folder = str(at.parent)
    try:
        run = load_run(folder)
        repr(run), run.to_pandas()
    except SAID:
        pass
    except Exception as problem:
        wrong.append(f"load_run: {type(problem).__name__}: {problem}"[:200])
    for command in (
        ["report", folder],
        ["best", folder],
        ["export", folder, "--csv", "--output", str(at.parent / "points.csv")],
    ):
        argv, sys.argv = sys.argv, ["rm-monitor", *command]
        told = io.StringIO()
        try:
            with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
                cli.main()
        except SystemExit:
            pass
        except Exception as problem:
            wrong.append(f"{command[0]}: {type(problem).__name__}: {problem}"[:200])
        finally:
            sys.argv = argv
        if "Traceback" in told.getvalue():
            wrong.append(f"{command[0]}: {told.getvalue()[-200:]}")
        wrong += [f"{command[0]}: {p}" for p in screen_problems(told.getvalue())]
    return wrong


def campaign() -> Iterator[tuple[str, str, str]]:
    """A row a kind."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as temporary:
        ours, count, wrong = run_folder(Path(temporary) / "whole"), 0, list[str]()
        for name, do in forged(ours):
            copy = Path(temporary) / "copy" / "_rm_monitor"
            shutil.copytree(ours, copy, symlinks=True)
            do(copy)
            wrong += [f"{name}: {why}" for why in opened(copy)]
            shutil.rmtree(copy.parent)
            count += 1
        yield _row("forged run folders opened by load_run, report, best, export", count, wrong)
        count, wrong = 0, []
        for name in NAMES:
            at = Path(temporary) / "named"
            (at / name).mkdir(parents=True)
            try:
                repr(Source(folder=at).discover())
            except SAID:
                pass
            except Exception as problem:
                wrong.append(f"{name!r}: {type(problem).__name__}: {problem}")
            shutil.rmtree(at)
            count += 1
        for name, text in SETTINGS.items():
            path = Path(temporary) / "monitor.yaml"
            path.write_text(text, encoding="utf-8")
            try:
                MonitorConfig.of(path)
            except SAID:
                pass
            except Exception as problem:
                wrong.append(f"settings, {name}: {type(problem).__name__}: {problem}"[:200])
            count += 1
        yield _row("names of checkpoints and settings", count, wrong)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    yield "forged inputs: memory more, MB", "bounded", f"{'bounded' if grown < 500 else 'beyond'}: {grown}"


def _row(figure: str, count: int, wrong: list[str]) -> tuple[str, str, str]:
    return figure, "0 crashes or escapes", f"{len(wrong)} crashes or escapes, {count} tried {wrong[:5] or ''}"
