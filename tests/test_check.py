"""`rm-monitor check`: what cannot work is refused before a run, what will happen is told."""

import json
import re

import pytest
from typer.testing import CliRunner

from rm_monitor.cli import app, main
from rm_monitor.runs.check import check_settings


@pytest.fixture
def config(tmp_path, tiny_reward_model_dir):
    prompts = tmp_path / "prompts.jsonl"
    rows = [{"prompt": f"Question {i}?", "reference": "Yes."} for i in range(12)]
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "monitor.yaml"
    path.write_text(
        f"reward_model: {{source: {tiny_reward_model_dir}, temperature: 2.0}}\nprompts: {prompts}\n"
        "references: reference\nevery: 10\nsampling: {max_new_tokens: 4}\n"
    )
    return path


def test_two_rows_are_asked_answered_and_scored(config, tiny_policy_dir):
    found = check_settings(config, policy=tiny_policy_dir)
    assert [len(scores) for scores in found.rewards.values()] == [2]
    assert "Question" in found.asked[0]
    assert found.seconds > 0
    assert {"prompts", "references", "policy", "lengths", "headline"} <= found.facts.keys()


def test_nothing_is_written_and_a_program_can_read_it(config, tmp_path):
    before = set(tmp_path.iterdir())
    said = CliRunner().invoke(app, ["check", str(config), "--json"])
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout.strip().splitlines()[-1])["seconds"] is None
    assert set(tmp_path.iterdir()) == before


def test_prompts_that_leave_no_room_are_refused(config, tiny_policy_dir):
    config.write_text(config.read_text().replace("max_new_tokens: 4", "max_new_tokens: 4000"))
    with pytest.raises(ValueError, match=r"leaves no room for .*max_new_tokens=\d+\) leaves room"):
        check_settings(config, policy=tiny_policy_dir)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("evry: 5", r"monitor.yaml line \d+: unknown settings \['evry'\] \(did you mean 'every'\?\)"),
        ("every: ten", r"monitor.yaml line \d+: `every` is a number of steps, at least 1 .* got 'ten'"),
        ("sampling: {max_tokens: 8}", r"line \d+: .*did you mean 'max_new_tokens'"),
        (
            "every: {every: 5, max_overhead: 10}",
            r"line \d+: `max_overhead` is a share of the training time.* got 10",
        ),
        ("alarm: {tolerance: 2 points}", r"line \d+: `tolerance` is a share in \[0, 1\).* got '2 points'"),
        ("seed: a", r"`seed`: .*valid integer, got 'a'"),
        ("temperature: 2", r"of rewards: \{source: \.\.\., temperature: 2\.0\}"),
        (
            "prompt_format: {formt: raw}",
            r"`prompt_format` has no setting 'formt' \(did you mean 'format'\?\)",
        ),
        ("reward_model: [1]", r"`reward_model`"),
        ("every: [", r"monitor.yaml line \d+: "),
    ],
)
def test_a_wrong_setting_is_one_line_with_file_line_rule_and_way_out(config, line, said, capsys, monkeypatch):
    key = line.split(":")[0]
    kept = [one for one in config.read_text().splitlines() if not one.startswith(f"{key}:")]
    config.write_text("\n".join([*kept, line]) + "\n")
    monkeypatch.setattr("sys.argv", ["rm-monitor", "check", str(config)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    error = capsys.readouterr().err.strip()
    assert "Traceback" not in error
    assert len(error.splitlines()) == 1
    assert re.search(said, error), error


def test_the_schema_of_the_settings_names_every_argument_of_the_monitor():
    import inspect

    from rm_monitor import RewardMonitor
    from rm_monitor.monitor.config import MonitorConfig

    arguments = inspect.signature(RewardMonitor.__init__).parameters
    written = MonitorConfig.model_fields
    assert list(arguments)[1:] == list(written)
    for name, argument in arguments.items():
        if name != "self" and argument.default is not inspect.Parameter.empty:
            assert written[name].default == argument.default, name
    assert set(MonitorConfig.model_json_schema()["properties"]) == set(written)


def test_two_answers_to_every_prompt_measure_the_spread_and_the_cost(config, tiny_policy_dir):
    assumed = check_settings(config, policy=tiny_policy_dir)
    found = check_settings(config, policy=tiny_policy_dir, measure=True)
    assert assumed.facts["what it will see"].startswith("12 prompts, 20 evaluations or so: a lasting fall of")
    assert re.match(r"Two answers to a prompt differ by \d+ points of 100", found.facts["spread"])
    assert found.facts["what it will see"] != assumed.facts["what it will see"]
    assert re.match(r"One evaluation takes about \d+ s, all 20: ", found.facts["one evaluation"])
    assert found.facts["more prompts"].startswith("More prompts help up to about")


def test_what_cannot_be_measured_by_two_answers_is_refused(config, tiny_policy_dir):
    with pytest.raises(ValueError, match="say which, with `policy`"):
        check_settings(config, measure=True)
    config.write_text(config.read_text().replace("max_new_tokens: 4", "max_new_tokens: 4, temperature: 0"))
    with pytest.raises(ValueError, match="the same at `temperature` 0"):
        check_settings(config, policy=tiny_policy_dir, measure=True)
