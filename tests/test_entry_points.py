"""Scorers and generators of somebody else's package, found by a name in its metadata (sinks: test_sinks)."""

import pytest

from rm_monitor import RewardMonitor, load_scorer
from rm_monitor.generators import load_generator
from rm_monitor.generators.recorded import RecordedGenerator

CODE = """
from rm_monitor.testing import Says


class Shortest:
    scale = "ordinal"
    __slots__ = ("strictness",)

    def __init__(self, *, strictness=1, temperature=None):
        self.strictness = strictness

    @property
    def fingerprint(self):
        return f"shortest {self.strictness}"

    def score(self, prompts, completions, **more):
        import numpy as np

        return np.array([-self.strictness * len(c.text) for c in completions], dtype=float)


class Parrot(Says):
    def __init__(self, *, times=1):
        super().__init__(lambda prompt, sample: " ".join([prompt.text] * times))
        self.times = times
"""
POINTS = """
[rm_monitor.scorers]
shortest = others:Shortest
gone = others:NotThere

[rm_monitor.generators]
parrot = others:Parrot
"""


@pytest.fixture(autouse=True)
def installed(tmp_path, monkeypatch):
    """A distribution as pip leaves it: a module, and a folder of metadata beside it."""
    metadata = tmp_path / "installed" / "others-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(POINTS)
    (tmp_path / "installed" / "others.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path / "installed")
    monkeypatch.chdir(tmp_path)


def test_a_scorer_is_called_with_the_options_that_were_given_and_no_others():
    scorer = load_scorer("shortest", strictness=3, show=False)
    assert type(scorer).__name__ == "Shortest"
    assert scorer.fingerprint == "shortest 3"


def test_an_option_it_does_not_take_is_refused_with_its_package():
    with pytest.raises(TypeError, match=r"'shortest' \(rm_monitor.scorers\) of the package others: .*'loud'"):
        load_scorer("shortest", loud=True, show=False)


def test_a_name_whose_code_is_gone_is_refused_with_its_package():
    with pytest.raises(ImportError, match=r"'gone' .* of the package others cannot be loaded"):
        load_scorer("gone", show=False)


def test_a_folder_of_that_name_goes_first(tmp_path):
    (tmp_path / "shortest").mkdir()
    with pytest.raises(Exception, match=r"config\.json"):
        load_scorer("shortest", show=False)
    (tmp_path / "parrot").write_text('{"prompt": "a", "completion": "b"}\n')
    assert isinstance(load_generator("parrot"), RecordedGenerator)


def test_a_generator_is_named_alone_or_with_options():
    assert load_generator("parrot").times == 1
    assert load_generator({"source": "parrot", "times": 2}).times == 2


def test_a_generator_that_nobody_brings_is_refused_with_those_that_are_there():
    with pytest.raises(ValueError, match=r"got 'engine'; installed are \['parrot'\]"):
        load_generator({"source": "engine"})


def test_a_whole_monitor_is_written_in_a_file_with_names_only(tmp_path):
    monitor = RewardMonitor.from_config(
        {
            "reward_model": {"source": "shortest", "strictness": 2},
            "generator": {"source": "parrot", "times": 2},
            "prompts": _prompts(tmp_path),
            "references": "reference",
            "output_dir": str(tmp_path / "out"),
            "report_to": "none",
        }
    )
    point = monitor.evaluate(step=0)
    monitor.close()
    assert point.metrics["win_rate"].value == 0.5  # "a a" is shorter than "aaaa", "bb bb" is not


def _prompts(folder):
    path = folder / "prompts.jsonl"
    path.write_text('{"prompt": "a", "reference": "aaaa"}\n{"prompt": "bb", "reference": "bbbb"}\n')
    return str(path)
