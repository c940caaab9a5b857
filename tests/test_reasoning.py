"""What is judged is the answer, not the reasoning before it."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaForCausalLM

from rm_monitor import RewardMonitor, Sampling
from rm_monitor.generators.hf import HFGenerator
from rm_monitor.generators.reasoning import opening, split
from rm_monitor.generators.recorded import RecordedGenerator
from rm_monitor.generators.server.dialects import read
from rm_monitor.text.reasoning import PAIRS, cut
from rm_monitor.types import Prompt
from tests.byte_level import CHATML, byte_level, ids_of, small_policy

GREEDY = Sampling(temperature=0.0, max_new_tokens=64)
OPENS = CHATML.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
HARMONY = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|call|>", "<|constrain|>", "<|return|>")
GPT_OSS = (
    "{% for m in messages %}<|start|>{{ m['role'] }}<|message|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
prose = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters="<>[]◁▷|\r"), max_size=30
)
pairs = st.sampled_from(PAIRS)


def ask(i=0, content="2+2?"):
    return Prompt(id=f"p{i}", messages=({"role": "user", "content": content},))


def knowing(how, pair, template=CHATML):
    """A tokenizer with the pair as special tokens, as added ones (Qwen3), or spelled in its template."""
    marks = (pair.opens.removesuffix("thought"), pair.closes)
    if how == "special":
        return byte_level(template, special=("<|im_start|>", "<|im_end|>", *marks))
    if how == "added":
        return byte_level(template, plain=marks)
    return byte_level(template + "{# " + pair.opens + pair.closes + " #}")


# ------------------------------------------------------------------ laws

KNOWING = {(how, p): knowing(how, p) for how in ("special", "added", "spelled") for p in PAIRS}


@given(pair=pairs, thought=prose, answer=prose)
def test_what_stands_between_leading_delimiters_is_reasoning(pair, thought, answer):
    assert cut(f"{pair.opens}{thought}{pair.closes}{answer}") == (answer.strip(), thought.strip())


@given(pair=pairs, thought=prose)
def test_a_text_that_ends_inside_its_reasoning_has_no_answer(pair, thought):
    assert cut(pair.opens + thought) == ("", thought.strip())


@given(pair=pairs, which=st.integers(0, 1), before=prose, after=prose)
def test_a_delimiter_in_the_middle_of_a_sentence_changes_nothing(pair, which, before, after):
    for said in (f"a{before} {pair[which]} z{after}", f"a{before} `{pair[which]}`. {after}"):
        assert cut(said) == (said, "")


@given(how=st.sampled_from(["special", "added", "spelled"]), pair=pairs, thought=prose, answer=prose)
@settings(max_examples=60, deadline=None)
def test_reasoning_is_cut_from_ids_however_the_tokenizer_knows_its_delimiters(how, pair, thought, answer):
    tokenizer = KNOWING[how, pair]
    block = ids_of(tokenizer, f"{pair.opens}{thought}{pair.closes}")
    said = split([*block, *ids_of(tokenizer, answer + "<|im_end|>")], tokenizer)
    assert said == (answer.strip(), thought.strip(), len(block))


@given(how=st.sampled_from(["special", "added", "spelled"]), pair=pairs, thought=prose, answer=prose)
@settings(max_examples=60, deadline=None)
def test_a_block_that_the_template_opened_is_cut_like_any_other(how, pair, thought, answer):
    tokenizer = KNOWING[how, pair]
    before = f"<|im_start|>assistant\n{pair.opens}\n"
    block = ids_of(tokenizer, thought + pair.closes)
    assert split([*block, *ids_of(tokenizer, answer)], tokenizer, before=before)[0] == answer.strip()
    assert split(ids_of(tokenizer, thought), tokenizer, before=before).answer == ""


@given(said=prose)
def test_a_model_that_is_not_known_to_reason_said_all_of_it(said):
    tokenizer = KNOWING["added", PAIRS[0]]
    assert split(ids_of(tokenizer, said), tokenizer) == (said, "", 0)
    assert split(ids_of(tokenizer, said), byte_level()) == (said, "", -1)


# ------------------------------------------------------------------ by hand


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("So four.\n</think>\n\nFour.", "Four."),  # R1, whose template opened the block
        ("Four.</think>", "Four.</think>"),
        ("<think>a</think><think>b</think>c", "c"),
        ("<think>a</think>b\n<think>c</think>d", "b\nd"),
        ("<think>a</think>The tag `<think>` opens it.", "The tag `<think>` opens it."),
        ("Qwen3 ends its reasoning with `</think>`. Then it answers.",) * 2,
        (
            "<|channel|>analysis<|message|>Five?<|end|><|start|>assistant<|channel|>final<|message|>Four.",
            "Four.",
        ),
        ("<|channel|>analysis<|message|>Five? No", ""),
    ],
)
def test_the_answer_of_a_text(text, answer):
    assert cut(text)[0] == answer


@pytest.mark.parametrize(
    ("said", "answer", "reasoning"),
    [
        (
            "<|channel|>analysis<|message|>Five? No.<|end|>"
            "<|start|>assistant<|channel|>final<|message|>Four.<|return|>",
            "Four.",
            "Five? No.",
        ),
        ("<|channel|>final<|message|>Four.<|return|>", "Four.", ""),
        (
            "<|channel|>analysis<|message|>Five?<|end|>"
            "<|start|>assistant<|channel|>commentary<|message|>Wait.<|end|>"
            "<|start|>assistant<|channel|>final<|message|>Four.<|return|>",
            "Four.",
            "Five?assistantWait.assistant",
        ),
        (
            "<|channel|>analysis<|message|>Look up.<|end|>"
            "<|start|>assistant<|channel|>commentary to=functions.sum "
            '<|constrain|>json<|message|>{"a":2}<|call|>',
            '{"a":2}',
            None,
        ),
        ("<|channel|>analysis<|message|>Five?", "", "Five?"),
        ("<|channel|>ana", "", None),
        ("Four.<|return|>", "Four.", ""),
    ],
)
def test_a_harmony_answer_is_its_final_channel(said, answer, reasoning):
    tokenizer = byte_level(GPT_OSS, special=HARMONY, eos="<|return|>")
    found = split(ids_of(tokenizer, said), tokenizer, before=opening(ask(), tokenizer))
    assert found.answer == answer
    if reasoning is not None:
        assert found.reasoning.replace("assistant", "") == reasoning.replace("assistant", "")


def test_a_prompt_that_speaks_of_a_delimiter_opens_nothing():
    tokenizer = byte_level(plain=PAIRS[0])
    before = opening(ask(content="What does <think> do?"), tokenizer)
    assert split(ids_of(tokenizer, "It opens."), tokenizer, before=before).answer == "It opens."


def test_recorded_and_served_answers_come_with_their_reasoning_apart():
    recorded = RecordedGenerator({"p0": "<think>hm</think>Four."}).generate([ask()], GREEDY)[0]
    tokenizer = byte_level(special=("<|im_start|>", "<|im_end|>", "[THINK]", "[/THINK]"))
    choice = {"text": "[THINK]hm[/THINK]Four.", "finish_reason": "stop"}
    served = read({"choices": [choice]}, ask(), 0, tokenizer=tokenizer)
    assert [(c.text, c.reasoning) for c in (recorded, served)] == [("Four.", "hm")] * 2
    thinking = {"message": {"content": None, "reasoning_content": "hm"}, "finish_reason": "length"}
    assert read({"choices": [thinking]}, ask(), 0).text == ""


# ------------------------------------------------------------------ policies that reason, through the monitor


class Scripted(LlamaForCausalLM):
    """Says what it is told to, whatever it is asked."""

    script, asked = (), 0

    def forward(self, input_ids=None, past_key_values=None, **more):
        seen = past_key_values.get_seq_length() + input_ids.shape[1] - self.asked
        out = super().forward(input_ids=input_ids, past_key_values=past_key_values, **more)
        token = torch.tensor(self.script[min(seen, len(self.script) - 1)])
        out.logits[:, -1] = torch.nn.functional.one_hot(token, out.logits.shape[-1]).float() * 50
        return out


def saying(tokenizer, text, prompt):
    policy = small_policy(tokenizer)
    policy.__class__ = Scripted
    policy.script, policy.asked = (
        ids_of(tokenizer, text),
        len(
            tokenizer.apply_chat_template(
                list(prompt.messages), add_generation_prompt=True, return_dict=False
            )
        ),
    )
    return policy


@pytest.mark.parametrize(
    ("template", "special", "eos", "said", "answer", "ended", "thinking"),
    [
        (
            OPENS,
            ("<|im_start|>", "<|im_end|>"),
            "<|im_end|>",
            "Four?</think>\n\nFour.<|im_end|>",
            "Four.",
            1,
            6,
        ),
        (OPENS, ("<|im_start|>", "<|im_end|>"), "<|im_end|>", "Let me think " * 9, "", 0, 64),
        (
            GPT_OSS,
            HARMONY,
            "<|return|>",
            "<|channel|>analysis<|message|>5?<|end|><|start|>assistant<|channel|>final<|message|>Four.<|return|>",
            "Four.",
            1,
            30,
        ),
        (GPT_OSS, HARMONY, "<|return|>", "<|channel|>analysis<|message|>" + "hm " * 30, "", 0, 64),
    ],
    ids=["opened", "opened, cut", "harmony", "harmony, cut"],
)
def test_a_policy_that_reasons_is_judged_by_its_answer(
    tmp_path, template, special, eos, said, answer, ended, thinking
):
    tokenizer = byte_level(template, special=special, eos=eos, plain=PAIRS[0] if template is OPENS else ())
    policy = saying(tokenizer, said, ask())
    seen = []

    def reward(prompts, answers):
        seen.extend(answers)
        return [0.0] * len(answers)

    monitor = RewardMonitor(
        reward,
        [ask(i) for i in range(3)],
        ["x"] * 3,
        every=1,
        sampling=GREEDY,
        generator=HFGenerator(),
        output_dir=tmp_path,
        report_to="none",
    )
    point = monitor.step(0, policy, tokenizer)
    value = {name: estimate.value for name, estimate in point.metrics.items()}
    assert answer in seen
    assert all(text in (answer, "x") for text in seen)
    assert value["empty"] == float(not answer)
    assert value["truncated"] == 1.0 - ended
    assert value["thinking_length"] == thinking
    assert value["length"] == (len(ids_of(tokenizer, said)) if ended else 64) - thinking


def test_a_policy_that_never_reasons_has_no_curve_of_it(tmp_path):
    tokenizer = byte_level()
    answer = HFGenerator().generate(
        [ask()], GREEDY, model=saying(tokenizer, "Four.<|im_end|>", ask()), tokenizer=tokenizer
    )
    assert (answer[0].text, answer[0].reasoning_tokens) == ("Four.", -1)
    assert math.isnan(answer[0].kl)
