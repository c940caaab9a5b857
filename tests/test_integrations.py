"""The recipes call commands and options that exist."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from rm_monitor.cli import app

ROOT = Path(__file__).parents[1]
RECIPES = [*ROOT.glob("integrations/**/*.sbatch"), *ROOT.glob("docs/*.md"), ROOT / "README.md"]


def calls():
    for path in RECIPES:
        for line in re.findall(r"^\s*(?:exec )?(rm-monitor .*)$", path.read_text(), re.MULTILINE):
            yield pytest.param(shlex.split(line.partition("#")[0]), id=f"{path.name}: {line[:50]}")
    job = yaml.safe_load((ROOT / "integrations/kubernetes/watch.yaml").read_text())
    yield pytest.param(job["spec"]["template"]["spec"]["containers"][0]["command"], id="kubernetes")


@pytest.mark.parametrize("words", list(calls()))
def test_every_command_in_docs_and_recipes_takes_its_options(words):
    command = get_command(app)
    rest = words[1:]
    while getattr(command, "commands", None):
        assert rest[0] in command.commands, f"no such command: {' '.join(words)}"
        command, rest = command.commands[rest[0]], rest[1:]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    own = rest[: rest.index("--")] if "--" in rest else rest  # behind it: what `run` runs
    assert {word for word in own if word.startswith("--")} <= known


def test_the_kubernetes_job_treats_degraded_as_an_answer_and_a_failure_as_one_to_try_again():
    job = yaml.safe_load((ROOT / "integrations/kubernetes/watch.yaml").read_text())
    (rule,) = job["spec"]["podFailurePolicy"]["rules"]
    assert rule == {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1]}}
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
