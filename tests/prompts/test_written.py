"""Rendered prompts: the policy continues them to the letter, judges are given the turns read back."""

from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm_monitor.prompts.load import load_prompts
from rm_monitor.prompts.rendered import is_rendered
from rm_monitor.prompts.rendering import prompt_ids
from rm_monitor.prompts.written import turns_written
from tests.byte_level import CHATML, byte_level

TEMPLATES = {
    path.name.removesuffix(".jinja"): path.read_text(encoding="utf-8")
    for path in sorted(files("trl").joinpath("chat_templates").iterdir(), key=lambda p: p.name)
    if path.name.endswith(".jinja") and "training" not in path.name
}
TALKS = {
    "one turn": [("user", "What is a tide?")],
    "three turns": [("user", "Hi\n\nthere"), ("assistant", "Hello!"), ("user", "What is\na tide?")],
    "system": [("system", "Be brief."), ("user", "What is a tide?")],
}
ZEPHYR = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
TEMPLATES |= {"chatml": CHATML, "zephyr": ZEPHYR}
NOT_READ = {"cohere2"}  # its turns hold further control tokens


@pytest.mark.parametrize("talk", TALKS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_the_turns_of_a_published_template_are_read_back(name, talk):
    messages = [{"role": role, "content": text} for role, text in TALKS[talk]]
    try:
        text = byte_level(TEMPLATES[name]).apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
    except Exception:
        pytest.skip("the template refuses this conversation")
    if not is_rendered(text) or not all(m["content"] in text for m in messages):
        pytest.skip("not seen as rendered, or the template leaves a turn out or changes it")
    found = turns_written(text)
    if name in NOT_READ:
        assert found is None
        return
    if talk == "system":  # Gemma's stands in the user's turn
        whole = "".join(m["content"] for m in found)
        assert whole.index("Be brief.") < whole.index("What is a tide?")
    else:
        assert [m for m in found if m["role"] not in ("system", "developer")] == messages


@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="<|"), min_size=1), min_size=1, max_size=5
    )
)
def test_any_conversation_in_chatml_is_read_back(texts):
    texts = [text.strip() or "x" for text in texts]
    texts = texts if len(texts) % 2 else [*texts, "x"]
    messages = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]
    text = byte_level().apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert turns_written(text) == tuple(messages)


@pytest.mark.parametrize(
    "text",
    [
        "<|im_start|>user\nHi<|im_end|> and <|im_start|>assistant\n",  # something between two turns
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nSure, ",  # an answer that is begun
        "<|im_start|>assistant\n",
        "<|start|>user<|message|>Hi<|end|><|start|>assistant<|channel|>analysis<|message|>Hm<|end|>",
        "Hi",
        "",
    ],
)
def test_what_is_not_wholly_turns_stays_text(text):
    assert turns_written(text) is None


def test_the_policy_continues_the_text_and_judges_are_given_the_turns():
    text = "<|im_start|>system\nBe.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    prompts = load_prompts([text])
    assert byte_level().decode(prompt_ids(prompts[0], byte_level())) == text
    assert [(m["role"], m["content"]) for m in prompts[0].messages] == [("system", "Be."), ("user", "Hi")]
    assert "judges are given the turns" in prompts.notes[0]


def test_a_text_that_cannot_be_read_back_is_said_to_be_judged_as_it_stands():
    begun = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nSure, "
    prompts = load_prompts([begun])
    assert prompts[0].text == begun
    assert "judges read the text as it stands" in prompts.notes[1]
