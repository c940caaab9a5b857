"""A table of a run that somebody made up computes nothing in a spreadsheet."""

import csv
import random
import shutil

import pytest

from rm_monitor import cli
from tests.faults import forged


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return forged.run_folder(tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize("text", ["=1+1", '=cmd|"/c calc"!A1', "@SUM(1)", " +1+cmd", "-2+3", "\t=1"])
def test_no_cell_of_an_exported_run_is_a_formula(run, text, monkeypatch, tmp_path):
    deeds = dict(forged.forged(run, {"formula": text}))
    deeds["reason: formula"](run)
    deeds["segment: formula"](run)
    deeds["metric: formula"](run)
    written = tmp_path / "points.csv"
    monkeypatch.setattr(
        "sys.argv", ["rm-monitor", "export", str(run.parent), "--csv", "--output", str(written)]
    )
    with pytest.raises(SystemExit):
        cli.main()
    with written.open(newline="") as file:
        rows = list(csv.reader(file))
    assert len(rows) > 2
    formulas = [
        cell for row in rows for cell in row if cell.lstrip()[:1] in tuple("=+@-") and not number(cell)
    ]
    assert formulas == []


def number(cell):
    try:
        float(cell)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("seed", range(3))
def test_a_forged_run_folder_is_read_or_refused_in_words(run, seed, tmp_path):
    deeds = list(forged.forged(run))
    for name, do in random.Random(seed).sample(deeds, 5):
        copy = tmp_path / "copy" / "_rm_monitor"
        shutil.copytree(run, copy, symlinks=True)
        do(copy)
        assert forged.opened(copy) == [], name
        shutil.rmtree(copy.parent)
