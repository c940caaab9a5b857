"""The command line: exit codes that a CI job or a scheduler can act on."""

import pytest
import typer.main
from typer.testing import CliRunner

from rm_monitor import cli
from rm_monitor.cli.helped import EXAMPLES


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


def commands(command=None, name=""):
    command = command or typer.main.get_command(cli.app)
    yield name, command
    for below, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{name} {below}".strip())


@pytest.mark.parametrize("name", [name for name, _ in commands() if name])
def test_every_help_ends_with_an_example_of_that_command_with_options_it_has(name):
    example = EXAMPLES[name]
    assert example.startswith(f"rm-monitor {name}")
    shown = CliRunner().invoke(cli.app, [*name.split(), "--help"], env={"COLUMNS": "200"}).stdout
    assert example in shown or "commands" in vars(dict(commands())[name])
    words = example.split(" -- ")[0].split()
    known = {option for parameter in dict(commands())[name].params for option in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= known or name == "cache"


@pytest.mark.parametrize("name", [name for name, _ in commands() if name])
def test_no_option_is_described_in_the_words_of_python(name):
    shown = CliRunner().invoke(cli.app, [*name.split(), "--help"], env={"COLUMNS": "200"}).stdout
    options = [line for line in shown.splitlines() if " --" in line and "--help" not in line]
    assert not [line for line in options if "<" in line]


def test_the_version_is_the_packages():
    import rm_monitor

    assert CliRunner().invoke(cli.app, ["--version"]).stdout == f"rm-monitor {rm_monitor.__version__}\n"


WRONG_FILES = {
    "tag": "every: !!python/object:os.system {}",
    "list": "- a",
    "syntax": "a: [1,\nb: }",
    "empty": "",
}


@pytest.mark.parametrize(
    "command", [("run", "--config", "FILE", "--", "x.py"), ("score", "a.jsonl", "--config", "FILE")]
)
@pytest.mark.parametrize("wrong", WRONG_FILES)
def test_a_wrong_file_of_settings_is_one_line_that_names_it(command, wrong, tmp_path, monkeypatch, capsys):
    path = tmp_path / "monitor.yaml"
    path.write_text(WRONG_FILES[wrong])
    monkeypatch.setattr("sys.argv", ["rm-monitor", *(str(path) if w == "FILE" else w for w in command)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert len(said.strip().splitlines()) == 1
    assert "monitor.yaml" in said


@pytest.mark.parametrize(
    "command", [("best",), ("report",), ("export", "--csv"), ("compare", "1", "2", "--run")]
)
def test_a_folder_that_is_not_there_is_one_line_that_names_it(command, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["rm-monitor", *command, "no-such-folder"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    said = capsys.readouterr().err
    assert stop.value.code == 1
    assert len(said.strip().splitlines()) == 1
    assert "no-such-folder" in said


@pytest.fixture
def levels():
    """The levels of our two logs, put back afterwards."""
    import logging

    logs = [logging.getLogger(name) for name in ("rm_monitor", "rm_monitor.console")]
    before = [log.level for log in logs]
    yield logs
    for log, level in zip(logs, before, strict=True):
        log.setLevel(level)


def test_quiet_leaves_alarms_and_results_and_takes_what_comes_between(levels, capsys):
    from rm_monitor.sinks.console import ConsoleSink
    from rm_monitor.types import Estimate, EvalPoint, Update, Verdict

    point = EvalPoint(step=10, metrics={"win_rate": Estimate(0.5, 0.4, 0.6, 9)})
    steady = Update(
        point=point, verdict=Verdict(step=10), best=None, curve=(point,), metric="win_rate", changed=False
    )
    ConsoleSink().show(steady)
    assert "step 10" in capsys.readouterr().out
    done = CliRunner().invoke(cli.app, ["power", "--prompts", "64", "--evaluations", "5", "-q"])
    assert done.exit_code == 0
    assert done.stdout
    ConsoleSink().show(steady)
    assert capsys.readouterr().out == ""


def test_verbose_says_where_an_error_comes_from(levels, monkeypatch, capsys):
    import sys

    from rm_monitor.cli import main

    for flag, traced in (([], False), (["-v"], True)):
        monkeypatch.setattr(sys, "argv", ["rm-monitor", "best", "no/such/run", "--export", "x", *flag])
        with pytest.raises(SystemExit) as stop:
            main()
        said = capsys.readouterr().err
        assert stop.value.code == 1
        assert ("Traceback" in said) == (traced and "NotFoundError" in said)


@pytest.mark.parametrize(("name", "command"), list(commands()))
def test_every_command_takes_quiet_and_verbose(name, command):
    if not getattr(command, "commands", None):
        assert {"-q", "-v"} <= {option for parameter in command.params for option in parameter.opts}
