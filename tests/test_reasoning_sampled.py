"""A policy that reasons, sampled: what is judged and counted is what a person cuts from the ids by hand.

The policies draw their tokens: one from letters and the end of a block that its template has opened, one from
the turns of a harmony conversation. The hand knows ids only, and none of the code under test.
"""

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from rm_monitor import RewardMonitor, Sampling
from rm_monitor.generators.engine.generator import EngineGenerator
from rm_monitor.generators.hf import HFGenerator
from rm_monitor.types import Prompt
from tests.byte_level import byte_level
from tests.test_reasoning import GPT_OSS, HARMONY, OPENS

PROMPTS = [Prompt(id=f"p{i}", messages=({"role": "user", "content": f"{i}+{i}?"},)) for i in range(12)]
SAMPLING = Sampling(temperature=1.0, max_new_tokens=24, samples_per_prompt=2)
CHANNELS = ("analysis", "final", "assistant")


def chain(tokenizer, shares):
    """A Llama that draws by ``{from: {to: share}}``, names of tokens; ``""``: from any other.

    Its layers add nothing and its embedding is one-hot, so that the head is a table of logits by last token.
    """
    size = len(tokenizer)
    table = torch.full((size, size), -1e4)
    for start, ends in sorted(shares.items()):  # "" first, so that the others write over it
        rows = slice(None) if not start else tokenizer.convert_tokens_to_ids(start)
        table[rows] = -1e4
        for end, share in ends.items():
            table[rows, tokenizer.convert_tokens_to_ids(end)] = float(np.log(share))
    width = size + -size % 4
    policy = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=size, hidden_size=width, intermediate_size=8, num_hidden_layers=1,
            num_attention_heads=2,
            pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, bos_token_id=None,
        )
    ).eval()  # fmt: skip
    with torch.no_grad():
        policy.model.layers[0].self_attn.o_proj.weight.zero_()
        policy.model.layers[0].mlp.down_proj.weight.zero_()
        policy.model.embed_tokens.weight.copy_(torch.eye(size, width))
        policy.lm_head.weight.zero_()
        policy.lm_head.weight[:, :size] = table.T / width**0.5  # the norm makes a one-hot row that long
    return policy


def letters(text, weight):
    return dict.fromkeys(text, weight)


def opened():
    """A template that opens the block: letters, the end of the block now and then, the end of the answer."""
    tokenizer = byte_level(OPENS, special=("<|im_start|>", "<|im_end|>"), plain=("<think>", "</think>"))
    say = letters("abcdefgh", 0.1) | {"</think>": 0.1, "<|im_end|>": 0.1}
    return tokenizer, chain(tokenizer, {"": say, "</think>": letters("abcdefgh", 0.125)})


def harmony():
    """Messages of two channels, of which the second is the answer, cut off anywhere."""
    tokenizer = byte_level(GPT_OSS, special=HARMONY, eos="<|return|>", plain=CHANNELS)
    shares = {
        "": letters("abcdefgh", 0.1) | {"<|end|>": 0.12, "<|return|>": 0.08},
        "assistant": {"<|channel|>": 1},
        "<|channel|>": {"analysis": 0.6, "final": 0.4},
        "analysis": {"<|message|>": 1},
        "final": {"<|message|>": 1},
        "<|end|>": {"<|start|>": 1},
        "<|start|>": {"assistant": 1},
    }
    return tokenizer, chain(tokenizer, shares)


def cut_opened(names):
    """The answer and how many ids are thought, of a block that is open from the beginning."""
    if "</think>" not in names:
        return "", len(names)
    end = names.index("</think>") + 1
    rest = [n for n in names[end:] if n != "<|im_end|>"]
    return "".join(rest), end


def cut_harmony(names):
    """The messages of channel `final`; all other ids are thought, headers of `final` included."""
    kept = []
    for i in range(2, len(names)):
        if names[i] == "<|message|>" and names[i - 1] == "final":
            end = next((j for j in range(i, len(names)) if names[j] in ("<|end|>", "<|return|>")), len(names))
            kept += range(i + 1, end)
    return "".join(names[i] for i in kept), kept


@pytest.mark.parametrize("generator", [HFGenerator, EngineGenerator])
@pytest.mark.parametrize(("make", "eos"), [(opened, "<|im_end|>"), (harmony, "<|return|>")])
def test_sampled_answers_are_cut_as_a_person_cuts_their_ids(tmp_path, caplog, make, eos, generator):
    tokenizer, policy = make()
    said = generator().generate(PROMPTS, SAMPLING, seed=7, model=policy, tokenizer=tokenizer)
    hand = []
    for one in said:
        names = tokenizer.convert_ids_to_tokens(list(one.tokens))
        text, thought = cut_opened(names) if make is opened else cut_harmony(names)
        hand.append((text, names[-1] == eos, thought, len(names)))
    assert "slower" not in caplog.text  # the engine is what answered
    assert [one.text for one in said] == [text for text, *_ in hand]
    assert [one.finish_reason == "stop" for one in said] == [ended for _, ended, *_ in hand]
    assert len({text for text, *_ in hand}) > 8
    assert {bool(text) for text, *_ in hand} == {True, False} == {ended for _, ended, *_ in hand}
    judged = []

    def reward(prompts, answers):
        judged.extend(answers)
        return [0.0] * len(answers)

    monitor = RewardMonitor(
        reward, PROMPTS, ["x"] * len(PROMPTS), every=1, sampling=SAMPLING, seed=7,
        generator=generator(), output_dir=tmp_path, report_to="none",
    )  # fmt: skip
    point = monitor.step(0, policy, tokenizer)
    value = {name: estimate.value for name, estimate in point.metrics.items()}
    assert set(judged) == {text for text, *_ in hand} | {"x"}
    assert value["empty"] == pytest.approx(np.mean([not text.strip() for text, *_ in hand]))
    assert value["truncated"] == pytest.approx(np.mean([not ended for _, ended, *_ in hand]))
    if make is opened:
        thinking = [thought for *_, thought, _ in hand]
    else:  # the end of a message of `final` is neither
        thinking = [one.reasoning_tokens for one in said]
        assert all(
            len(kept) <= n - t <= len(kept) + 2 for (_, _, kept, n), t in zip(hand, thinking, strict=True)
        )
    assert [one.reasoning_tokens for one in said] == thinking
    assert value["thinking_length"] == pytest.approx(np.mean(thinking))
