"""What W&B is sent, read from the file of an offline run by a reader of our own."""

import json
import math

import numpy as np
import pytest

from rm_monitor.sinks.wandb import WandbSink
from rm_monitor.types import Best, Completion, Estimate, EvalPoint, Table, Update, Verdict
from tests.wandb_file import records

N = 4


def update(step, *, best=None, folder=None, state="steady", curve=(), segment="a"):
    value = Estimate(0.5 + step / 1000, 0.4, 0.7, N)
    point = EvalPoint(
        step=step,
        metrics={"win_prob": value},
        measured={"seconds": 2.0, "decode_steps": 9.0},
        segment=segment,
    )
    rewards = np.arange(N, dtype=float)[:, None]
    return Update(
        point=point,
        verdict=Verdict(state=state, step=step, reason=f"Said at {step}."),
        best=None if best is None else Best(step=best, value=value, checkpoint=folder),
        curve=(*curve, point),
        metric="win_prob",
        table=Table(
            prompt_ids=tuple(f"p{i}" for i in range(N)),
            completions=tuple((Completion(prompt_id=f"p{i}", text=f"text {i}"),) for i in range(N)),
            values={"reward": rewards},
        ),
        run={"reward_model": "skywork", "every": "every 10 steps"},
    )


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """Run a function in an offline run; give what is in its file and the folder of its files."""
    import wandb

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WANDB_LOG_MODEL", raising=False)

    def play(use, name="one"):
        with wandb.init(
            project="test", dir=tmp_path / name, mode="offline", settings={"console": "off"}
        ) as run:
            use(run)
        wandb.teardown()  # the file is whole only now
        (path,) = (tmp_path / name).glob("wandb/offline-run-*/run-*.wandb")
        return list(records(path)), path.parent

    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    return play


def summary(found):
    said = {}
    for r in found:
        kind = r.WhichOneof("record_type")
        if kind == "summary":
            for item in r.summary.update:
                said[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
    return said


def artifacts(found, kind):
    of_kind = [
        r.artifact for r in found if r.WhichOneof("record_type") == "artifact" and r.artifact.type == kind
    ]
    return of_kind or [
        r.request.log_artifact.artifact
        for r in found
        if r.WhichOneof("record_type") == "request"
        and r.request.WhichOneof("request_type") == "log_artifact"
        and r.request.log_artifact.artifact.type == kind
    ]


def rows(found):
    for r in found:
        if r.WhichOneof("record_type") == "history":
            yield {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in r.history.item}


@pytest.fixture
def folders(tmp_path):
    made = []
    for step in (10, 30):
        folder = tmp_path / f"step-{step}"
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(bytes(step))
        made.append(str(folder))
    return made


def test_the_summary_is_plain_numbers_and_the_config_says_what_the_curve_depends_on(offline, tmp_path):
    ours = tmp_path / "_rm_monitor"
    ours.mkdir()
    facts = {"comparable": {"scorers": {"skywork": "f00d"}, "seed": 3}, "versions": {"rm_monitor": "1"}}
    (ours / "manifest.json").write_text(json.dumps(facts))
    from dataclasses import replace

    found, _ = offline(lambda run: WandbSink(run).show(replace(update(10, best=10), output_dir=str(ours))))
    said = summary(found)
    assert said["rm_monitor/win_prob"] == 0.51
    assert said["rm_monitor/best_win_prob"] == 0.51
    assert (said["rm_monitor/best_step"], said["rm_monitor/verdict"]) == (10, "steady")
    config = {
        item.key or "/".join(item.nested_key): json.loads(item.value_json)
        for r in found
        if r.WhichOneof("record_type") == "config"
        for item in r.config.update
    }
    ours = config["rm_monitor"]
    assert (ours["scorers"], ours["seed"], ours["reward_model"]) == ({"skywork": "f00d"}, 3, "skywork")
    assert ours["segment"] == "a"


def test_no_metric_asks_for_a_summary_of_its_own_and_the_engine_is_out_of_the_way(offline):
    found, _ = offline(lambda run: WandbSink(run).show(update(10)))
    metrics = [r.metric for r in found if r.WhichOneof("record_type") == "metric"]
    assert {m.name for m in metrics if not m.options.hidden} >= {"rm_monitor/win_prob"}
    assert all(not m.HasField("summary") for m in metrics if m.name.startswith("rm_monitor/"))
    hidden = {m.name for m in metrics if m.options.hidden}
    assert {"rm_monitor/engine/decode_steps", "rm_monitor/engine/seconds"} <= hidden


def test_the_alias_best_moves_to_the_checkpoint_that_is_best_now(offline, folders):
    first, second = folders

    def use(run):
        sink = WandbSink(run)
        sink.show(update(10, best=10, folder=first))
        sink.show(update(20, best=10, folder=first))
        sink.show(update(30, best=30))  # about to be saved
        sink.show(update(40, best=30, folder=second))
        sink.close()

    found, _ = offline(use)
    models = artifacts(found, "model")
    assert [set(a.aliases) - {"latest"} for a in models] == [{"best", "step-10"}, {"best", "step-30"}]
    assert {a.name for a in models} == {models[0].name}
    meta = json.loads(models[1].metadata)
    assert (meta["step"], meta["metric"]) == (30, "win_prob")
    (entry,) = models[1].manifest.contents
    assert entry.ref.startswith("file:///")
    assert entry.ref.endswith("step-30/model.safetensors")


def test_an_uploaded_best_holds_the_files_and_none_is_logged_where_none_is_wanted(offline, folders):
    found, _ = offline(
        lambda run: WandbSink(run, log_best="upload").show(update(10, best=10, folder=folders[0]))
    )
    (model,) = artifacts(found, "model")
    (entry,) = model.manifest.contents
    assert (entry.path, entry.size) == ("model.safetensors", 10)
    found, _ = offline(
        lambda run: WandbSink(run, log_best=None).show(update(10, best=10, folder=folders[0])), "two"
    )
    assert not artifacts(found, "model")


@pytest.mark.parametrize("n", [7, 60])
def test_every_sample_is_sent_and_files_grow_with_the_logarithm_of_the_evaluations(offline, n):
    def use(run):
        sink, curve = WandbSink(run), ()
        for step in range(n):
            shown = update(step, curve=curve)
            sink.show(shown)
            curve = shown.curve
        sink.close()

    found, folder = offline(use)
    tables = artifacts(found, "run_table") or artifacts(found, "wandb-run-incremental-table")
    most = 6 + math.ceil(math.log(n) / math.log(1.2))
    assert 1 <= len(tables) <= most
    pictures = [p for p in folder.rglob("*") if p.suffix == ".html"]
    assert 1 <= len(pictures) <= most
    sent = sum(len(json.loads(p.read_text())["data"]) for p in folder.rglob("*.table.json"))
    assert sent == n * N
    logged = [row for row in rows(found) if "rm_monitor/win_prob" in row]
    assert [row["train/global_step"] for row in logged] == list(range(n))


def test_a_second_run_in_one_process_gets_its_own_rows_axes_and_samples(offline):
    sink = WandbSink()
    for name in ("one", "two"):
        found, _ = offline(lambda run: sink.show(update(10)), name)
        assert len([row for row in rows(found) if "rm_monitor/win_prob" in row]) == 1
        assert any(r.metric.name == "rm_monitor/win_prob" for r in found)
        assert any(name.startswith("rm_monitor/samples") for row in rows(found) for name in row)


def test_numbers_arrive_whatever_happens_to_pictures(offline, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("no disk")

    monkeypatch.setattr("wandb.Html", broken)

    def use(run):
        with pytest.raises(RuntimeError, match="no disk"):
            WandbSink(run).show(update(10))

    found, _ = offline(use)
    assert any("rm_monitor/win_prob" in row for row in rows(found))
    assert summary(found)["rm_monitor/verdict"] == "steady"


def test_an_unknown_way_of_logging_the_best_is_refused():
    with pytest.raises(ValueError, match=r"`log_best` must be 'reference', 'upload' or None, got 'copy'"):
        WandbSink(log_best="copy")


class Served:
    """W&B's API as far as an alias goes."""

    def __init__(self, has):
        self.has, self.saved = has, []

    def artifact(self, name):
        import wandb

        if name not in self.has:
            raise wandb.errors.CommError("404")
        self.aliases = []
        self.save = lambda: self.saved.append((name, tuple(self.aliases)))
        return self


@pytest.mark.parametrize("there", [True, False])
def test_the_artifact_that_transformers_made_gets_the_alias(monkeypatch, folders, there):
    from types import SimpleNamespace

    name = "team/proj/model-abc:checkpoint_global_step_10"
    api = Served({name} if there else set())
    monkeypatch.setenv("WANDB_LOG_MODEL", "checkpoint")
    monkeypatch.setattr("wandb.Api", lambda: api)
    logged = []
    run = SimpleNamespace(
        id="abc",
        name="lively-sun-3",
        entity="team",
        project="proj",
        offline=False,
        log_artifact=lambda artifact, aliases: logged.append(aliases),
    )
    from rm_monitor.sinks.wandb.models import Models

    Models(run, log_best="reference", link=None).show(update(10, best=10, folder=folders[0]))
    assert api.saved == ([(name, ("best", "step-10"))] if there else [])
    assert logged == ([] if there else [["best", "step-10"]])
