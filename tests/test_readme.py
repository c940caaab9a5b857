"""The blocks of the README run as they stand, and what its table tells people to write exists."""

import ast
import builtins
import inspect
import re
import symtable
from pathlib import Path

import pytest
import typer.main
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainingArguments

import rm_monitor
from rm_monitor.cli import app
from rm_monitor.monitor.config import MonitorConfig
from rm_monitor.monitor.settings import FOLDER
from rm_monitor.runs.read import RecordedRun
from tests.helpers import tiny_trainer

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
YOURS = re.compile(r"^# yours: (.*)$", re.MULTILINE)
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("integrations/**/*.md")]


def blocks(language="python"):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def snippets():
    """What the table tells people to write, in its second column."""
    table = README[README.index("| I want to") : README.index("Without a Trainer")]
    return [text for row in table.splitlines()[2:] for text in re.findall(r"`([^`]+)`", row)]


@pytest.fixture
def hand(tmp_path, monkeypatch, tiny_policy_dir, tiny_reward_model_dir):
    """What a reader has at hand; the hub's name is a local folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "What is a tide?"}\n{"prompt": "Name a colour."}\n')
    hub = tmp_path / "Skywork"
    hub.mkdir()
    (hub / "Skywork-Reward-V2-Qwen3-0.6B").symlink_to(tiny_reward_model_dir)
    model = AutoModelForCausalLM.from_pretrained(tiny_policy_dir)
    tokenizer = AutoTokenizer.from_pretrained(tiny_policy_dir)
    trainer = tiny_trainer(model, tokenizer, tmp_path / "out", steps=2)
    return {"trainer": trainer, "model": model, "tokenizer": tokenizer}


def run(code, hand):
    """With the names that the block says are the reader's, and no others."""
    names = {name: hand[name] for name in hand if re.search(rf"\b{name}\b", " ".join(YOURS.findall(code)))}
    exec(compile(code, "README.md", "exec"), names)
    return names


def test_the_three_lines_run_with_nothing_but_a_trainer(hand):
    names = run(blocks()[0], hand)
    names["trainer"].train()
    assert [p.step for p in names["monitor"].curve] == [0, 2]
    assert (Path("out") / FOLDER / "report.html").is_file()


def test_the_loop_runs_with_nothing_but_a_model_and_its_tokenizer(hand, capsys):
    names = run(blocks()[1], hand)
    assert names["monitor"].best is not None
    assert "Estimate(" not in capsys.readouterr().out


@pytest.mark.parametrize("number", range(2))
def test_a_block_says_which_names_are_the_readers_own(number):
    code = blocks()[number]
    top = symtable.symtable(code, "README.md", "exec")
    free = {
        symbol.get_name()
        for table in [top, *top.get_children()]
        for symbol in table.get_symbols()
        if symbol.is_global() or (table is top and symbol.is_referenced() and not symbol.is_assigned())
    }
    bound = {
        s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported() or s.is_namespace()
    }
    said = set(re.findall(r"\b(trainer|model|tokenizer)\b", " ".join(YOURS.findall(code))))
    assert free - bound - set(dir(builtins)) == said


def test_every_python_block_is_run():
    assert len(blocks()) == 2


def test_the_yaml_block_is_a_whole_file_of_settings():
    (block,) = blocks("yaml")
    settings = MonitorConfig.from_mapping(yaml.safe_load(block))
    assert settings.prompts == "prompts.jsonl"
    assert settings.every.every == 200


@pytest.mark.parametrize("text", [t for t in snippets() if re.match(r"[A-Z]\w+\(", t)])
def test_what_the_table_says_to_write_has_arguments_that_exist(text):
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    for call in [call for call in calls if not hasattr(builtins, call.func.id)]:
        target = (
            TrainingArguments if call.func.id == "TrainingArguments" else getattr(rm_monitor, call.func.id)
        )
        given = {keyword.arg: None for keyword in call.keywords}
        inspect.signature(target).bind(*call.args, **given)


@pytest.mark.parametrize(
    "text", [t for t in [*snippets(), *"".join(blocks("bash")).splitlines()] if t.startswith("rm-monitor ")]
)
def test_every_command_of_the_readme_has_those_options(text):
    name, *words = text.split("#")[0].split(" -- ")[0].removeprefix("rm-monitor ").split()
    command = typer.main.get_command(app).commands[name]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= known


def test_the_run_that_is_read_back_offers_what_the_table_says():
    assert hasattr(RecordedRun, "to_pandas")


def test_the_readme_is_a_screen_and_a_half():
    assert len(README.splitlines()) <= 130


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(path):
    for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), f"{path.relative_to(ROOT)} links to {target}"
