"""The blocks of the README and of docs/ run as they stand."""

import re
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from rm_monitor.monitor.settings import FOLDER
from tests.helpers import tiny_trainer

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(path):
    return FENCE.findall((ROOT / path).read_text(encoding="utf-8"))


@pytest.fixture
def names(tmp_path, monkeypatch, tiny_policy_dir, tiny_reward_model_dir):
    """What a reader has at hand; the hub's name is a local folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "What is a tide?"}\n{"prompt": "Name a colour."}\n')
    hub = tmp_path / "Skywork"
    hub.mkdir()
    (hub / "Skywork-Reward-V2-Qwen3-0.6B").symlink_to(tiny_reward_model_dir)
    model = AutoModelForCausalLM.from_pretrained(tiny_policy_dir)
    tokenizer = AutoTokenizer.from_pretrained(tiny_policy_dir)
    trainer = tiny_trainer(model, tokenizer, tmp_path / "out", steps=2)
    return {"trainer": trainer, "model": model, "tokenizer": tokenizer, "tmp": tmp_path}


@pytest.mark.parametrize("number", range(3))
def test_readme_block_runs(number, names, capsys):
    code = blocks("README.md")[number]
    exec(compile(code, f"README.md block {number}", "exec"), names)
    if number == 0:
        names["trainer"].train()
        assert [p.step for p in names["monitor"].curve] == [0, 2]
        assert (names["tmp"] / "out" / FOLDER / "report.html").is_file()
    if number == 2:
        assert names["monitor"].best is not None


def test_every_readme_block_is_run():
    assert len(blocks("README.md")) == 3


def test_every_relative_link_leads_somewhere():
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("integrations/**/*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.relative_to(ROOT)} links to {target}"
