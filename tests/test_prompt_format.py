"""How prompts become what the policy is asked: every text of a prompt is in it, or the prompt is refused."""

import re
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rm_monitor.prompts.format import PromptFormat
from rm_monitor.prompts.rendering import generation_prompt, prompt_ids
from rm_monitor.types import Prompt
from tests.byte_level import CHATML, byte_level

PUBLISHED = {
    path.name: path.read_text(encoding="utf-8")
    for path in sorted(files("trl").joinpath("chat_templates").iterdir(), key=lambda p: p.name)
    if path.name.endswith(".jinja") and "training" not in path.name
}
TOKENIZER = byte_level()
WEATHER = {"type": "function", "function": {"name": "weather_of", "parameters": {"type": "object"}}}


def asked(content="Hi", role="user", **more):
    return Prompt(id="p", messages=({"role": role, "content": content},), row=3, **more)


def talk(*turns, **more):
    return Prompt(id="p", messages=tuple({"role": r, "content": c} for r, c in turns), row=3, **more)


def shown(prompt, tokenizer):
    return tokenizer.decode(prompt_ids(prompt, tokenizer))


# ------------------------------------------------------------------ promise 8, on published templates

CONVERSATIONS = {
    "one turn": talk(("user", "MARK-one?")),
    "system": talk(("system", "MARK-one."), ("user", "MARK-two?")),
    "three turns": talk(("user", "MARK-one?"), ("assistant", "MARK-two."), ("user", "MARK-three?")),
    "tools": talk(("user", "MARK-one?"), tools=(WEATHER,)),
    "a call and its result": Prompt(
        id="p",
        messages=(
            {"role": "user", "content": "MARK-one?"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {"type": "function", "function": {"name": "weather_of", "arguments": {"at": "MARK-two"}}}
                ],
            },
            {"role": "tool", "name": "weather_of", "content": "MARK-three"},
        ),
        tools=(WEATHER,),
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("kind", CONVERSATIONS)
def test_every_text_of_a_prompt_is_asked_or_the_prompt_is_refused_by_name(name, kind):
    tokenizer, prompt = byte_level(PUBLISHED[name]), CONVERSATIONS[kind]
    text, refusal = "", ""
    try:
        text = shown(prompt, tokenizer)
    except ValueError as problem:
        refusal = str(problem)
    if refusal:
        assert re.search("^prompt .*chat template", refusal)
        return
    marks = ["MARK-one", "MARK-two", "MARK-three"][: str(prompt.question).count("MARK")]
    assert all(mark in text for mark in marks)
    assert not prompt.tools or "weather_of" in text


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_is_asked_is_what_trl_asks(name):
    tokenizer, messages = byte_level(PUBLISHED[name]), [{"role": "user", "content": "What is a tide?"}]
    if "strftime_now" in tokenizer.chat_template:
        pytest.skip("prints today's date, which is frozen here")
    from trl.data_utils import apply_chat_template

    turns = [{"role": "user", "content": [{"type": "text", "text": "What is a tide?"}]}]
    parts = "What is a tide?" not in tokenizer.apply_chat_template(messages, tokenize=False)
    theirs = apply_chat_template({"prompt": turns if parts else messages}, tokenizer)["prompt"]
    assert (
        prompt_ids(asked("What is a tide?"), tokenizer)
        == tokenizer(theirs, add_special_tokens=False).input_ids
    )


def test_a_template_without_room_for_a_system_text_is_named():
    drops = CHATML.replace("{% for m in messages %}", "{% for m in messages if m['role'] != 'system' %}")
    with pytest.raises(ValueError, match=r"row 3 'Hi'.*leaves out turn 1 \(system: 'Be brief.'\)"):
        prompt_ids(talk(("system", "Be brief."), ("user", "Hi")), byte_level(drops))


@given(content=st.text(min_size=1), role=st.sampled_from(["user", "system", "tool"]))
@settings(max_examples=30, deadline=None)
def test_any_text_reaches_the_policy_whole(content, role):
    text = shown(asked(content, role), TOKENIZER)
    whole = content.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert text == f"<|im_start|>{role}\n{whole}<|im_end|>\n<|im_start|>assistant\n"


# ------------------------------------------------------------------ details of rendering


def test_half_an_emoji_is_healed_with_and_without_a_template():
    assert "half \ufffd" in shown(asked("half \ud83d"), TOKENIZER)
    assert shown(asked("half \ud83d", raw=True), TOKENIZER) == "half \ufffd"


def test_the_date_is_the_same_on_every_day():
    dated = byte_level("{{ strftime_now('%d %b %Y') }}: " + CHATML)
    assert shown(asked(), dated).startswith("26 Jul 2024: ")


def test_template_arguments_of_a_prompt_reach_the_template():
    switch = (
        CHATML + "{% if add_generation_prompt and not enable_thinking | default(true) %}<nothink>{% endif %}"
    )
    tokenizer = byte_level(switch)
    assert generation_prompt(asked(), tokenizer) == "<|im_start|>assistant\n"
    quiet = asked(template_kwargs={"enable_thinking": False})
    assert shown(quiet, tokenizer).endswith("assistant\n<nothink>")
    assert generation_prompt(quiet, tokenizer) == "<|im_start|>assistant\n<nothink>"


def test_an_argument_that_no_template_reads_is_named(caplog):
    prompt_ids(asked(template_kwargs={"unheard_of": 1}), TOKENIZER)
    assert "does not read `unheard_of`" in caplog.text


def test_a_tokenizer_that_closes_plain_text_does_not_close_the_prompt():
    closing = byte_level(None, eos="</s>", special=(), post="<s> $A </s>")
    assert shown(asked("a b", raw=True), closing) == "<s>a b"
    assert closing.decode(prompt_ids(asked("a b", raw=True), closing, closed=True)) == "<s>a b</s>"


def test_an_end_token_that_the_user_wrote_stays():
    closing = byte_level(None, eos="</s>", special=(), post="<s> $A </s>")
    assert shown(asked("a</s>", raw=True), closing).startswith("<s>a</s>")


def test_tools_without_a_template_are_refused():
    with pytest.raises(ValueError, match="has `tools`, which only a chat template can show"):
        prompt_ids(asked(tools=(WEATHER,)), byte_level(None))


def test_a_template_that_reads_lists_of_parts_is_given_them():
    parts = "{% for m in messages %}{% for c in m['content'] %}{{ c['text'] }}{% endfor %}{% endfor %}:"
    assert shown(asked("Tide?"), byte_level(parts)) == "Tide?:"


# ------------------------------------------------------------------ the settings

ALPACA = "### Instruction:\n{prompt}\n### Response:\n"


def ask(form, prompt, tokenizer=TOKENIZER):
    return shown(form.ask([prompt])[0], form.tokenizer(tokenizer))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (None, "<|im_start|>user\nHi {x}<|im_end|>\n<|im_start|>assistant\n"),
        ("chat", "<|im_start|>user\nHi {x}<|im_end|>\n<|im_start|>assistant\n"),
        ("raw", "Hi {x}"),
        (ALPACA, "### Instruction:\nHi {x}\n### Response:\n"),
        ("Q: {{ messages[0]['content'] }} A:", "Q: Hi {x} A:"),
    ],
)
def test_a_setting_says_how_prompts_are_asked(given, text):
    before = TOKENIZER.chat_template
    assert ask(PromptFormat.of(given), asked("Hi {x}")) == text
    assert TOKENIZER.chat_template == before


def test_system_text_tools_and_arguments_are_of_prompts_that_have_none():
    form = PromptFormat.of(system="Be brief.", chat_template_kwargs={"a": 1, "b": 1}, tools=[WEATHER])
    plain, own = form.ask(
        [
            asked(),
            talk(("system", "Be long."), ("user", "Hi"), template_kwargs={"b": 2}, tools=({"name": "x"},)),
        ]
    )
    assert [m["content"] for m in plain.messages] == ["Be brief.", "Hi"]
    assert (plain.tools, plain.template_kwargs) == ((WEATHER,), {"a": 1, "b": 1})
    assert [m["content"] for m in own.messages] == ["Be long.", "Hi"]
    assert (own.tools, own.template_kwargs) == (({"name": "x"},), {"a": 1, "b": 2})


def test_a_format_string_has_room_for_a_system_text_where_it_says_so():
    form = PromptFormat.of("{system}\nUSER: {prompt} ASSISTANT:", system="Be brief.")
    assert ask(form, asked()) == "Be brief.\nUSER: Hi ASSISTANT:"
    assert ask(form, talk(("system", "Be long."), ("user", "Hi"))) == "Be long.\nUSER: Hi ASSISTANT:"


BOTH = ["I: {instruction}\nIn: {input}\nR:", "I: {instruction}\nR:"]


def columns(**parts):
    return asked("\n".join(parts.values()), parts=parts)


@given(instruction=st.text(min_size=1), more=st.text())
@settings(max_examples=30, deadline=None)
def test_columns_are_asked_where_a_format_names_them_whatever_they_hold(instruction, more):
    parts = {"instruction": instruction, **({"input": more} if more else {})}
    expected = f"I: {instruction}\nIn: {more}\nR:" if more else f"I: {instruction}\nR:"
    assert PromptFormat.of(BOTH).ask([columns(**parts)])[0].text == expected


def test_a_prompt_of_one_piece_is_the_instruction_and_the_question():
    assert ask(PromptFormat.of(BOTH), asked("Hi {input}")) == "I: Hi {input}\nR:"
    assert ask(PromptFormat.of("Q: {question}\nA:"), asked("Hi")) == "Q: Hi\nA:"


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        (BOTH[1], {"instruction": "Add", "input": "2 2"}),
        (BOTH, {"instruction": "Add", "context": "2 2"}),
        (BOTH[:1], {"instruction": "Add"}),
    ],
)
def test_a_column_that_no_string_has_a_place_for_is_refused_by_name(given, parts):
    with pytest.raises(ValueError, match=f"row 3.*has {', '.join(f'`{n}`' for n in parts)}, for which no"):
        PromptFormat.of(given).ask([columns(**parts)])


def test_columns_are_variables_of_a_jinja_template_and_all_must_be_shown():
    jinja = "{{ instruction }}{% if input %} [{{ input }}]{% endif %}:"
    assert ask(PromptFormat.of(jinja), columns(instruction="Add", input="2 2")) == "Add [2 2]:"
    assert ask(PromptFormat.of(jinja), columns(instruction="Add")) == "Add:"
    with pytest.raises(ValueError, match="leaves out turn 1"):
        ask(PromptFormat.of("{{ instruction }}:"), columns(instruction="Add", input="2 2"))


def test_a_list_of_strings_is_one_of_the_conditions_and_can_be_passed_again():
    form = PromptFormat.of(BOTH)
    assert form.setting == BOTH
    assert form.as_dict() == {"kind": "text", "template": BOTH[0], "others": BOTH[1:]}
    assert PromptFormat.of(form.setting) == form


def test_bos_of_a_format_is_the_tokenizers_way_unless_it_is_said():
    opening = byte_level(None, eos="</s>", special=(), post="<s> $A")
    assert ask(PromptFormat.of("Q: {prompt}"), asked(), opening) == "<s>Q: Hi"
    for bos, text in ((True, "<s>Q: Hi"), (False, "Q: Hi")):
        form = PromptFormat(kind="text", template="Q: {prompt}", bos=bos)
        assert ask(form, asked(), opening) == ask(form, asked(), byte_level()) == text


def test_an_end_token_of_the_format_is_on_the_copy_alone():
    form = PromptFormat(end="<|im_start|>")
    assert form.tokenizer(TOKENIZER).eos_token == "<|im_start|>"
    assert TOKENIZER.eos_token == "<|im_end|>"


def test_what_came_as_plain_text_stays_as_it_is():
    assert ask(PromptFormat.of(ALPACA), asked("Once upon", raw=True)) == "Once upon"


@pytest.mark.parametrize(
    ("prompt", "what"),
    [
        (talk(("user", "a"), ("assistant", "b"), ("user", "c")), "3 turns"),
        (talk(("system", "a"), ("user", "b")), "a system text"),
        (asked(tools=(WEATHER,)), "tools or the like"),
    ],
)
@pytest.mark.parametrize("given", ["raw", ALPACA])
def test_what_has_no_place_in_a_format_is_refused(prompt, what, given):
    with pytest.raises(ValueError, match=f"row 3.*has {what}, for which prompt_format="):
        PromptFormat.of(given).ask([prompt])


@pytest.mark.parametrize(
    ("given", "more", "error"),
    [
        ("### Response:\n", {}, "a format string without {prompt}"),
        ("raw", {"system": "Be brief."}, "`system` has no place"),
        (ALPACA, {"tools": [WEATHER]}, "`tools` has no place"),
        (ALPACA, {"chat_template_kwargs": {"a": 1}}, "`chat_template_kwargs` are of a chat template"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(given, more, error):
    with pytest.raises(ValueError, match=error):
        PromptFormat.of(given, **more)


def test_a_format_is_text():
    with pytest.raises(TypeError, match="`prompt_format` must be one of"):
        PromptFormat.of(3)


def test_a_format_that_is_not_found_yet_asks_nothing():
    with pytest.raises(ValueError, match="'as-trained' is found from the training rows"):
        PromptFormat.of("as-trained").ask([asked()])


def test_formats_that_ask_otherwise_have_other_fingerprints():
    forms = [
        PromptFormat.of(),
        PromptFormat.of("raw"),
        PromptFormat.of(ALPACA),
        PromptFormat.of(system="x"),
        PromptFormat.of(chat_template_kwargs={"enable_thinking": False}),
        PromptFormat(kind="text", template=ALPACA, bos=False),
        PromptFormat(end="<|im_end|>"),
    ]
    assert len({form.fingerprint for form in forms}) == len(forms)
    assert PromptFormat.of("chat").fingerprint == PromptFormat.of(None).fingerprint
