"""What we write is JSON that any parser reads: unknown is null, in every file and in every `--json`."""

import ast
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import rm_monitor
from rm_monitor import RewardMonitor, cli
from rm_monitor.files import lines, strict_json
from rm_monitor.files.digest import digest
from rm_monitor.testing import Says

ROOT = Path(rm_monitor.__file__).parent
# Texts that models read, the wire, and names that score caches know rows by: none of it is a file of ours.
ELSEWHERE = {
    *("types", "text", "prompts", "scorers", "generators", "http", "training", "testing"),
    *("strict_json.py", "digest.py"),
}


def no_such_constant(name):
    raise AssertionError(f"{name} is no JSON")


def strict(text):
    """As JavaScript, Rust and jq read it."""
    return json.loads(text, parse_constant=no_such_constant)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)

records = st.dictionaries(st.text(max_size=5).filter(lambda k: k != "crc"), values, max_size=4)


def known(value):
    """The value with null for what is no finite number."""
    if isinstance(value, dict):
        return {k: known(v) for k, v in value.items()}
    if isinstance(value, list):
        return [known(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@given(values)
def test_a_value_is_read_back_by_a_strict_parser_with_null_for_unknown(value):
    for text in (strict_json.dumps(value), strict_json.dumps(value, indent=1, sort=True)):
        assert strict(text) == known(value)
        assert strict_json.loads(text) == known(value)
        assert text.isascii()


@given(records)
def test_a_line_is_one_json_object_whose_last_field_is_its_checksum(record):
    text = lines.line(record)
    found = strict(text)
    assert text.endswith("\n")
    assert text.count("\n") == 1
    assert list(found)[-1] == "crc"
    assert {k: v for k, v in found.items() if k != "crc"} == known(record)
    assert lines.parse(text.rstrip("\n").encode()) == known(record)


@given(records, st.data())
def test_a_line_with_one_changed_byte_is_never_taken_for_whole(record, data):
    line = bytearray(lines.line(record).rstrip("\n").encode())
    at = data.draw(st.integers(0, len(line) - 1))
    line[at] ^= data.draw(st.integers(1, 255))
    assert lines.parse(bytes(line)) is None


@given(
    st.dictionaries(st.text(min_size=1, max_size=5).filter(lambda k: k != "crc"), values, max_size=3),
    st.data(),
)
def test_a_cut_or_merged_line_is_never_taken_for_whole(record, data):
    line = lines.line(record).rstrip("\n").encode()
    cut = data.draw(st.integers(0, len(line) - 1))
    assert lines.parse(line[:cut]) is None
    assert lines.parse(line[cut + 1 :]) is None
    assert lines.parse(line[: cut + 1] + line) is None


def test_a_record_cannot_pass_its_own_checksum():
    with pytest.raises(ValueError, match="`crc`"):
        lines.line({"crc": "00000000"})


def test_lines_of_an_earlier_version_are_refused_with_one_sentence(tmp_path, caplog):
    path = tmp_path / "history.jsonl"
    path.write_text('8ddd1010 {"schema":2,"seq":0}\n' * 3 + lines.line({"schema": 3}))
    assert list(lines.read(path)) == [{"schema": 3}]
    (said,) = caplog.records
    assert "3 line(s)" in said.getMessage()
    assert "earlier" in said.getMessage() or "before history schema 3" in said.getMessage()


@given(values)
def test_equal_values_have_one_digest_and_it_does_not_know_the_order_of_keys(value):
    assert digest(value) == digest(json.loads(json.dumps(value)))
    assert digest({"a": value, "b": 1}) == digest({"b": 1, "a": value})
    assert digest({"a": value, "b": 1}) != digest({"a": value, "b": 2})


def test_numbers_of_numpy_are_numbers():
    made = strict_json.dumps(
        {"a": np.float32(0.5), "b": np.int64(3), "c": np.array([[1.0, np.nan]]), "d": np.True_}
    )
    assert strict(made) == {"a": 0.5, "b": 3, "c": [[1.0, None]], "d": True}


@pytest.fixture
def one_prompt(tmp_path, tiny_policy, tiny_tokenizer):
    """A run whose intervals are unknown, for one prompt has none; its best is on disk."""

    def save(folder):
        tiny_policy.save_pretrained(folder)
        tiny_tokenizer.save_pretrained(folder)

    monitor = RewardMonitor(
        lambda prompts, completions: [float(len(c)) for c in completions],
        ["count to three"],
        references=["one two"],
        output_dir=tmp_path,
        report_to="none",
        generator=Says("one two three"),
        metric="reward",
    )
    for step in (0, 5):
        monitor.evaluate(step=step, save=save)
    monitor.close()
    return tmp_path


def test_every_file_of_a_run_whose_numbers_are_unknown_is_json(one_prompt):
    folder = one_prompt / "_rm_monitor"
    ours = [p for p in folder.rglob("*.json*") if p.parent.name in ("_rm_monitor", "rows", "references")]
    assert {"best.json", "manifest.json", "verdict.json", "history.jsonl"} <= {p.name for p in ours}
    for path in ours:
        text = path.read_text()
        for part in text.splitlines() if path.suffix == ".jsonl" else [text]:
            assert isinstance(strict(part), dict)
    assert strict((folder / "best.json").read_text())["low"] is None


@pytest.mark.parametrize("command", ["best", "report"])
def test_what_commands_print_for_programs_is_json(command, one_prompt):
    told = CliRunner().invoke(cli.app, [command, str(one_prompt), "--json"])
    assert told.exit_code == 0
    assert isinstance(strict(told.stdout), dict)


def test_json_is_written_in_one_place():
    for path in sorted(ROOT.rglob("*.py")):
        if {path.relative_to(ROOT).parts[0], path.name} & ELSEWHERE:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            written = isinstance(node, ast.Attribute) and node.attr in ("dump", "dumps")
            assert not (written and isinstance(node.value, ast.Name) and node.value.id == "json"), path
