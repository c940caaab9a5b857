"""docs/reward-models.md says what is so: kinds and tests exist, every model has a row, the code runs."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from rm_monitor.scorers import load_scorer
from rm_monitor.scorers.detect import ABOUT, KINDS
from tests.scorers.conftest import answers
from tests.scorers.test_families import layer, publish

ROOT = Path(__file__).parents[2]
DOC = (ROOT / "docs" / "reward-models.md").read_text(encoding="utf-8")

SURVEY = re.findall(
    r"\S+",
    """
    Skywork-Reward-V2-Llama-3.1-8B-40M Skywork-Reward-V2-Llama-3.1-8B Skywork-Reward-V2-Qwen3-8B
    QRM-Gemma-2-27B INF-ORM-Llama3.1-70B Llama-3.1-70B-Instruct-RM-RB2 Skywork-Reward-Gemma-2-27B
    Skywork-Reward-V2-Qwen3-4B Skywork-Reward-Gemma-2-27B-v0.2 Skywork-Reward-V2-Llama-3.2-3B
    URM-LLaMa-3.1-8B Skywork-Reward-Llama-3.1-8B Llama-3.1-8B-Instruct-RM-RB2 LDL-Reward-Gemma-2-27B-v0.1
    Llama-3.1-Tulu-3-70B-SFT-RM-RB2 Skywork-Reward-Llama-3.1-8B-v0.2 QRM-Llama3.1-8B-v2
    Llama-3.1-Tulu-3-8B-RL-RM-RB2 Llama-3.1-Tulu-3-8B-DPO-RM-RB2 Llama-3.1-Tulu-3-8B-SFT-RM-RB2
    Skywork-Reward-V2-Qwen3-1.7B Skywork-Reward-V2-Qwen3-0.6B ArmoRM-Llama3-8B-v0.1
    Skywork-Reward-V2-Llama-3.2-1B Llama-3-OffsetBias-RM-8B internlm2-20b-reward
    Decision-Tree-Reward-Gemma-2-27B Decision-Tree-Reward-Llama-3.1-8B Llama-3.1-Nemotron-70B-Reward-HF
    GRM_Llama3.1_8B_rewardmodel-ft GRM-Llama3.2-3B-rewardmodel-ft GRM-llama3-8B-sftreg
    pair-preference-model-LLaMA3-8B FsfairX-LLaMA3-RM-v0.1 Nemotron-4-340B-Reward PairRM-hf
    beaver-7b-v1.0-reward beaver-7b-v2.0-cost UltraRM-13b Starling-RM-34B TextEval-Llama3.1-70B
    Skywork-Critic-Llama-3.1-70B OpenAssistant/reward-model-deberta-v3-large-v2
    WorldPM-72B Qwen2.5-Math-RM-72B Qwen-3-Nemotron-32B-Reward Llama-3.3-Nemotron-70B-Reward
    Llama-3.3-Nemotron-70B-Reward-Principle Athene-RM-8B AceCodeRM-7B Skywork-VL-Reward-7B POLAR-7B
    Tulu-3-8B-RM
    Qwen2.5-Math-PRM-7B Skywork-o1-Open-PRM DeepSeek-GRM-16B Llama-3_3-Nemotron-Super-49B-GenRM
    Qwen3-Nemotron-32B-GenRM-Principle LMUnit-llama3.1-70b prometheus-7b-v2.0 RM-R1-Qwen2.5-Instruct
    """,
)


def section(heading):
    return DOC.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def table(heading):
    lines = section(heading).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


def code(text):
    return re.findall(r"`([^`]+)`", text)


def test_every_kind_has_a_row_a_sentence_and_a_golden_test_that_exists():
    rows = table("Kinds")
    assert sorted(kind for row in rows for kind in code(row["kind"])) == sorted(KINDS)
    assert set(ABOUT) == set(KINDS)
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    for row in rows:
        (name,) = code(row["golden test"])
        assert f"def {name}(" in tests, name


def test_every_model_of_the_survey_has_a_row_and_every_row_a_kind_that_exists():
    rows = table("Models")
    named = [model for row in rows for model in row["model"].split(", ")]
    assert [model for model in SURVEY if model not in named] == []
    for row in rows:
        kinds = code(row["kind"])
        assert kinds or row["kind"] in ("server", "judge", "refused"), row
        assert set(kinds) <= set(KINDS), row
        if row["kind"] != "refused":
            assert row["support"], row
            assert row["tested"] in ("numpy", "transformers", "server"), row
        else:
            assert row["what to know"], row


def blocks(heading):
    return re.findall(r"^```python\n(.*?)^```", section(heading), re.MULTILINE | re.DOTALL)


def run(block):
    exec(compile(block, "docs/reward-models.md", "exec"), {})


def test_the_block_that_fits_a_temperature_runs(tmp_path, monkeypatch, llama_rm, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Skywork").mkdir()
    (tmp_path / "Skywork" / "Skywork-Reward-V2-Qwen3-0.6B").symlink_to(llama_rm)
    rows = [{"prompt": f"Q{i}", "chosen": "yes" * (i % 5), "rejected": "no" * (i % 3)} for i in range(40)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    run(blocks("Scales and calibration")[0])
    assert "(37 prompts)" in capsys.readouterr().out


def test_the_block_that_converts_a_pickle_runs(tmp_path, monkeypatch, llama_rm, chatml):
    from transformers import AutoModelForSequenceClassification

    monkeypatch.chdir(tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(llama_rm)
    torch.save(model.state_dict(), "pytorch_model.bin")
    model.config.save_pretrained(tmp_path)
    chatml.save_pretrained(tmp_path)
    run(blocks("Pickles")[0])
    rows = answers(["Four.", "Five."])
    np.testing.assert_array_equal(
        load_scorer(tmp_path).score(*rows).reward, load_scorer(llama_rm).score(*rows).reward
    )


def test_the_block_that_converts_the_heads_of_ldl_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    publish(tmp_path, {}, architecture="LDLRewardModel27B", num_objectives=30, softmax=True)
    for head, out in (("regression_layer", 30), ("gating_layer", 3)):
        made = layer("network.0", 16, 32) | layer("network.2", out, 16)
        torch.save({name: torch.from_numpy(w) for name, w in made.items()}, f"{head}.pt")
    run(blocks("Pickles")[1])
    scorer = load_scorer(tmp_path)
    assert scorer.kind == "ldl"
    assert np.isfinite(scorer.score(*answers(["Four.", "Five."])).reward).all()


@pytest.mark.parametrize("name", ["stats", "verify", "export", "import", "prune", "doctor"])
def test_the_commands_that_are_named_exist(name):
    from typer.testing import CliRunner

    from rm_monitor.cli import app

    arguments = [name] if name == "doctor" else ["cache", name]
    assert CliRunner().invoke(app, [*arguments, "--help"]).exit_code == 0
    assert name in DOC
