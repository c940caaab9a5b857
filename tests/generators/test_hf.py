"""Transformers' own `generate`, in batches of rows whose answers were of like length."""

import transformers as hf

from rm_monitor.generators.hf import HFGenerator
from rm_monitor.types import Sampling
from tests.generators.test_engine import END, GROUPED, answers, make, numbers, said

DRAWN = Sampling(temperature=1.0, max_new_tokens=60, samples_per_prompt=4)


class EndsAtRandom(hf.LlamaForCausalLM):
    """Each next token is the last with a chance of about one in twelve: a few answers are long."""

    row_steps = 0

    def forward(self, input_ids=None, **more):
        self.row_steps += len(input_ids)
        out = super().forward(input_ids=input_ids, **more)
        logits = out.logits.float()
        logits[..., END] = -float("inf")
        logits[..., END] = logits.logsumexp(-1) - 2.4
        out.logits = logits
        return out


def took(generator, model, prompts):
    """Completions, and rows times forwards."""
    model.row_steps = 0
    return said(answers(generator, model, DRAWN, prompts)), model.row_steps


def test_rows_go_with_those_whose_answers_were_as_long_and_no_text_changes():
    model = make(lambda: EndsAtRandom(hf.LlamaConfig(**GROUPED)))
    prompts = numbers(9)
    generator = HFGenerator(batch_size=6)
    first, unsorted = took(generator, model, prompts)
    again, by_length = took(generator, model, prompts)
    alone, needed = took(HFGenerator(batch_size=1), model, prompts)
    assert first == again == alone
    tokens = sum(n for _, _, _, n, _ in first)
    assert needed == tokens  # a row alone carries nobody
    assert unsorted > 1.5 * tokens
    assert by_length < 0.8 * unsorted


def test_a_row_that_is_new_joins_without_moving_any_text():
    model = make(lambda: EndsAtRandom(hf.LlamaConfig(**GROUPED)))
    prompts = numbers(6)
    generator = HFGenerator(batch_size=5)
    took(generator, model, prompts[:4])
    found, _ = took(generator, model, prompts[::-1])
    expected, _ = took(HFGenerator(), model, prompts[::-1])
    assert found == expected
