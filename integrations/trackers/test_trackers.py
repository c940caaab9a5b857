"""What the real loggers keep: the numbers at their steps, the best under its alias. No network."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rm_monitor.sinks import load_sinks
from rm_monitor.sinks.open_run import OpenRunSink
from rm_monitor.types import Best, Estimate, EvalPoint, Update, Verdict


@pytest.fixture
def updates(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = []
    for step, value in ((10, 0.5), (20, 0.625)):
        folder = tmp_path / f"step-{step}"
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(bytes(step))
        estimate = Estimate(value, value - 0.1, value + 0.1, 64)
        point = EvalPoint(step=step, metrics={"win_prob": estimate, "win_rate@a b": estimate})
        update = Update(
            point=point,
            verdict=Verdict(state="improving", step=step, reason=f"Said at {step}."),
            best=Best(step=step, value=estimate, checkpoint=str(folder)),
            curve=(point,),
            metric="win_prob",
            output_dir=str(tmp_path / "out" / "_rm_monitor"),
        )
        found.append(update)
    return found


def show(name, updates, **options):
    sink = load_sinks({name: options})[-1]
    for update in updates:
        sink.show(update)


def test_mlflow_has_the_curve_and_a_registered_model_whose_alias_is_the_best(updates):
    import mlflow

    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    with mlflow.start_run() as run:
        show("mlflow", updates, registered_model="policy")
    client = mlflow.MlflowClient()
    history = client.get_metric_history(run.info.run_id, "rm_monitor/win_prob")
    assert [(m.step, m.value) for m in history] == [(10, 0.5), (20, 0.625)]
    best = client.get_model_version_by_alias("policy", "best")
    assert str(best.version) == "2"
    where = mlflow.artifacts.download_artifacts(best.source)
    assert (Path(where) / "model.safetensors").read_bytes() == bytes(20)


def test_trackio_has_rows_on_the_axis_and_the_best_as_an_artifact(updates, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(Path.cwd() / "trackio"))
    import trackio

    trackio.init(project="test", name="one")
    show("trackio", updates)
    best = trackio.use_artifact("rm_monitor-best:best")
    assert best.metadata["step"] == 20
    trackio.finish()


def test_tensorboard_has_the_curve_where_the_variable_says(updates, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "events")
    show("tensorboard", updates)
    events = EventAccumulator("events/rm_monitor").Reload()
    assert [(e.step, e.value) for e in events.Scalars("rm_monitor/win_prob")] == [(10, 0.5), (20, 0.625)]


def test_comet_keeps_the_numbers_of_an_offline_experiment(updates):
    import zipfile

    import comet_ml

    experiment = comet_ml.OfflineExperiment(
        project_name="test",
        offline_directory="comet",
        disabled=False,
        log_code=False,
        log_graph=False,
        log_env_details=False,
    )
    show("comet_ml", updates)
    experiment.end()
    (archive,) = Path("comet").glob("*.zip")
    with zipfile.ZipFile(archive) as inside:
        lines = inside.read("messages.json").decode().splitlines()
    metrics = [m["payload"]["metric"] for m in map(json.loads, lines) if "metric" in m.get("payload", {})]
    ours = [(m["step"], float(m["metricValue"])) for m in metrics if m["metricName"] == "rm_monitor/win_prob"]
    assert ours == [(10, 0.5), (20, 0.625)]


def test_dvclive_takes_the_numbers_through_a_live_that_is_given(updates):
    from dvclive import Live

    with Live("dvclive", save_dvc_exp=False, dvcyaml=None, monitor_system=False) as live:
        sink = OpenRunSink("dvclive", run=live)
        for update in updates:
            sink.show(update)
            live.next_step()
    rows = Path("dvclive/plots/metrics/rm_monitor/win_prob.tsv").read_text().split()
    assert rows[-1] == "0.625"


def test_clearml_reports_scalars_of_an_offline_task(updates):
    from clearml import Task

    Task.set_offline(True)
    task = Task.init("test", "one", auto_connect_frameworks=False, auto_resource_monitoring=False)
    show("clearml", updates)
    folder = Path(task.get_offline_mode_folder())
    task.close()
    kept = "".join(p.read_text() for p in folder.parent.rglob("metrics.jsonl"))
    assert "win_prob" in kept or list(folder.parent.glob("*.zip"))


def test_swanlab_logs_to_the_run_that_is_open(updates):
    import swanlab

    swanlab.init(project="test", mode="offline", logdir="swan")
    show("swanlab", updates)
    swanlab.finish()
    written = b"".join(p.read_bytes() for p in Path("swan").rglob("*") if p.is_file())
    assert b"rm_monitor/win_prob" in written


@pytest.mark.parametrize("name", ["mlflow", "trackio", "comet_ml", "swanlab", "clearml"])
def test_without_an_open_run_nothing_is_opened(updates, name):
    sink = load_sinks(name)[-1]
    sink.show(replace(updates[0], best=None))
