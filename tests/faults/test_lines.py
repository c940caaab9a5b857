"""A line of a record is what was written, or it is left out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm_monitor.files import lines
from rm_monitor.files.lines import line, parse

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
