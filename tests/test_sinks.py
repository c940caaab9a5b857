"""What loggers other than W&B are sent, seen by stand-ins with their exact calls."""

import math

import pytest

from rm_monitor.sinks import default_sinks, load_sinks
from rm_monitor.sinks.mlflow import MLflowSink
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
    sinks = default_sinks(["comet_ml", "none"])
    assert [type(sink).__name__ for sink in sinks] == ["PageSink", "ConsoleSink", "WandbSink"]
    assert "comet_ml" in caplog.text


def test_a_logger_that_is_named_but_not_installed_is_refused_with_the_way_out(monkeypatch):
    monkeypatch.setattr("rm_monitor.sinks.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'rm_monitor\[mlflow\]'"):
        load_sinks("mlflow")
    with pytest.raises(ValueError, match="is no sink"):
        load_sinks("weights and biases")
    assert len(load_sinks("all")) == 2
