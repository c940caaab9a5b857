"""Batches: within the budget, every row once, memory errors survived."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rm_monitor.errors import ScorerError
from rm_monitor.scorers.run.batching import Batcher, Row, collate, plan

CPU = torch.device("cpu")
lengths = st.lists(st.integers(1, 300), min_size=1, max_size=60)


@given(lengths, st.integers(1, 600))
def test_every_row_is_in_exactly_one_batch(lengths, budget):
    assert sorted(i for batch in plan(lengths, budget=budget) for i in batch) == list(range(len(lengths)))


@given(lengths, st.integers(1, 600))
def test_no_batch_is_over_the_budget_but_for_a_row_that_is_so_alone(lengths, budget):
    for batch in plan(lengths, budget=budget):
        padded = len(batch) * max(lengths[i] for i in batch)
        assert padded <= budget or len(batch) == 1


@given(lengths)
def test_rows_of_a_batch_are_of_similar_length(lengths):
    for batch in plan(lengths, budget=10_000):
        assert max(lengths[i] for i in batch) <= 1.25 * min(lengths[i] for i in batch)


def rows(*lengths):
    return [Row(tuple(range(1, n + 1)), None, (n - 1,)) for n in lengths]


def total(batch):
    return (batch.ids * batch.mask).sum(-1).float()


def test_results_come_back_in_the_order_of_the_rows():
    found = Batcher(tokens=10).run(rows(3, 9, 1, 9, 2), total, device=CPU)
    assert found.tolist() == [6.0, 45.0, 1.0, 45.0, 3.0]


def test_rows_are_padded_on_the_right():
    batch = collate(rows(3, 1), pad_id=7, device=CPU)
    assert batch.ids.tolist() == [[1, 2, 3], [1, 7, 7]]
    assert batch.mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch.read.tolist() == [[2], [0]]


class Memory:
    """A forward that holds ``capacity`` tokens, and counts what it was asked."""

    def __init__(self, capacity):
        self.capacity = capacity
        self.failures = 0

    def __call__(self, batch):
        if batch.ids.numel() > self.capacity:
            self.failures += 1
            raise torch.OutOfMemoryError("CUDA out of memory")
        return total(batch)


def test_out_of_memory_halves_the_batches_and_the_scores_are_the_same():
    memory = Memory(20)
    found = Batcher(tokens=80).run(rows(*[4] * 20), memory, device=CPU)
    assert found.tolist() == [10.0] * 20
    assert memory.failures == 2  # 80, 40, then 20 fits


def test_what_was_learnt_about_memory_is_remembered():
    batcher, memory = Batcher(tokens=80), Memory(20)
    batcher.run(rows(*[4] * 20), memory, device=CPU)
    batcher.run(rows(*[4] * 20), memory, device=CPU)
    assert memory.failures == 2


def test_a_single_row_that_does_not_fit_is_an_error_with_the_way_out():
    with pytest.raises(ScorerError, match=r"single input of 9 tokens.*`max_length`"):
        Batcher(tokens=80).run(rows(9, 2), Memory(5), device=CPU)


def test_other_errors_are_not_taken_for_memory():
    def broken(batch):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        Batcher(tokens=80).run(rows(2), broken, device=CPU)


def test_a_budget_below_one_token_is_refused():
    with pytest.raises(ValueError, match="`batch_tokens` must be at least 1, got 0"):
        Batcher(tokens=0)


def test_one_row_a_forward_means_no_padding():
    seen = []
    Batcher(tokens=100, single=True).run(
        rows(3, 5, 5), lambda b: seen.append(tuple(b.ids.shape)) or total(b), device=CPU
    )
    assert seen == [(1, 5), (1, 5), (1, 3)]


@pytest.mark.parametrize(("device", "tokens"), [("cpu", 1024), ("cuda", 16_384), ("mps", 16_384)])
def test_a_forward_is_as_large_as_its_device_likes_it(device, tokens):
    assert Batcher().budget(torch.device(device)) == tokens
    assert Batcher(tokens=77).budget(torch.device(device)) == 77
