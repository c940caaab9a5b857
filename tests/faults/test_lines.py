"""A line of a record, a row, a score is what was written, or it is left out."""

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm_monitor import files
from rm_monitor.cache.scores import ScoreStore
from rm_monitor.files import lines
from rm_monitor.files.lines import line, parse
from rm_monitor.records.rows import read_rows, write_rows
from tests.faults.damage import point_and_table

RECORDS = st.dictionaries(
    st.text(max_size=5).filter(lambda name: name != "crc"), st.integers() | st.text(max_size=9), max_size=4
)


@given(RECORDS, st.data())
def test_a_line_with_any_byte_changed_is_left_out_or_says_the_same(record, data):
    whole = line(record).encode().rstrip(b"\n")
    assert parse(whole) == record
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[at] = data.draw(st.integers(0, 255))
    assert parse(bytes(changed)) in (None, record)


def test_a_line_longer_than_any_of_ours_is_left_out(monkeypatch):
    whole = line({"text": "x" * 100}).encode().rstrip(b"\n")
    assert parse(whole) is not None
    monkeypatch.setattr(lines, "LONGEST", len(whole) - 1)
    assert parse(whole) is None


def test_a_file_that_is_a_link_is_not_written_through(tmp_path):
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / "history.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        lines.append(tmp_path / "history.jsonl", {"step": 1})
    assert (tmp_path / "elsewhere").read_text() == "mine"


@pytest.mark.parametrize(
    "name", ["../outside.jsonl", "rows/../../outside.jsonl", "/etc/passwd", "rows/x.jsonl"]
)
def test_rows_are_read_from_files_of_our_own_names_alone(tmp_path, name):
    folder = tmp_path / "run"
    folder.mkdir()
    table = point_and_table(10)[1]
    told = write_rows(folder, "rows/10-0.jsonl", table)
    assert read_rows(folder, told).prompt_ids == table.prompt_ids
    target = (folder / name).resolve()
    if tmp_path in target.parents:
        target.parent.mkdir(exist_ok=True)
        target.write_bytes((folder / "rows/10-0.jsonl").read_bytes())
    assert read_rows(folder, {**told, "file": name}) is None


def test_a_score_whose_row_was_changed_is_forgotten(tmp_path):
    store = ScoreStore(tmp_path / "scores.sqlite")
    keys = [bytes([i]) * 16 for i in range(3)]
    store.put({key: {"reward": float(i)} for i, key in enumerate(keys)})
    store.close()
    with closing(sqlite3.connect(tmp_path / "scores.sqlite")) as cache, cache:
        cache.execute("update scores set value = replace(value, '1.0', '7.0')")
    assert ScoreStore(tmp_path / "scores.sqlite").get(keys) == {
        keys[0]: {"reward": 0.0},
        keys[2]: {"reward": 2.0},
    }


def test_what_a_crash_or_a_stranger_left_where_a_file_is_built_is_neither_followed_nor_in_the_way(tmp_path):
    (tmp_path / "elsewhere").write_text("mine")
    for lay in (
        lambda at: at.symlink_to(tmp_path / "elsewhere"),
        lambda at: at.write_text("half"),
        lambda at: at.symlink_to(tmp_path / "nowhere"),
    ):
        lay(tmp_path / ".best.json.tmp")
        files.replace(tmp_path / "best.json", "new")
        assert (tmp_path / "best.json").read_text() == "new"
        assert not (tmp_path / "best.json").is_symlink()
    assert (tmp_path / "elsewhere").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best.json", "elsewhere"]
