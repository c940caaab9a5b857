"""Every text of a prompt reaches the ids that a judge reads, or the row says that it did not."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rm_monitor.doctor.checks import CHECKS, check_turns
from rm_monitor.errors import ScorerError
from rm_monitor.evaluation.screening import screen
from rm_monitor.scorers import load_scorer
from rm_monitor.scorers.families.athene import ClassTokenEncoding
from rm_monitor.scorers.families.beaver import beaver_text
from rm_monitor.scorers.families.implicit import AnswerEncoding
from rm_monitor.scorers.families.openrlhf import OpenRLHFEncoding
from rm_monitor.scorers.families.pair_preference import PairQuestion
from rm_monitor.scorers.families.pairrm import SourceAndCandidates
from rm_monitor.scorers.families.polar import WithReference
from rm_monitor.scorers.families.principle import PrincipleEncoding
from rm_monitor.scorers.families.ultrarm import eurus_text, ultrarm_text
from rm_monitor.scorers.run.assemble import running_text
from rm_monitor.scorers.text.encodings import ChatEncoding, PairEncoding, TextEncoding
from rm_monitor.scorers.text.formatting import Formatter
from rm_monitor.types import Completion, Prompt
from tests.scorers.conftest import CHATML, LLAMA3, make_tokenizer, prompt, save, scaled

TURN = "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
TEMPLATES = {
    "chatml": CHATML,
    "llama3": LLAMA3,
    "no system": "{% for m in messages %}{% if m['role'] != 'system' %}" + TURN + "{% endif %}{% endfor %}",
    "refuses system": "{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}" + CHATML,
    "last user turn only": "{% for m in messages[-2:] %}" + TURN + "{% endfor %}",
    "answer after </think>": "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{{ m['content'].split('</think>')[-1] if m['role'] == 'assistant' else m['content'] }}<|im_end|>\n"
    "{% endfor %}",
    "trims": CHATML.replace("m['content']", "m['content'] | trim"),
    "as json": CHATML.replace("m['content']", "m['content'] | tojson"),
    "tools": "{% if tools %}{% for t in tools %}{{ t | tojson }}{% endfor %}{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}"
    "{% if m.tool_calls %}{{ m.tool_calls | tojson }}{% endif %}<|im_end|>\n{% endfor %}",
}
tokenizer = make_tokenizer()


def chat(template):
    return ChatEncoding.of(tokenizer, template=template)


ENCODINGS = {
    **{name: chat(template) for name, template in TEMPLATES.items()},
    "text_pair": PairEncoding(tokenizer),
    "plain": TextEncoding(tokenizer, write=running_text, name="plain"),
    "ultrarm": TextEncoding(tokenizer, write=ultrarm_text, name="ultrarm", end=False),
    "eurus": TextEncoding(tokenizer, write=eurus_text, name="eurus", end=False),
    "beaver": TextEncoding(tokenizer, write=beaver_text, name="beaver"),
    "openrlhf": OpenRLHFEncoding(chat(CHATML)),
    "implicit": AnswerEncoding(chat(CHATML)),
    "pair_preference": PairQuestion(chat(CHATML)),
    "pairrm": SourceAndCandidates(tokenizer),
    "athene": ClassTokenEncoding(chat(CHATML), tokenizer.eos_token_id),
    "principle": PrincipleEncoding(chat(CHATML), "correctness"),
    "polar": WithReference(tokenizer),
}
PAIRS = ("pair_preference", "pairrm", "polar")
words = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=12)
TURNS = [["user"], ["system", "user"], ["user", "assistant", "user"], ["system", "user", "assistant", "user"]]
TURNS += [["user", "assistant", "tool", "user"]]
formatters = {name: Formatter(encoding) for name, encoding in ENCODINGS.items()}


@st.composite
def marked(draw):
    """A conversation in which each text holds a word of its own, and all those words."""
    roles = draw(st.sampled_from(TURNS))
    messages, marks = [], []
    for i, role in enumerate(roles):
        mark = f"Zq{i}xv"
        before = draw(st.sampled_from(["", "<think>hm</think>", "</think>"])) if role == "assistant" else ""
        content = draw(st.sampled_from([f"{mark}{before}", f"{before}{mark}"]))
        content = f"{draw(words)} {content} {draw(words)}"
        marks.append(mark)
        turn = {"role": role, "content": content}
        if role == "assistant" and draw(st.booleans()):
            turn["tool_calls"] = [{"function": {"name": "look", "arguments": {"for": f"Zc{i}xv"}}}]
            marks.append(f"Zc{i}xv")
        if role == "assistant" and draw(st.booleans()):
            turn["reasoning_content"] = f"Zr{i}xv"
            marks.append(f"Zr{i}xv")
        messages.append(turn)
    tools = ()
    if draw(st.booleans()):
        tools = ({"type": "function", "function": {"name": "look", "description": "Ztxv"}},)
        marks.append("Ztxv")
    return Prompt(id="p", messages=tuple(messages), tools=tools), marks


@pytest.mark.parametrize("name", sorted(ENCODINGS))
@given(case=marked())
@settings(max_examples=12, deadline=None)
def test_every_text_of_a_prompt_is_read_or_the_row_is_flagged(name, case):
    asked, marks = case
    rendered = formatters[name].render(asked, *["Four."] * (2 if name in PAIRS else 1))
    if rendered.usable:
        read = tokenizer.decode(rendered.ids, skip_special_tokens=False)
        assert "dropped" in rendered.flags or all(mark in read for mark in marks)
    else:
        assert "unrendered" in rendered.flags


@pytest.mark.parametrize(
    "name", ["chatml", "llama3", "trims", "as json", "text_pair", "openrlhf", "implicit"]
)
@given(texts=st.lists(words.filter(str.strip), min_size=2, max_size=2))
@settings(max_examples=12, deadline=None)
def test_a_format_that_reads_everything_is_never_flagged(name, texts):
    asked = Prompt(id="p", messages=({"role": "system", "content": texts[0]}, *prompt(texts[1]).messages))
    assert "dropped" not in formatters[name].render(asked, "Four.").flags


def test_a_dropped_turn_is_noticed_where_its_text_stands_in_another_turn_as_well():
    asked = Prompt(id="p", messages=({"role": "system", "content": "Hi"}, *prompt("Hi there").messages))
    assert "dropped" in formatters["no system"].render(asked, "x").flags


def test_half_an_emoji_in_a_prompt_is_healed_as_in_an_answer():
    for turn in ("half \ud83d", "\ude00 half"):
        there = formatters["chatml"].render(prompt(turn), "x \ud83d")
        assert "\ufffd" in tokenizer.decode(there.ids)
        assert there.usable


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    from transformers import LlamaForSequenceClassification

    from tests.scorers.conftest import llama_config

    def make(template):
        own = make_tokenizer(TEMPLATES[template])
        model = scaled(lambda: LlamaForSequenceClassification(llama_config(own, num_labels=1)))
        return load_scorer(save(tmp_path_factory.mktemp("judge"), model, own), show=False)

    return make


SYSTEM = Prompt(
    id="s", messages=({"role": "system", "content": "In French."}, {"role": "user", "content": "Hello, you!"})
)
LONG = prompt("word " * 200, id="long", row=7)


def test_a_prompt_that_cannot_be_rendered_or_is_too_long_costs_its_own_row_and_no_other(judge):
    scorer = judge("refuses system")
    asked = [prompt("Hi", id="a"), SYSTEM, LONG, prompt("Ho", id="b")]
    said = scorer.score(asked, [Completion(prompt_id=p.id, text="Four.") for p in asked])
    assert np.isfinite(said.reward).tolist() == [True, False, False, True]
    assert said.flags["unrendered"].tolist() == [False, True, False, False]
    assert said.flags["overflow"].tolist() == [False, False, True, False]
    alone = scorer.score(asked[3:], [Completion(prompt_id="b", text="Four.")])
    assert alone.reward[0] == pytest.approx(said.reward[3], rel=1e-5)
    assert scorer.keys(asked, [Completion(prompt_id=p.id, text="Four.") for p in asked])


def test_prompts_that_cannot_be_scored_are_named_before_anything_is_answered(judge, caplog):
    asked = [prompt("Hi", id="a"), SYSTEM, LONG]
    with caplog.at_level(logging.WARNING, "rm_monitor"):
        screen({"rm": judge("refuses system")}, asked)
    (line,) = caplog.messages
    assert "cannot score 2 of 3 prompts" in line
    assert "'Hello, you!'" in line
    assert "System role not supported" in line
    assert "row 7 'word word" in line
    assert "tokens" in line
    with pytest.raises(ScorerError, match=r"can score none of the 2 prompts: 'Hello, you!'"):
        screen({"rm": judge("refuses system")}, asked[1:])


def test_a_monitor_names_them_when_it_is_made_and_its_point_holds_the_others(judge, caplog, tmp_path):
    from rm_monitor import RewardMonitor
    from rm_monitor.testing import Says

    asked = [prompt("Hi", id="a"), SYSTEM, prompt("Ho", id="b")]
    with caplog.at_level(logging.WARNING, "rm_monitor"):
        monitor = RewardMonitor(
            judge("refuses system"),
            asked,
            references=[Completion(prompt_id=p.id, text="No.") for p in asked],
            generator=Says("Four."),
            output_dir=tmp_path,
            report_to="none",
        )
    assert any("cannot score 1 of 3 prompts" in m and "'Hello, you!'" in m for m in caplog.messages)
    point = monitor.evaluate(step=0)
    assert point.status == "ok"
    assert point.metrics["reward"].n == 2


def test_a_judge_that_does_not_read_system_turns_says_so_when_loaded_and_to_the_doctor(judge, caplog):
    scorer = judge("no system")
    assert any("leaves out system turns" in note for note in scorer.describe().notes)
    with caplog.at_level(logging.WARNING, "rm_monitor"):
        screen({"rm": scorer}, [SYSTEM])
    assert "does not read turn 1 (system)" in caplog.text
    assert check_turns in CHECKS
    (found,) = check_turns(scorer)
    assert found.level == "look"
    assert "leaves out system turns" in found.text
    assert list(check_turns(judge("chatml"))) == [("fine", "system turns and earlier turns are read")]


def test_a_pairwise_model_flags_what_it_does_not_read(tmp_path):
    from transformers import LlamaForCausalLM

    from tests.scorers.conftest import llama_config

    own = make_tokenizer(TEMPLATES["chatml"])
    model = scaled(lambda: LlamaForCausalLM(llama_config(own)))
    scorer = load_scorer(save(tmp_path, model, own), kind="pair_preference", show=False)
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "look"}}]}
    tool = Prompt(id="t", messages=({"role": "user", "content": "Hi"}, call, *prompt("So?").messages))
    asked = [prompt("Hi", id="a"), tool, LONG]
    ours, theirs = ([Completion(prompt_id=p.id, text=t) for p in asked] for t in ("Four.", "Five."))
    said = scorer.prefer(asked, ours, theirs)
    assert np.isfinite(said.probability).tolist() == [True, True, False]
    assert said.measures["dropped"].tolist() == [0, 1, 0]
    assert said.measures["overflow"].tolist() == [0, 0, 1]
    assert set(scorer.prefer(asked[:1], ours[:1], theirs[:1]).measures) == set()


def test_a_function_is_given_whole_characters():
    seen = []
    scorer = load_scorer(lambda p, c: [seen.append((p, c)) or 0.0 for _ in c], show=False)
    scorer.score([prompt("half \ud83d")], [Completion(prompt_id="p", text="\ude00 half")])
    assert seen == [(["half \ufffd"], ["\ufffd half"])]
