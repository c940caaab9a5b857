"""The value that carries a question."""

import json
from dataclasses import replace

import pytest

from rm_monitor.records.texts import read_texts, write_texts
from rm_monitor.types import Prompt

CALL = {"type": "function", "function": {"name": "weather", "arguments": {"town": "Bergen"}}}
FULL = Prompt(
    id="p",
    messages=(
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "", "tool_calls": [CALL], "reasoning_content": "look it up"},
        {"role": "tool", "name": "weather", "content": "18 C"},
    ),
    tools=({"type": "function", "function": {"name": "weather"}},),
    documents=({"title": "Almanac", "text": "It rains."},),
    template_kwargs={"enable_thinking": False},
    tags=("tools",),
    row=3,
)


@pytest.mark.parametrize(
    "changed",
    [
        {"tools": ()},
        {"documents": ()},
        {"template_kwargs": {}},
        {"raw": True},
        {"messages": (*FULL.messages[:1], {**FULL.messages[1], "tool_calls": []}, FULL.messages[2])},
        {"messages": (*FULL.messages[:1], {**FULL.messages[1], "reasoning_content": ""}, FULL.messages[2])},
    ],
    ids=str,
)
def test_prompts_that_ask_differently_have_different_questions(changed):
    assert replace(FULL, **changed).question != FULL.question


def test_where_a_prompt_came_from_is_not_part_of_what_it_asks():
    assert replace(FULL, row=9, tags=(), id="q", cluster="c").question == FULL.question
    assert replace(FULL, row=9) == FULL


def test_a_question_is_plain_json():
    assert json.loads(json.dumps(FULL.question)) == FULL.question


def test_the_text_holds_tools_documents_and_tool_calls():
    assert all(word in FULL.text for word in ("weather", "Almanac", "Bergen", "look it up", "18 C"))
    assert replace(FULL, messages=FULL.messages[:1], tools=(), documents=()).text == "Weather?"


def test_a_run_keeps_the_whole_question(tmp_path):
    write_texts(tmp_path, [FULL], [])
    (kept,), _ = read_texts(tmp_path)
    assert kept == FULL
    assert kept.label == FULL.label


def test_a_prompt_is_named_by_its_row_and_first_words():
    long = Prompt(id="1f" * 8, messages=({"role": "user", "content": "count\nfrom " * 20},), row=7)
    assert long.label == "row 7 'count from count from count from coun...'"
    assert replace(long, row=0).label.startswith("'count")
