"""Answers from elsewhere belong to the right prompt: by id first, then by what they answer."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm_monitor.errors import GenerationError
from rm_monitor.generators.recorded import RecordedGenerator
from rm_monitor.prompts import load_prompts
from rm_monitor.prompts.references import resolve_references
from rm_monitor.types import Completion, ReferenceSet, Sampling

TALK = [{"role": "system", "content": "Be."}, {"role": "user", "content": "Hi"}]


def given_to(rows, prompts):
    return [c.text for c in resolve_references(rows, load_prompts(prompts))[0].completions]


@given(st.permutations(range(5)), st.sampled_from(["id", "prompt_id", "uid", "question_id"]), st.booleans())
def test_answers_find_their_prompts_in_any_order_by_whole_numbers_and_text_alike(order, name, text):
    prompts = [{name: i, "prompt": f"P{i}"} for i in range(5)]
    rows = [{name: str(i) if text else i, "output": f"r{i}"} for i in order]
    assert given_to(rows, prompts) == [f"r{i}" for i in range(5)]


def test_an_id_goes_before_the_text_of_another_prompt():
    prompts = [{"id": "a", "prompt": "b"}, {"id": "b", "prompt": "a"}]
    assert given_to([{"id": "b", "output": "2"}, {"id": "a", "output": "1"}], prompts) == ["1", "2"]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": TALK},
        {"messages": [*TALK, {"role": "assistant", "content": "no"}]},
        {"system_prompt": "Be.", "question": "Hi"},
        {"conversations": [{"from": "system", "value": "Be."}, {"from": "human", "value": "Hi"}]},
        {"prompt": "system: Be.\n\nuser: Hi"},
    ],
    ids=str,
)
def test_a_conversation_is_known_again_however_it_is_written(row):
    assert given_to([{**row, "output": "yes"}], [TALK]) == ["yes"]


def test_prompts_of_equal_text_and_other_tools_have_their_own_answers():
    rows = [{"prompt": "Hi", "tools": [{"name": n}], "output": n} for n in ("a", "b")]
    assert given_to(rows[::-1], rows) == ["a", "b"]


def test_differing_answers_under_one_id_are_named():
    rows = [{"id": 1, "output": "x"}, {"id": 2, "output": "y"}, {"id": 1, "output": "z"}]
    with pytest.raises(
        ValueError, match=r"2 different answers under the id '1' \(row 1, row 3\) for prompt row 1 'P'"
    ):
        given_to(rows, [{"id": 1, "prompt": "P"}, {"id": 2, "prompt": "Q"}])
    assert given_to([*rows[:2], rows[0]], [{"id": 1, "prompt": "P"}, {"id": 2, "prompt": "Q"}]) == ["x", "y"]


def test_ids_that_are_those_of_another_list_are_refused():
    prompts = [{"id": 0, "prompt": "P0"}, {"id": 1, "prompt": "P1"}]
    rows = [{"id": 0, "prompt": "P1", "output": "x"}, {"id": 1, "prompt": "P0", "output": "y"}]
    with pytest.raises(
        ValueError, match=r"row 1 has the id of prompt row 1 'P0' and asks what row 2 'P1' asks"
    ):
        given_to(rows, prompts)


@pytest.mark.parametrize("empty", ["", "  ", None])
def test_an_empty_reference_is_missing_and_its_prompt_is_named_by_row_and_words(empty):
    prompts = [{"prompt": "Hi", "chosen": empty}, {"prompt": "Ho", "chosen": "b"}]
    for spec in ("chosen", [{"prompt": r["prompt"], "output": r["chosen"]} for r in prompts]):
        with pytest.raises(
            ValueError, match="lacks 1 of 2 prompts, or has an empty answer for them: row 1 'Hi'"
        ):
            resolve_references(spec, load_prompts(prompts))


def test_one_column_answers_for_all_rows():
    """A row without `completion` is a gap, not an invitation to take its `reference`."""
    rows = [{"id": 1, "completion": "a", "reference": "x"}, {"id": 2, "reference": "y"}]
    with pytest.raises(ValueError, match="lacks 1 of 2"):
        given_to(rows, [{"id": 1, "prompt": "P"}, {"id": 2, "prompt": "Q"}])


def test_a_slip_in_a_columns_name_is_answered():
    prompts = load_prompts([{"prompt": "Hi", "chosen": "b"}])
    with pytest.raises(ValueError, match="did you mean 'chosen'"):
        resolve_references("chosn", prompts)


def test_what_is_no_answer_is_refused():
    prompts = load_prompts(["Hi", "Ho"])
    for rows, why in (
        ([{"output": "x"}], "row 1 needs an `id`, or the prompt that it answers"),
        ([{"prompt": "Hi", "zeta": "x"}], "none of the columns of answers"),
        (["a"], "one text a prompt: 1 texts for 2 prompts"),
        (5, "must be a column, a path or completions"),
        ([5], "row 1 must be a text, a row"),
        ([], "holds no answers"),
    ):
        with pytest.raises(ValueError, match=why):
            resolve_references(rows, prompts)


def test_a_reference_set_and_completions_are_taken_by_id():
    prompts = load_prompts([{"id": "a", "prompt": "Hi"}])
    completions = (Completion(prompt_id="a", text="x"),)
    for spec in (ReferenceSet(name="gold", completions=completions), list(completions)):
        assert resolve_references(spec, prompts)[0].completions[0].text == "x"


def answers(source, prompts, n=1, **more):
    sampling = Sampling(samples_per_prompt=n, temperature=1.0)
    return [c.text for c in RecordedGenerator(source, **more).generate(load_prompts(prompts), sampling)]


@pytest.mark.parametrize("name", ["a.json", "a.csv", "a.jsonl"])
def test_recorded_answers_are_read_from_every_kind_of_file(tmp_path, name):
    rows = [{"prompt": "Hi", "completion": "x"}, {"prompt": "Ho", "completion": "y"}]
    text = {"a.json": json.dumps(rows), "a.csv": "prompt,completion\nHi,x\nHo,y\n"}
    (tmp_path / name).write_text(text.get(name, "\n".join(map(json.dumps, rows))))
    assert answers(tmp_path / name, ["Ho", "Hi"]) == ["y", "x"]


def test_several_recorded_answers_are_the_samples_of_a_prompt():
    rows = [{"id": 1, "completion": "x"}, {"id": 1, "completion": "y"}]
    prompts = [{"id": 1, "prompt": "P"}]
    assert answers(rows, prompts, n=2) == ["x", "y"]
    assert answers(rows[:1], prompts, n=2) == ["x", "x"]
    with pytest.raises(GenerationError, match=r"2 different completions .* row 1 'P' \(row 1, row 2\)"):
        answers(rows, prompts, n=1)


def test_prompts_without_a_recorded_answer_are_named_by_their_words():
    with pytest.raises(GenerationError, match="1 of 2 prompts have no recorded completion: row 2 'Ho'"):
        answers({"Hi": "x"}, ["Hi", "Ho"])


def test_logs_of_evaluations_hold_answers():
    harness = {"doc_id": 7, "doc": {}, "target": "T", "arguments": [["Q:", {}]], "resps": [["R"]]}
    inspect = {"id": 7, "epoch": 1, "input": "Q:", "target": "T", "output": {"completion": "R"}}
    for row in (harness, inspect):
        assert answers([row], [row]) == ["R"]
        assert given_to([{"id": 7, "target": "T"}], [row]) == ["T"]


def test_references_are_judged_without_their_reasoning_as_the_policy_is():
    prompts = load_prompts([{"prompt": "2+2?", "chosen": "<think>Four? Yes.</think>\n\nFour."}])
    (references,) = resolve_references("chosen", prompts)
    said = references.completions[0]
    assert (said.text, said.reasoning) == ("Four.", "Four? Yes.")
    thinks = load_prompts([{"prompt": "2+2?", "chosen": "<think>Four? Yes.</think>"}])
    with pytest.raises(ValueError, match=r"lacks 1 of 1 prompts, or has an empty answer.*row 1 '2\+2\?'"):
        resolve_references("chosen", thinks)
