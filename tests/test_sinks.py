"""What loggers other than W&B are sent, seen by stand-ins with their exact calls."""

import math
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

from rm_monitor.sinks import default_sinks, load_sinks
from rm_monitor.sinks.mlflow import MLflowSink
from rm_monitor.sinks.open_run import LOGGERS, OpenRunSink
from rm_monitor.sinks.tensorboard import TensorBoardSink
from rm_monitor.sinks.trackio import TrackioSink
from rm_monitor.types import Best, Estimate, EvalPoint, Update, Verdict


@pytest.fixture
def update(tmp_path):
    value = Estimate(0.6, 0.5, 0.7, 64)
    point = EvalPoint(
        step=40,
        metrics={"win_prob": value, "win_prob@code review": Estimate(0.4, math.nan, math.nan, 3)},
        measured={"seconds": 2.0},
    )
    verdict = Verdict(state="degraded", step=40, reason="Degraded. Worse than step 20.")
    return Update(
        point=point,
        verdict=verdict,
        best=Best(step=20, value=value, checkpoint="out/checkpoint-20"),
        curve=(point,),
        metric="win_prob",
        changed=True,
        output_dir=str(tmp_path / "_rm_monitor"),
    )


class Recorder:
    """Keeps every call by name, whatever it is."""

    def __init__(self):
        self.calls = {}

    def __getattr__(self, name):
        return lambda *args, **kwargs: self.calls.setdefault(name, []).append((args, kwargs)) or True


def test_tensorboard_gets_known_scalars_on_the_optimizer_step(update):
    writer = Recorder()
    TensorBoardSink(writer).show(update)
    scalars = {args[0]: args[1:] for args, _ in writer.calls["add_scalar"]}
    assert scalars["rm_monitor/win_prob"] == (0.6, 40)
    assert scalars["rm_monitor/best_step"] == (20.0, 40)
    assert "rm_monitor/win_prob@code review_low" not in scalars


def test_mlflow_gets_names_it_takes_and_no_nan(update):
    client = Recorder()
    MLflowSink(client).show(update)
    ((known,), keywords) = client.calls["log_metrics"][0]
    assert keywords == {"step": 40}
    assert known["rm_monitor/win_prob_code review"] == 0.4
    assert all(value == value for value in known.values())
    assert client.calls["set_tags"][0][0][0]["rm_monitor.best_step"] == "20"


def test_without_an_open_run_mlflow_and_trackio_are_left_alone(update):
    client = Recorder()
    client.active_run = lambda: None
    MLflowSink(client).show(update)
    TrackioSink().show(update)
    assert client.calls == {}


def test_trackio_gets_a_row_without_step_and_an_alert(update):
    run = Recorder()
    TrackioSink(run).show(update)
    ((row,), keywords) = run.calls["log"][0]
    assert row["train/global_step"] == 40
    assert keywords == {}
    assert "degraded at step 40" in run.calls["alert"][0][1]["title"]


def test_a_trainers_logger_without_a_sink_is_named_and_training_goes_on(caplog):
    sinks = default_sinks(["azure_ml", "none"])
    assert [type(sink).__name__ for sink in sinks] == ["PageSink", "ConsoleSink", "WandbSink"]
    assert "azure_ml" in caplog.text


def test_a_logger_that_is_named_but_not_installed_is_refused_with_the_way_out(monkeypatch):
    monkeypatch.setattr("rm_monitor.sinks.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'rm_monitor\[mlflow\]'"):
        load_sinks("mlflow")
    with pytest.raises(ValueError, match="is no sink"):
        load_sinks("weights and biases")
    assert len(load_sinks("all")) == 2


class Keyed(Recorder):
    """A run that is also written to by key, as Neptune's and Aim's are."""

    def __init__(self):
        super().__init__()
        self.texts, self.series = {}, {}

    def __setitem__(self, name, text):
        self.texts[name] = text

    def __getitem__(self, name):
        return SimpleNamespace(
            append=lambda value, step: self.series.setdefault(name, []).append((step, value))
        )

    def get_logger(self):
        return self


@pytest.mark.parametrize("name", sorted(LOGGERS))
def test_every_logger_of_the_table_gets_the_number_and_no_nan(update, name):
    run = Keyed()
    OpenRunSink(name, run=run).show(update)
    said = repr((run.calls, run.series))
    assert "rm_monitor/win_prob" in said.replace("'title': 'rm_monitor', 'series': '", "rm_monitor/")
    assert "0.6" in said
    assert "nan" not in said
    if name not in ("dvclive",):
        assert "40" in said


@pytest.mark.parametrize("name", sorted(n for n, logger in LOGGERS.items() if logger.find))
def test_the_open_run_is_found_where_its_package_keeps_it_and_nothing_is_loaded(update, name, monkeypatch):
    OpenRunSink(name).show(update)
    assert LOGGERS[name].module not in sys.modules or find_spec(name)
    run = Keyed()
    module = SimpleNamespace(
        get_running_experiment=lambda: run,
        get_run=lambda: run,
        Task=SimpleNamespace(current_task=lambda: run),
    )
    monkeypatch.setitem(sys.modules, name, module)
    OpenRunSink(name).show(update)
    assert run.calls


def test_a_logger_whose_run_cannot_be_found_is_refused_by_name_and_taken_as_an_object(update):
    with pytest.raises(ValueError, match=r"report_to=\[OpenRunSink\('aim', run=...\)\] gives it"):
        load_sinks("aim")
    sink = OpenRunSink("aim", run=Keyed())
    assert load_sinks([sink])[-1] is sink
    with pytest.raises(ValueError, match="`name` must be one of"):
        OpenRunSink("nobody")


def test_options_of_a_named_sink_are_given_as_a_mapping():
    sink = load_sinks({"wandb": {"log_best": None}})[-1]
    assert type(sink).__name__ == "WandbSink"
    with pytest.raises(ValueError, match="`log_best` must be"):
        load_sinks({"wandb": {"log_best": "copy"}})


def test_a_package_of_somebody_elses_brings_a_sink_under_a_name(tmp_path, monkeypatch, update):
    package = tmp_path / "others_sink-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: others-sink\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(
        "[rm_monitor.sinks]\nothers = others_sink:Theirs\nwandb = others_sink:Theirs\n"
    )
    (tmp_path / "others_sink.py").write_text(
        "class Theirs:\n    def __init__(self, level=1):\n        self.level, self.seen = level, []\n"
        "    def show(self, update):\n        self.seen.append(update.point.step)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    sink = load_sinks({"others": {"level": 3}})[-1]
    sink.show(update)
    assert (sink.level, sink.seen) == (3, [40])
    assert type(load_sinks("wandb")[-1]).__name__ == "WandbSink", "ours go first"
    assert type(default_sinks(["others"])[-2]).__name__ == "Theirs"


def test_tensorboard_writes_where_the_variable_says_and_to_each_runs_folder(update, tmp_path, monkeypatch):
    from dataclasses import replace

    made = []
    monkeypatch.setitem(
        sys.modules,
        "torch.utils.tensorboard",
        SimpleNamespace(SummaryWriter=lambda folder: made.append(folder) or Recorder()),
    )
    sink = TensorBoardSink()
    for _ in range(2):
        sink.show(update)
    sink.show(replace(update, output_dir=str(tmp_path / "second" / "_rm_monitor")))
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "events"))
    sink.show(update)
    folders = [tmp_path / "runs", tmp_path / "second" / "runs", tmp_path / "events"]
    assert made == [str(folder / "rm_monitor") for folder in folders]
