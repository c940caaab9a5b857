"""A sample to watch a run with: in shares, nothing twice, nothing that training sees, given by its seed."""

import json
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from rm_monitor.cli import app
from rm_monitor.prompts import load_prompts, sample_prompts, write_prompts
from rm_monitor.prompts.near import ALIKE, NearIndex, alike, shingles
from tests.prompts.marked import marked_rows

WORDS = [f"w{i}" for i in range(40)]
TEXTS = st.lists(st.sampled_from(WORDS[:6]), min_size=1, max_size=12).map(" ".join)


def rows(n, seed=0):
    draw = random.Random(seed)
    return [
        {
            "prompt": " ".join(draw.choices(WORDS, k=draw.choice((5, 10, 20, 60)))),
            "answer": str(i),
            "tags": ["common"] if draw.random() < 0.75 else ["rare"],
        }
        for i in range(n)
    ]


def texts(sample):
    return [p.text for p in sample.prompts]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(TEXTS, min_size=1, max_size=30),
    st.lists(TEXTS, max_size=10),
    st.integers(1, 20),
    st.integers(0, 3),
)
def test_no_two_are_nearly_the_same_and_none_is_trained_on(pool, training, n, seed):
    try:
        drawn = texts(sample_prompts(pool, n, without=training or None, seed=seed))
    except ValueError as problem:
        drawn = []
        assert "in the training set" in str(problem)  # noqa: PT017
    of = [shingles(text) for text in drawn]
    assert all(alike(a, b) < ALIKE for i, a in enumerate(of) for b in of[:i])
    assert all(alike(a, shingles(text)) < ALIKE for a in of for text in training)
    assert len(drawn) <= n
    assert set(drawn) <= set(pool)


def test_the_draw_depends_on_the_seed_and_not_on_the_order_of_rows():
    pool = rows(300)
    first = set(texts(sample_prompts(pool, 50)))
    assert set(texts(sample_prompts(pool[::-1], 50))) == first
    assert set(texts(sample_prompts(pool, 50, seed=1))) != first


def test_tags_and_lengths_come_in_their_shares():
    pool = rows(2000)
    drawn = sample_prompts(pool, 200).prompts
    for kind in (lambda p: p.tags, lambda p: len(p.text.split())):
        share = Counter(kind(p) for p in load_prompts(pool))
        found = Counter(kind(p) for p in drawn)
        assert all(abs(found[k] / 200 - share[k] / 2000) < 0.02 for k in share)


def test_references_go_with_their_prompts_and_columns_of_the_question_do_not():
    pool = rows(30)
    drawn = sample_prompts(pool, 10).prompts
    answer = {row["prompt"]: row["answer"] for row in pool}
    assert set(drawn.columns) == {"answer"}
    assert list(drawn.columns["answer"]) == [answer[p.text] for p in drawn]


def test_what_is_written_is_read_back_as_it_was(tmp_path):
    layouts = [row for _, _, row in marked_rows()] + [
        {"prompt": "<|im_start|>user\nHi<|im_end|>", "cluster": "c"}
    ]
    sample = sample_prompts(layouts, len(layouts)).prompts
    assert any(p.raw for p in sample)
    assert any(p.tools for p in sample)
    assert any(p.template_kwargs for p in sample)
    write_prompts(tmp_path / "p.jsonl", sample)
    again = load_prompts(tmp_path / "p.jsonl")
    assert list(again) == list(sample)
    assert all(again.columns[name] == column for name, column in sample.columns.items())


def test_rows_that_cannot_be_asked_are_counted_with_the_first_reason():
    sample = sample_prompts([{"prompt": "Hi"}, {"prompt": ""}, {"prompt": "Ho", "input": "x"}], 5)
    assert (texts(sample), sample.refused) == (["Hi"], 2)
    assert "row 2 `prompt` is empty" in str(sample)
    with pytest.raises(ValueError, match="row 1 `prompt` is empty"):
        sample_prompts([{"prompt": ""}], 5)


def test_ids_that_name_several_questions_are_given_up():
    sample = sample_prompts([{"id": 1, "prompt": "a tide"}, {"id": 1, "prompt": "a soap"}], 5)
    assert len({p.id for p in sample.prompts}) == 2


def test_a_pair_at_the_bound_is_found():
    draw, found = random.Random(0), 0
    for _ in range(300):
        base = [f"x{draw.randrange(10**6)}" for _ in range(60)]
        other = base[:50] + [f"y{draw.randrange(10**6)}" for _ in range(10)]
        index = NearIndex()
        index.add(" ".join(base), "base")
        expected = alike(shingles(" ".join(base)), shingles(" ".join(other))) >= ALIKE
        found += bool(index.find(" ".join(other))) == expected
    assert found == 300


def test_the_command_writes_prompts_and_says_what_they_show(tmp_path):
    pool = rows(200)
    (tmp_path / "pool.jsonl").write_text("\n".join(map(json.dumps, pool)))
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, pool[:100])))
    out = tmp_path / "out.jsonl"
    args = [
        "prompts",
        str(tmp_path / "pool.jsonl"),
        "--n",
        "40",
        "--without",
        str(tmp_path / "train.jsonl"),
        "-o",
        str(out),
    ]
    said = CliRunner().invoke(app, args)
    assert said.exit_code == 0, said.output
    assert "40 prompts of the 200 rows" in said.output
    assert "references: 'answer'" in said.output
    assert {p.text for p in load_prompts(out)} <= {row["prompt"] for row in pool[100:]}
    facts = json.loads(CliRunner().invoke(app, [*args, "--json"]).output)
    assert (facts["prompts"], facts["references"]) == (40, ["answer"])
