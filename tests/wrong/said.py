"""What is said of a wrong input."""

import contextlib
import io
import logging
import os
import shlex
import sys
from pathlib import Path

import rm_monitor
from rm_monitor import cli
from tests.helpers import Says

FILES = {
    "p.jsonl": '{"prompt": "What is a tide?", "answer": "Water."}\n'
    '{"prompt": "Name a colour.", "answer": "Blue."}\n',
    "broken.jsonl": '{"prompt": "Hi"}\n{"prompt": \n',
    "broken.yaml": "reward_model: x\nprompts: [a\nevery: 5\n",
    "typo.yaml": "reward_model: x\nprompts: p.jsonl\nevry: 5\n",
    "word.yaml": "reward_model: x\nprompts: p.jsonl\nevery: ten\n",
    "list.yaml": "- reward_model\n",
    "good.yaml": "reward_model: x\nprompts: p.jsonl\n",
}


def judge(prompts, completions):
    return [float(len(c)) for c in completions]


def evaluate(monitor):
    """The first evaluation, which must succeed."""
    monitor.step(0)


def said(code, folder):
    """The message, and whether it came with a traceback of ours, or with no failure at all.

    Args:
        code: As `Wrong.code`.
        folder: An empty one, which is filled and worked in.
    """
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    before = Path.cwd()
    os.chdir(folder)
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        return (_typed if code.startswith("rm-monitor ") else _called)(code)
    finally:
        logging.disable(level)
        os.chdir(before)


def _typed(line):
    error, given, code = io.StringIO(), sys.argv, 0
    sys.argv = shlex.split(line)
    try:
        with contextlib.redirect_stderr(error), contextlib.redirect_stdout(io.StringIO()):
            cli.main()
    except SystemExit as stop:
        code = stop.code
    finally:
        sys.argv = given
    text = error.getvalue().strip()
    return text.removeprefix("rm-monitor: "), "Traceback" in text or code not in (1, 2)


def _called(code):
    names = {name: getattr(rm_monitor, name) for name in ("RewardMonitor", "Sampling", "Schedule", "Alarm")}
    names |= {"judge": judge, "Path": Path, "PROMPTS": ["What is a tide?", "Name a colour."]}
    names |= {"ANSWERS": ["Water.", "Blue."], "evaluate": evaluate}
    names["RewardMonitor"] = _with_generator(names["RewardMonitor"])
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
        try:
            exec(code, names)
        except Exception as problem:
            kind = type(problem).__name__
            return f"{kind}: {problem}", "Traceback" in shown.getvalue()
    return "", True


def _with_generator(cls):
    """Nothing here has a model: answers come from a table, where the code gives no generator of its own."""

    def build(*args, **given):
        return cls(*args, **{"generator": Says(lambda step: 0.5), "report_to": "none", **given})

    return build
