"""Every text of a row is asked, or the row is refused by the name of the column."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rm_monitor.prompts.layouts import LAYOUTS, layout_of
from rm_monitor.prompts.names import normal
from rm_monitor.prompts.reading import Columns, columns_of, read_row
from rm_monitor.prompts.turns import turns
from tests.prompts.marked import EXTRA, MARKER, marked_rows

MARKED = list(marked_rows())


def asked(row, **columns):
    return json.dumps(read_row(row, 1, Columns(**columns)).prompt.question, ensure_ascii=False)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda x: x.name)
def test_the_example_of_a_layout_is_read_by_that_layout(layout):
    fields = {normal(name): value for name, value in layout.example.items()}
    assert layout_of(fields) is layout
    assert read_row(layout.example, 1).prompt.messages[-1]["role"] == "user"


@pytest.mark.parametrize(
    ("layout", "path", "row"), MARKED, ids=[f"{x.name}-{'.'.join(map(str, p))}" for x, p, _ in MARKED]
)
def test_a_text_in_any_field_of_the_question_is_asked(layout, path, row):
    assert MARKER in asked(row)


def test_every_column_that_a_layout_asks_is_in_the_law_above():
    for layout in LAYOUTS:
        tried = {path[0] for x, path, _ in MARKED if x is layout}
        assert tried & set(layout.asked), layout.name


@given(st.sampled_from(LAYOUTS), st.sampled_from(EXTRA), st.booleans())
def test_a_further_column_of_the_question_is_asked_or_refused_by_name(layout, name, listed):
    if name in layout.example or normal(name) in layout.asked:
        return
    row = {**layout.example, name: [MARKER] if listed else MARKER}
    try:
        found = asked(row)
    except ValueError as refused:
        found = f"{MARKER} {refused}"
        named = any(f"'{column}'" in found or f"`{column}`" in found for column in row)
    else:
        named = True
    assert named
    assert MARKER in found


@given(st.sampled_from(LAYOUTS), st.sampled_from(EXTRA))
def test_a_column_that_the_user_leaves_out_changes_nothing(layout, name):
    if normal(name) in map(normal, layout.example):
        return
    assert asked({**layout.example, name: MARKER}, ignore=(name,)) == asked(layout.example)


def test_a_column_that_what_is_asked_holds_already_is_no_loss():
    turn = [{"role": "user", "content": "Solve: What is 2+2? Think first."}]
    assert "Solve" in asked({"prompt": turn, "question": "what is 2 + 2", "answer": "4"})
    with pytest.raises(ValueError, match=r"'question'.*'what is 5\+2'.*ignore_columns=\['question'\]"):
        asked({"prompt": turn, "question": "what is 5+2"})


@pytest.mark.parametrize("system", [None, "Be terse."])
def test_turns_beside_a_prompt_may_repeat_it_but_not_add_to_it(system):
    """ultrachat has `prompt` and `messages`; no_robots' messages begin with a system turn at times."""
    talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]
    first = [{"role": "system", "content": system}] if system else []
    row = {"prompt": "Hi", "messages": [*first, *talk, {"role": "user", "content": "Bye"}]}
    found = read_row(row, 1)
    assert [m["content"] for m in found.prompt.messages] == [*([system] if system else []), "Hi"]
    assert found.texts["messages"] == "Hello!"
    with pytest.raises(ValueError, match=r"'messages'.*'(Hi|Be terse.)'"):
        read_row({**row, "prompt": "Ho"}, 1)


def parts(turns, **more):
    return [{"role": t["role"], "content": [{"text": t["content"], **more}]} for t in turns]


def gemini(turns):
    roles = {"user": "user", "assistant": "model"}
    system = [t["content"] for t in turns if t["role"] == "system"]
    row = {
        "contents": [
            {"role": roles[t["role"]], "parts": [{"text": t["content"]}]} for t in turns if t["role"] in roles
        ]
    }
    return row | ({"systemInstruction": {"parts": [{"text": system[0]}]}} if system else {})


def sharegpt(turns):
    names = {"user": "human", "assistant": "gpt", "system": "system"}
    return [{"from": names[t["role"]], "value": t["content"]} for t in turns]


# One conversation as services, data sets and table formats write it.
WRITINGS = {
    "OpenAI": lambda turns: {"messages": turns},
    "ShareGPT": lambda turns: {"conversations": sharegpt(turns)},
    "roles in capitals, a chatbot": lambda turns: {
        "messages": [{**t, "role": {"assistant": "Chatbot"}.get(t["role"], t["role"].title())} for t in turns]
    },
    "Gemini": gemini,
    "Bedrock": lambda turns: {"messages": parts(turns)},
    "Anthropic": lambda turns: {
        "system": "".join(t["content"] for t in turns if t["role"] == "system"),
        "messages": parts([t for t in turns if t["role"] != "system"], type="text"),
    },
    "a request of a batch": lambda turns: {
        "custom_id": "1",
        "method": "POST",
        "body": {"model": "m", "messages": turns},
    },
    "a row of the hub's viewer": lambda turns: {
        "row_idx": 0,
        "row": {"messages": turns},
        "truncated_cells": [],
    },
    "a run of LangSmith": lambda turns: {"inputs": {"messages": turns}, "outputs": {"answer": "x"}},
    "a column of structs, turned": lambda turns: {
        "messages": {name: [t[name] for t in turns] for name in ("role", "content")}
    },
    "JSON in a cell": lambda turns: {"messages": json.dumps(turns)},
    "JSON in JSON": lambda turns: {"messages": json.dumps(json.dumps(turns))},
    "Python in a cell": lambda turns: {"conversations": repr(sharegpt(turns))},
    "Arrow's place for a system text": lambda turns: {
        "messages": turns if turns[0]["role"] == "system" else [{"role": "system", "content": None}, *turns]
    },
}
said = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1).filter(str.strip)


@pytest.mark.parametrize("name", WRITINGS)
@given(roles=st.sampled_from(["u", "su", "uau", "suaua"]), texts=st.lists(said, min_size=5, max_size=5))
@settings(max_examples=20, deadline=None)
def test_a_conversation_is_the_same_however_it_is_written(name, roles, texts):
    names = {"u": "user", "a": "assistant", "s": "system"}
    turns = [{"role": names[r], "content": text} for r, text in zip(roles, texts, strict=False)]
    found = read_row(WRITINGS[name](turns), 1)
    assert list(found.prompt.messages) == (turns[:-1] if roles.endswith("a") else turns)
    if roles.endswith("a"):
        assert turns[-1]["content"] in found.texts.values()


KEYS = {
    "tool_calls": [{"type": "function", "function": {"name": MARKER, "arguments": {}}}],
    "reasoning_content": MARKER,
    "name": MARKER,
    "a_key_of_some_template": MARKER,
}


@pytest.mark.parametrize("key", KEYS)
def test_whatever_a_turn_holds_goes_with_it(key):
    talk = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None if key == "tool_calls" else "", key: KEYS[key]},
    ]
    assert MARKER in asked({"messages": [*talk, {"role": "user", "content": "And?"}]})


def test_turns_of_other_kinds_than_text_are_refused():
    for content in (
        [{"type": "image", "image": "x.png"}],
        [{"type": "image_url", "image_url": {"url": "u"}}],
        None,
        3,
    ):
        with pytest.raises(ValueError, match=r"only text is asked|a text `content`"):
            asked({"messages": [{"role": "user", "content": content}]})
    with pytest.raises(ValueError, match="`images`"):
        asked({"messages": [{"role": "user", "content": "Hi", "images": ["x"]}]})


def test_the_texts_of_parts_are_one_text():
    assert turns([{"role": "user", "content": [{"type": "text", "text": "a"}, "b"]}])[0]["content"] == "ab"


def test_sharegpt_calls_and_their_results_become_tool_calls():
    row = {
        "conversations": [
            {"from": "human", "value": "Weather?"},
            {"from": "function_call", "value": '{"name": "w", "arguments": {"at": "Bergen"}}'},
            {"from": "observation", "value": "18 C"},
            {"from": "gpt", "value": "Mild."},
        ],
        "tools": '[{"name": "w"}]',
    }
    prompt = read_row(row, 1).prompt
    assert [m["role"] for m in prompt.messages] == ["user", "assistant", "tool"]
    assert prompt.messages[1]["tool_calls"][0]["function"]["arguments"] == {"at": "Bergen"}
    assert prompt.tools == ({"name": "w"},)


def test_several_turns_that_need_answers_in_between_are_refused_with_the_way_out():
    row = {
        "question_id": 1,
        "turns": ["What is a tide?", "And a neap tide?"],
        "reference": ["The sea.", "A low one."],
    }
    with pytest.raises(ValueError, match=r'ignore_columns=\["turns\[1:\]"\]'):
        read_row(row, 1)
    found = read_row(row, 1, Columns(ignore=("turns[1:]",)))
    assert (found.prompt.text, found.texts["reference"]) == ("What is a tide?", "The sea.")


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_keys_that_arrow_fills_with_nothing_are_missing(missing):
    row = {
        "prompt": [{"role": "user", "content": "Hi", "tool_calls": missing}],
        "tools": missing,
        "input": missing,
    }
    assert read_row(row, 1).prompt.question == {"messages": [{"role": "user", "content": "Hi"}]}


def test_a_numpy_conversation_of_a_data_frame_is_read():
    import numpy as np

    turn = {"role": "user", "content": "Hi", "tool_calls": None}
    assert columns_of({"prompt": np.array([turn], dtype=object)}) == {"prompt": [turn]}
    assert read_row({"prompt": np.array([turn], dtype=object)}, 1).prompt.text == "Hi"


# The questions of published rows, against what TRL's own function finds.
SAME = [
    ("u1 A u2 x", "u1 B u2 y"),
    ("u1 A u2 x", "u1 A u2 y"),
    ("u1 A", "u1 B"),
    ("s1 u1 A", "s1 u1 B"),
]


@pytest.mark.parametrize(("chosen", "rejected"), SAME)
def test_the_prompt_of_a_pair_is_what_trl_extracts(chosen, rejected):
    from trl.data_utils import extract_prompt

    def talk(text):
        roles = {"u": "user", "s": "system"}
        return [{"role": roles.get(w[0], "assistant"), "content": w} for w in text.split()]

    row = {"chosen": talk(chosen), "rejected": talk(rejected)}
    found = read_row(row, 1)
    assert list(found.prompt.messages) == extract_prompt(row)["prompt"]
    assert found.texts["chosen"] == extract_prompt(row)["chosen"][0]["content"]


def test_a_text_pair_without_a_prompt_is_cut_where_trl_cuts_it():
    from trl.data_utils import extract_prompt

    row = {"chosen": "The sky is blue.", "rejected": "The sky is green."}
    found = read_row(row, 1)
    assert (found.prompt.text, found.prompt.raw) == (extract_prompt(row)["prompt"], True)
    assert found.texts["chosen"] == extract_prompt(row)["chosen"]


RENDERED = [
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe.<|eot_id|>",
    "<s>[INST] Hi [/INST]",
    "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n",
    "<|start|>system<|message|>You are<|end|><|start|>user<|message|>Hi<|end|><|start|>assistant",
    "<｜begin▁of▁sentence｜>You are good.<｜User｜>Hi<｜Assistant｜>",
    "<|user|>\nHi<|end|>\n<|assistant|>\n",
]


@pytest.mark.parametrize("text", RENDERED)
def test_a_rendered_prompt_is_continued_as_it_stands(text):
    found = read_row({"prompt": text}, 1)
    assert (found.prompt.rendered or found.prompt.text, found.prompt.raw) == (text, True)
    assert found.form == "rendered"
    with pytest.raises(ValueError, match=r"'system'.*ignore_columns"):
        read_row({"prompt": text, "system": MARKER}, 1)


@pytest.mark.parametrize("text", ["What does <|im_start|>user do?", "[INST is a tag]", "Human: who is it?"])
def test_a_prompt_about_control_tokens_is_a_question(text):
    assert not read_row({"prompt": text}, 1).prompt.raw


@given(st.text().filter(str.strip))
def test_raw_text_is_asked_to_the_letter(text):
    clean = text.encode("utf-8", "replace").decode()
    prompt = read_row({"prompt": clean}, 1, Columns(raw=True)).prompt
    assert (prompt.raw, prompt.text) == (True, clean)


def test_raw_text_takes_nothing_beside_it_in_silence():
    with pytest.raises(ValueError, match="'system_prompt'"):
        read_row({"prompt": "Once", "system_prompt": "Be."}, 1, Columns(raw=True))


def test_no_question_is_said_so():
    for row, why in (
        ({"input_ids": [1, 2]}, "token ids"),
        ({"text": "Hi"}, "prompt_column"),
        ({"prompt": "  "}, "empty"),
        ({"prompt": 5}, "must be text or a list of messages"),
        ({"prompt": [{"role": "assistant", "content": "x"}]}, "nothing to answer"),
        (
            [{"role": "user", "content": "x"}, *[{"role": "assistant", "content": "y"}] * 2],
            "nothing to answer",
        ),
        ({"prompt": '[{"role": "user", "content": <object>}]'}, "neither JSON nor"),
    ):
        with pytest.raises(ValueError, match=why):
            read_row(row, 1)
