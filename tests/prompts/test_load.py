"""Prompt sets: ids, columns, notes, and errors that name rows as people know them."""

from types import SimpleNamespace

import pytest

from rm_monitor.generators.chat import check_prompts
from rm_monitor.prompts import load_prompts
from rm_monitor.prompts.rendering import prompt_ids
from rm_monitor.types import Prompt, Sampling
from tests.byte_level import byte_level


def test_repeated_prompts_are_named_by_row_and_first_words():
    with pytest.raises(ValueError, match="row 1 'Hi' and row 3 'Hi' ask the same"):
        load_prompts(["Hi", "Ho", "Hi"])
    with pytest.raises(ValueError, match="row 1 'Hi' and row 2 'Ho' have the id '1'"):
        load_prompts([{"id": 1, "prompt": "Hi"}, {"id": 1, "prompt": "Ho"}])


def test_an_error_begins_with_the_place_of_its_row(tmp_path):
    (tmp_path / "p.csv").write_text('prompt,input\n"two\nlines",\nHi,THE TEXT\n')
    with pytest.raises(ValueError, match=r"p\.csv line 4 has a column 'input' that belongs to the question"):
        load_prompts(tmp_path / "p.csv")
    assert load_prompts(tmp_path / "p.csv", ignore_columns=["input"])[1].text == "Hi"


def test_an_ignored_column_that_no_row_has_is_a_slip():
    with pytest.raises(ValueError, match="did you mean 'input'"):
        load_prompts([{"prompt": "Hi", "input": "x"}], ignore_columns=["inputs", "input"])


def test_prompts_of_other_tools_or_switches_are_other_prompts():
    rows = [{"prompt": "Hi", "tools": [{"name": n}]} for n in "ab"]
    rows += [{"prompt": "Hi", "enable_thinking": x} for x in (True, False)]
    found = load_prompts(rows)
    assert len({p.id for p in found}) == 4
    assert len({load_prompts([row]).fingerprint for row in rows}) == 4


def test_half_an_emoji_is_healed_in_every_kind_of_row():
    half = "half \ud83d"
    turn = {"role": "user", "content": half}
    for row in (half, [turn], {"prompt": half}, {"prompt": [turn]}, Prompt(id="p", messages=(turn,))):
        load_prompts([row])[0].text.encode("utf-8")


def test_rendered_prompts_are_noted():
    found = load_prompts(["<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "Ho"])
    assert [p.raw for p in found] == [True, False]
    assert "1 of 2 prompts" in found.notes[0]
    assert "no template around them" in found.notes[0]


def test_columns_that_nobody_knows_are_noted():
    assert "zeta" in load_prompts([{"prompt": "Hi", "zeta": "x", "id": 1, "answer": "y"}]).notes[0]


def test_tags_are_read_from_lists_texts_and_json_in_cells():
    rows = [{"prompt": str(i), "tags": t} for i, t in enumerate((["a", "b"], "a", '["a", "b"]', None, 3))]
    assert [p.tags for p in load_prompts(rows)] == [("a", "b"), ("a",), ("a", "b"), (), ("3",)]


def test_more_rows_than_anybody_can_ask_are_refused(monkeypatch):
    monkeypatch.setattr("rm_monitor.prompts.load.MOST_PROMPTS", 3)
    with pytest.raises(ValueError, match="more than 3 rows: pass `limit`"):
        load_prompts(str(i) for i in range(10))
    assert len(load_prompts((str(i) for i in range(10)), limit=5)) == 5


def test_a_rendered_prompt_begins_once():
    """A tokenizer that puts `<s>` before plain text puts no second one before a rendered prompt's own."""
    tokenizer = byte_level(post="<s> $A")
    for text in ("<s>[INST] Hi [/INST]", "[INST] Hi [/INST]"):
        ids = prompt_ids(load_prompts([text])[0], tokenizer)
        assert ids.count(tokenizer.bos_token_id) == 1
        assert ids[0] == tokenizer.bos_token_id


def test_prompts_that_are_too_long_are_named_by_their_words():
    config = SimpleNamespace(max_position_embeddings=20)
    prompts = load_prompts(["Hi", "what " * 30], raw=True)
    with pytest.raises(ValueError, match=r"1 of 2 prompts: row 2 'what what .*' \(\d+ tokens\)"):
        check_prompts(prompts, byte_level(), config, Sampling(max_new_tokens=2))
