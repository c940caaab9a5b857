"""Every block of the how-to pages runs as it stands, with what is said to be the reader's; none is long."""

import re
from pathlib import Path

import pytest
import typer.main
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from rm_monitor import RewardMonitor
from rm_monitor.cli import app
from rm_monitor.monitor.config import MonitorConfig
from tests.helpers import Says, tiny_trainer

PAGES = sorted((Path(__file__).parents[1] / "docs" / "how-to").glob("*.md"))
YOURS = re.compile(r"^# yours: (.*)$", re.MULTILINE)
SCREEN = 60  # lines


def blocks(page, language):
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(page):
    return [line for block in blocks(page, "bash") for line in block.splitlines() if "rm-monitor " in line]


@pytest.fixture
def hand(tmp_path, monkeypatch, tiny_policy_dir, tiny_reward_model_dir):
    """What a reader has at hand; the hub's name is a local folder, the run is a short one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "What is a tide?"}\n{"prompt": "Name a colour."}\n')
    (tmp_path / "Skywork").mkdir()
    (tmp_path / "Skywork" / "Skywork-Reward-V2-Qwen3-0.6B").symlink_to(tiny_reward_model_dir)
    return lambda name: _made(name, tmp_path, tiny_policy_dir)


def _made(name, folder, policy):
    if name == "out":
        generator = Says(lambda step: 0.5)
        settings = {"references": ["good"] * 12, "generator": generator, "report_to": "none"}
        with RewardMonitor(
            lambda prompts, completions: [float(len(c)) for c in completions],
            [f"Say {i}." for i in range(12)],
            every=1,
            output_dir=folder / "recorded",
            **settings,
        ) as monitor:
            for step in range(3):
                monitor.step(step)
        return folder / "recorded"
    if name == "tokenizer":
        return AutoTokenizer.from_pretrained(policy)
    model = AutoModelForCausalLM.from_pretrained(policy)
    if name == "model":
        return model
    assert name == "trainer", f"a page names {name!r}, which is not at hand"
    return tiny_trainer(model, AutoTokenizer.from_pretrained(policy), folder / "out", steps=2)


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=lambda p: p.stem)
def test_every_python_block_runs(page, hand, capsys):
    for code in blocks(page, "python"):
        wanted = re.findall(r"\b(trainer|model|tokenizer|out)\b", " ".join(YOURS.findall(code)))
        exec(compile(code, page.name, "exec"), {name: hand(name) for name in wanted})
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_every_command_has_those_options_and_every_setting_exists(page):
    known = typer.main.get_command(app).commands
    for line in commands(page):
        name, *words = line[line.index("rm-monitor ") :].split(" -- ")[0].split()[1:]
        options = {option for parameter in known[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= options, line
    for block in blocks(page, "yaml"):
        MonitorConfig.from_mapping(yaml.safe_load(block))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_a_page_is_one_screen(page):
    assert len(page.read_text(encoding="utf-8").splitlines()) <= SCREEN
