"""Rows come back as they were written, whatever file they are in; what is no such file is one line."""

import bz2
import csv
import gzip
import io
import json
import lzma
import pickle
import tarfile
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rm_monitor.prompts import load_prompts
from rm_monitor.prompts.rows import read_rows

# Letters at which `str.splitlines` and old readers part a line, and others that files stumble over.
ODD = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e\r\n\t\"',;\\{}[]\ufeff\u200d😀é"
TEXTS = st.text(st.sampled_from(ODD + "abc xyz"), min_size=1, max_size=12).filter(
    lambda t: t.strip().strip("\ufeff")
)
ROWS = st.lists(st.fixed_dictionaries({"prompt": TEXTS, "chosen": TEXTS}), min_size=1, max_size=4)
TALK = [{"role": "user", "content": "Hi"}]


def json_lines(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def comma(rows, delimiter=","):
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def parquet(rows):
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


def arrow(rows, new):
    out = io.BytesIO()
    table = pa.Table.from_pylist(rows)
    with new(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def columns_of_pandas(rows):
    return json.dumps({n: {str(i): r[n] for i, r in enumerate(rows)} for n in rows[0]})


TEXT = {
    "p.jsonl": json_lines,
    "p.json": json_lines,
    "p.txt": json_lines,
    "list.json": lambda rows: json.dumps(rows, indent=2, ensure_ascii=False),
    "line.json": lambda rows: json.dumps(rows),
    "data.json": lambda rows: json.dumps({"version": 1, "data": rows}, indent=1),
    "pandas.json": columns_of_pandas,
    "table.json": lambda rows: json.dumps(
        {"columns": list(rows[0]), "data": [[r[n] for n in rows[0]] for r in rows]}
    ),
    "p.csv": comma,
    "semicolon.csv": lambda rows: comma(rows, ";"),
    "p.tsv": lambda rows: comma(rows, "\t"),
}
BYTES = {
    "p.parquet": parquet,
    "stream.arrow": lambda rows: arrow(rows, pa.ipc.new_stream),
    "file.feather": lambda rows: arrow(rows, pa.ipc.new_file),
}
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")
PACKED = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.mark.parametrize("name", TEXT)
@settings(max_examples=25, deadline=None)
@given(rows=ROWS, encoding=st.sampled_from(ENCODINGS), packed=st.sampled_from(list(PACKED)))
def test_rows_of_text_come_back_in_every_encoding(tmp_path_factory, name, rows, encoding, packed):
    if encoding in ("utf-16-le", "utf-16-be") and TEXT[name](rows)[:1] == "\ufeff":
        return
    path = tmp_path_factory.mktemp("rows") / (name + packed)
    path.write_bytes(PACKED[packed](TEXT[name](rows).encode(encoding)))
    assert [row.value for row in read_rows(path)] == rows


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(TEXTS, min_size=2, max_size=4))
def test_json_lines_of_texts_are_a_list_of_texts(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("rows") / "p.jsonl"
    path.write_text(json_lines(rows), encoding="utf-8")
    assert [row.value for row in read_rows(path)] == rows


@pytest.mark.parametrize("name", BYTES)
@settings(max_examples=10, deadline=None)
@given(rows=ROWS)
def test_rows_of_tables_come_back(tmp_path_factory, name, rows):
    path = tmp_path_factory.mktemp("rows") / name
    path.write_bytes(BYTES[name](rows))
    assert [row.value for row in read_rows(path)] == rows


@pytest.mark.parametrize("write", ["to_json", "to_csv", "to_parquet", "save_to_disk"])
def test_what_datasets_writes_is_read(tmp_path, write):
    import datasets

    rows = [{"id": 1, "prompt": TALK}, {"id": 2, "prompt": [{"role": "user", "content": "Ho"}]}]
    path = tmp_path / {"to_json": "p.json", "to_csv": "p.csv", "to_parquet": "p.parquet"}.get(write, "folder")
    getattr(datasets.Dataset.from_list(rows), write)(str(path))
    found = load_prompts(path)
    assert [(p.id, p.text) for p in found] == [("1", "Hi"), ("2", "Ho")]


@pytest.mark.parametrize("ending", ["csv", "json", "jsonl", "parquet"])
def test_what_pandas_writes_is_read(tmp_path, ending):
    import pandas as pd

    frame = pd.DataFrame(
        {"prompt": [TALK, [{"role": "user", "content": "a \"b\" 'c'"}]], "chosen": ["x", None]}
    )
    path = tmp_path / f"p.{ending}"
    if ending == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        getattr(frame, f"to_{ending}")(path)
    found = load_prompts(path)
    assert [p.text for p in found] == ["Hi", "a \"b\" 'c'"]
    assert found.columns["chosen"] == ("x", None)


def test_frames_columns_and_datasets_are_rows():
    import datasets
    import numpy as np
    import pandas as pd

    columns = {"prompt": ["Hi", "Ho"], "chosen": ["a", None]}
    table = pa.table(columns)
    sources = [
        columns,
        pd.DataFrame(columns),
        table,
        table.to_batches()[0],
        datasets.Dataset.from_dict(columns),
    ]
    sources += [datasets.Dataset.from_dict(columns).to_iterable_dataset(), iter(table.to_pylist())]
    for source in sources:
        found = load_prompts(source)
        assert ([p.text for p in found], found.columns["chosen"]) == (["Hi", "Ho"], ("a", None))
    for texts in (
        pd.Series(columns["prompt"]),
        np.array(columns["prompt"]),
        datasets.Dataset.from_dict(columns)["prompt"],
    ):
        assert [p.text for p in load_prompts(texts)] == ["Hi", "Ho"]


def test_a_frame_is_not_changed_by_being_read():
    import datasets

    rows = datasets.Dataset.from_dict({"prompt": ["Hi"]}).with_format("numpy")
    load_prompts(rows)
    assert rows.format["type"] == "numpy"


class Table:
    """A frame of a library that nobody here knows: it iterates over its columns."""

    columns = ("prompt",)

    def __iter__(self):
        return iter(self.columns)


def test_what_iterates_over_something_else_than_rows_is_refused():
    import datasets

    split = datasets.DatasetDict({"train": datasets.Dataset.from_dict({"prompt": ["Hi"]})})
    for source, why in (
        (Table(), "list of rows"),
        (split, r"dataset\['train'\]"),
        ({"train": Table()}, "of a dict of splits pass one"),
        ({"prompt": "Hi"}, r"of a single row pass \[row\]"),
        ({"Hi", "Ho"}, "fixed order"),
        (io.StringIO("Hi"), "fixed order"),
        (b"Hi", "fixed order"),
        (5, "got int"),
    ):
        with pytest.raises(TypeError, match=why):
            load_prompts(source)


def test_a_folder_is_its_shards_in_the_order_of_their_numbers(tmp_path):
    for i in (10, 2, 1):
        (tmp_path / f"part-{i}.jsonl").write_text(json_lines([{"prompt": f"p{i}"}]))
    (tmp_path / "README.md").write_text("x")
    (tmp_path / "dataset_info.json").write_text("{}")
    assert [p.text for p in load_prompts(tmp_path)] == ["p1", "p2", "p10"]
    assert [p.text for p in load_prompts(str(tmp_path / "part-1*"))] == ["p1", "p10"]


def test_a_folder_of_several_splits_or_kinds_is_refused_with_the_way_out(tmp_path):
    (tmp_path / "train-0.jsonl").write_text('{"prompt": "a"}')
    (tmp_path / "test-0.jsonl").write_text('{"prompt": "b"}')
    with pytest.raises(ValueError, match=r"several splits \(test, train\).*train-\*"):
        load_prompts(tmp_path)
    assert len(load_prompts(tmp_path / "train-*.jsonl")) == 1
    (tmp_path / "test-0.jsonl").rename(tmp_path / "x.csv")
    with pytest.raises(ValueError, match="several kinds of files"):
        load_prompts(tmp_path)


def test_an_inspect_log_is_read(tmp_path):
    sample = {
        "id": 1,
        "epoch": 1,
        "input": "Q",
        "target": "A",
        "messages": TALK,
        "output": {"completion": "B"},
    }
    with zipfile.ZipFile(tmp_path / "log.eval", "w") as log:
        log.writestr("header.json", "{}")
        log.writestr("samples/1_epoch_1.json", json.dumps(sample))
    found = load_prompts(tmp_path / "log.eval")
    assert (found[0].text, found.columns["output"], found.columns["target"]) == ("Hi", ("B",), ("A",))


class Runs:
    def __reduce__(self):
        return exec, ("import rm_monitor; rm_monitor.was_run = True",)


def workbook():
    """The names in an Excel file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as book:
        book.writestr("xl/workbook.xml", "<workbook/>")
    return file.getvalue()


def archive():
    """A packed archive with a file of rows."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as packed:
        packed.addfile(tarfile.TarInfo("rows.jsonl"))
    return file.getvalue()


HOSTILE = {
    "empty.jsonl": (b"", "is empty"),
    "blank.jsonl": (b" \n\n", "is empty"),
    "word.json": (b"prompts", "line 1 column 1 is not JSON"),
    "second.jsonl": (b'{"prompt": "a"}\n{"prompt": }\n', "line 2 column 12 is not JSON"),
    "cut.json": (b'[\n {"prompt": "a"},\n {"prom', "line 3 column"),
    "deep.json": (b"[" * 100_000, "nested too deeply|is not JSON"),
    "deep.jsonl": (
        b'{"prompt": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001,
        "nested too deeply|is not JSON",
    ),
    "digits.jsonl": (b'{"prompt": "a", "n": ' + b"9" * 5000 + b"}", "line 1 cannot be read"),
    "latin.jsonl": ('{"prompt": "a"}\n{"prompt": "\xe9"}'.encode("latin-1"), "line 2 column 13 is not UTF-8"),
    "latin.csv": ("prompt\n\xe9".encode("latin-1"), "line 2 column 1 is not UTF-8"),
    "odd.jsonl": ('\ufeff{"prompt": "a"}'.encode("utf-16-le") + b"x", "goes on as something else"),
    "wide.csv": (b"prompt,id\na,1,2\n", "line 2 has 3 cells and the header has 2"),
    "open.csv": (b'prompt\n"a\n', "line 2 is not CSV"),
    "twice.csv": (b"prompt,prompt\na,b\n", r"columns twice: \['prompt'\]"),
    "header.csv": (b"prompt,id\n", "holds no prompts"),
    "object.json": (b'{"a": 1,\n"b": 2}', r"must hold rows .* got one dict with the keys \['a', 'b'\]"),
    "broken.parquet": (b"PAR1 and no more PAR1", "damaged Parquet"),
    "broken.arrow": (b"ARROW1\0\0 and no more", "damaged Arrow"),
    "stream.arrow": (b"\xff\xff\xff\xff\x10\0\0\0 and no more", "damaged Arrow|cannot be read"),
    "other.parquet": (b"prompt\na\n", "does not hold what that says"),
    "broken.jsonl.gz": (gzip.compress(b'{"prompt": "a"}' * 100)[:30], "cannot be read"),
    "broken.eval": (b"PK\x03\x04 and no more", "damaged"),
    "other.zip": (b"PK\x03\x04", "damaged"),
    "p.zst": (b"\x28\xb5\x2f\xfd....", "unzstd"),
    "prose.txt": (b"What is a tide?", "must then end in one of"),
    "p.pkl": (pickle.dumps(Runs()), "is a pickle, which runs code"),
    "p.xlsx": (workbook(), "is an Excel workbook: save the sheet as CSV"),
    "p.tar.gz": (archive(), "is an archive"),
    "p.sqlite": (b"SQLite format 3\0 and more", "is an SQLite database"),
    "pointer.jsonl": (b"version https://git-lfs.github.com/spec/v1\noid sha256:a\n", "a pointer of Git LFS"),
    "page.json": (b"<!DOCTYPE html><html>Sign in</html>", "is a web page"),
    "keys.jsonl": (b'{"prompt": "a", "prompt": "b"}\n', "line 1 .*the key 'prompt' comes twice"),
    "p.json": (pickle.dumps(Runs()), "is not"),
    "tags.csv": (b"prompt\n__import__('os')\n", None),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_file_of_rows_is_one_line_with_its_name_and_nothing_of_it_is_run(tmp_path, name):
    import rm_monitor

    path = tmp_path / name
    path.write_bytes(HOSTILE[name][0])
    why = HOSTILE[name][1]
    if why is None:
        assert load_prompts(path)[0].text == "__import__('os')"
        return
    with pytest.raises(ValueError, match=why) as said:
        load_prompts(path)
    assert name in str(said.value)
    assert "\n" not in str(said.value)
    assert not hasattr(rm_monitor, "was_run")


def test_a_large_cell_is_read_and_the_limit_of_the_process_stays(tmp_path):
    before = csv.field_size_limit()
    (tmp_path / "p.csv").write_text(comma([{"id": "1", "prompt": "x" * 300_000}]))
    assert len(load_prompts(tmp_path / "p.csv")[0].text) == 300_000
    assert csv.field_size_limit() == before


def test_a_line_that_is_no_row_is_refused_before_it_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr("rm_monitor.prompts.characters.MOST_LINE", 1000)
    (tmp_path / "p.jsonl.gz").write_bytes(gzip.compress(b'{"prompt": "' + b"x" * 10_000_000))
    with pytest.raises(ValueError, match=r"p\.jsonl\.gz line 1 has more than 1,000 characters"):
        load_prompts(tmp_path / "p.jsonl.gz")


@pytest.mark.parametrize(
    ("given", "way_out"),
    [
        ("tatsu-lab/alpaca_eval", r'datasets.load_dataset\("tatsu-lab/alpaca_eval"'),
        ("What is a tide?", r"a list: \['What is a tide\?'\]"),
        ("nowhere.jsonl", "no such file: nowhere.jsonl"),
    ],
)
def test_a_name_that_is_no_file_is_refused_with_the_way_out(given, way_out):
    with pytest.raises(ValueError, match=way_out):
        load_prompts(given)
