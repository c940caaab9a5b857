"""Nothing that is read can run, steer, or tell."""

import ast
import json
import logging
import os
import pickle
from pathlib import Path

import pytest

from rm_monitor.checkpoints.disk import problem
from rm_monitor.errors import ScorerError
from rm_monitor.scorers import load_scorer
from rm_monitor.text import escape
from tests.faults import hostile, secrets

ROOT = Path(__file__).parents[2] / "rm_monitor"
SOURCES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(ROOT.rglob("*.py"))}
CALLS = [
    (path, node) for path, tree in SOURCES.items() for node in ast.walk(tree) if isinstance(node, ast.Call)
]


def name_of(call):
    return ast.unparse(call.func)


def short(text):
    return {name: t for name, t in hostile.TEXTS.items() if len(t) < 10_000}


@pytest.mark.parametrize("place", hostile.PLACES)
def test_hostile_texts_stay_text(place, monkeypatch, tmp_path):
    texts = short(hostile.TEXTS)
    if place in (
        "W&B",
        "page",
        "files and their names",
        "command line",
    ):  # slower: a third of them; `make faults` tries all
        texts = dict(list(texts.items())[::3])
    tried, found = hostile.escapes(texts, {place: hostile.PLACES[place]})
    assert not found
    assert tried >= 10


def test_ten_megabytes_of_text_fit_everywhere_they_are_shown():
    texts = {"big": hostile.TEXTS["ten megabytes"]}
    assert not hostile.escapes(texts, {p: hostile.PLACES[p] for p in ("terminal", "card", "W&B")})[1]


@pytest.mark.parametrize(
    ("place", "target"),
    [
        ("page", "rm_monitor.report.sections.answers.for_html"),
        ("card", "rm_monitor.report.card.for_html"),
        ("terminal", "rm_monitor.sinks.console.for_screen"),
        ("log", "rm_monitor.text.escape.for_screen"),
        ("W&B", "rm_monitor.sinks.wandb.media.visible"),
        ("CSV", "tests.faults.hostile.for_csv"),
    ],
)
def test_the_hostile_campaign_notices_a_place_that_forgets_to_escape(place, target, monkeypatch):
    if place == "terminal":
        monkeypatch.setattr("rm_monitor.messages.console.for_terminal", lambda text: text)
    monkeypatch.setattr(target, lambda text: text)
    texts = {name: hostile.TEXTS[name] for name in ("script", "document", "ansi colour", "csv equals")}
    assert hostile.escapes(texts, {place: hostile.PLACES[place]})[1]


def test_a_planted_secret_is_found_nowhere_after_a_failure():
    quick = {name: path for name, path in secrets.PATHS.items() if name not in ("W&B", "remote scorer")}
    searched, found = secrets.leaks(quick)
    assert not found
    assert searched > 50


def test_the_secret_campaign_notices_a_record_that_is_not_redacted(monkeypatch):
    monkeypatch.setattr(escape, "redact", lambda text: text)
    _, found = secrets.leaks({"scorer": secrets.PATHS["scorer in the middle"]})
    assert {place.partition(" in ")[2].rpartition("/")[2] for place in found} >= {
        "history.jsonl (scorer)",
        "log (scorer)",
        "prints (scorer)",
    }


def test_what_is_no_secret_is_left_as_it_is():
    plain = "KeyError: 'tokenizer' at key=5, pad_token: None, see https://host/a?page=2 and /root/keys/x"
    assert escape.redact(plain) == plain


# ---------------------------------------------------------------------------- the source


def test_no_source_reads_what_could_run():
    forbidden = {"eval", "exec", "pickle.load", "pickle.loads", "torch.load", "yaml.load", "marshal.loads"}
    forbidden |= {"os.system", "os.popen", "dill.load", "joblib.load", "shelve.open", "yaml.unsafe_load"}
    own = ("pickle.load", "pickle.loads")  # between the trainer and the process that it started
    found = [(str(path), call) for path, call in CALLS if name_of(call) in forbidden]
    assert [
        f"{path}:{call.lineno}"
        for path, call in found
        if not (path.endswith(("overlap/serve.py", "overlap/worker.py")) and name_of(call) in own)
    ] == []
    imported = {
        alias.name
        for tree in SOURCES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert not imported & {"dill", "cloudpickle", "marshal", "shelve"}
    pickling = [(str(path), name_of(call)) for path, call in CALLS if name_of(call).startswith("pickle.")]
    elsewhere = {call for path, call in pickling if "rm_monitor/monitor/overlap/" not in path}
    assert elsewhere == {"pickle.dumps", "pickle.Pickler", "pickle.Pickler(_Nowhere()).dump"}, (
        "asked whether a value can be sent; never read"
    )


def test_the_one_unpickler_of_foreign_files_says_which_classes_may_be_named():
    unpicklers = [
        (str(path), node)
        for path, tree in SOURCES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and any("Unpickler" in ast.unparse(base) for base in node.bases)
    ]
    foreign = [node for path, node in unpicklers if "rm_monitor/monitor/overlap/" not in path]
    (node,) = foreign
    assert "find_class" in {child.name for child in node.body if isinstance(child, ast.FunctionDef)}


def test_the_second_process_reads_only_what_its_trainer_gave_it():
    reads = [ast.unparse(call) for path, call in CALLS if str(path).endswith("overlap/serve.py")]
    reads = [call for call in reads if call.startswith(("pickle.load", "Connection", "open", "Path"))]
    assert sorted(set(reads)) == [
        "Connection(pipe)",
        "Path(given)",
        "Path(recipe.folder)",
        "pickle.load(sys.stdin.buffer)",
        "pickle.loads(part)",
    ]


def test_no_call_trusts_remote_code_or_a_shell_or_pickled_arrays():
    for path, call in CALLS:
        for keyword in call.keywords:
            value = getattr(keyword.value, "value", None)
            assert not (
                keyword.arg in ("trust_remote_code", "shell", "allow_pickle") and value is not False
            ), f"{path}:{call.lineno} {keyword.arg}"
            assert not (keyword.arg == "weights_only" and value is False), f"{path}:{call.lineno}"


def test_every_model_is_loaded_from_safetensors_without_remote_code():
    seen = 0
    for path, call in CALLS:
        name = name_of(call)
        if not name.endswith(".from_pretrained") or name == "PeftModel.from_pretrained":
            continue
        given = {k.arg: ast.unparse(k.value) for k in call.keywords}
        safe = given.get(None) == "_SAFE" or given.get("trust_remote_code") == "False"
        harmless = "Tokenizer" in name or name.startswith("AutoConfig")  # no weights are in these
        weights = harmless or given.get(None) == "_SAFE" or given.get("use_safetensors") == "True"
        assert safe, f"{path}:{call.lineno} must say trust_remote_code=False"
        assert weights, f"{path}:{call.lineno} must say use_safetensors=True"
        seen += 1
    assert seen >= 5


LEVELS = ("verbosity.py", "progress.py", "console.py")  # each asks or sets a level, by its next test


def test_the_loggers_beside_ours_are_asked_for_their_level_alone():
    for path, call in CALLS:
        if path.name in LEVELS and name_of(call).startswith("log."):
            assert name_of(call) in ("log.setLevel", "log.isEnabledFor"), f"{path}:{call.lineno} logs"


def test_everything_that_is_printed_or_logged_goes_through_the_choke_point():
    for path, call in CALLS:
        room = path.relative_to(ROOT).parts[0]
        name = name_of(call)
        if name == "logging.getLogger":
            about = ast.unparse(call.args[0])  # the console's: its level says how much is printed, and how
            console = about in ("CONSOLE", "'rm_monitor.console'") and path.name in LEVELS
            assert console or about == "'rm_monitor'", f"{path}: a logger that is not filtered"
        if name in ("typer.echo", "click.echo"):
            piped = "nl=False" in ast.unparse(call)  # bytes for a program, never for a terminal
            assert piped or path.name == "base.py" or room == "demo", f"{path}:{call.lineno} is not escaped"
    assert any(isinstance(f, escape.InertLog) for f in logging.getLogger("rm_monitor").filters)


def test_html_is_given_to_wandb_for_the_card_alone():
    html = [call for path, call in CALLS if name_of(call) == "wandb.Html"]
    assert [ast.unparse(call.args[0]).partition("(")[0] for call in html] == ["card"]


# ---------------------------------------------------------------------------- files of others


class Runs:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (os.mkdir, (str(self.mark),))


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "adapter_model.bin", "model.pt", "regression_layer.pt"]
)
def test_a_pickle_is_never_opened(tmp_path, tiny_reward_model_dir, name):
    folder = tmp_path / "model"
    folder.mkdir()
    for path in tiny_reward_model_dir.iterdir():
        if path.suffix != ".safetensors":
            (folder / path.name).write_bytes(path.read_bytes())
    (folder / name).write_bytes(pickle.dumps(Runs(tmp_path / "mark")))
    with pytest.raises((ScorerError, ValueError), match=r"pickle|safetensors"):
        load_scorer(str(folder))
    assert problem(folder) == "no safetensors weights are there"
    assert not (tmp_path / "mark").exists()


def test_remote_code_beside_a_reward_model_does_not_run(tmp_path, tiny_reward_model_dir):
    folder = tmp_path / "model"
    folder.mkdir()
    for path in tiny_reward_model_dir.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "made-up", "auto_map": {"AutoConfig": "evil.C", "AutoModel": "evil.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"import os; os.mkdir({str(tmp_path / 'mark')!r})")
    with pytest.raises((ScorerError, ValueError)):
        load_scorer(str(folder))
    assert not (tmp_path / "mark").exists()
