"""The command line: exit codes that a CI job or a scheduler can act on."""

import pytest
from typer.testing import CliRunner

from rm_monitor import cli


def test_a_broken_command_exits_2_for_1_would_say_degraded(monkeypatch, capsys):
    def broken():
        raise KeyError("a bug")

    monkeypatch.setattr(cli, "app", broken)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert "a bug" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["compare"], ["best"], ["nonsense"], ["compare", "--nonsense", "1", "2"]]
)
def test_wrong_use_exits_2(arguments):
    assert CliRunner().invoke(cli.app, arguments).exit_code == 2


def test_asking_for_what_is_not_there_exits_1(tmp_path):
    asked = CliRunner().invoke(cli.app, ["best", str(tmp_path)])
    assert asked.exit_code == 1
    assert asked.stdout == ""
