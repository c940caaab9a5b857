"""A decode step could be recorded by a GPU: fixed tensors, one copy to the host, no shape by a value."""

import sys
from collections import Counter

import numpy as np
import pytest
import torch
import transformers as hf
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from rm_monitor.generators import noise
from rm_monitor.generators.budget import bytes_of, rows_within
from rm_monitor.generators.engine import EngineGenerator, choosing, paged, recording
from rm_monitor.generators.engine.decode import Decoder
from rm_monitor.generators.engine.facts import Facts
from rm_monitor.generators.engine.pages import Pool
from rm_monitor.generators.engine.rows import Table
from rm_monitor.generators.engine.schedule import Job, Queue
from rm_monitor.generators.engine.varlen import reference
from rm_monitor.generators.hf import HFGenerator
from rm_monitor.types import Sampling
from tests.generators.test_engine import DRAWN, FAMILIES, FOUR, GREEDY, Numbers, answers, make, numbers, said

SURE = Sampling(temperature=0.7, top_p=0.95, max_new_tokens=24)


class Watch(TorchDispatchMode):
    """Counts what a step does, and notes the shapes that it makes."""

    def __init__(self):
        super().__init__()
        self.calls, self.shapes = Counter(), []

    def __torch_dispatch__(self, call, types, args=(), kwargs=None):
        made = call(*args, **(kwargs or {}))
        self.calls[call._schema.name.removeprefix("aten::")] += 1
        self.shapes.append((call._schema.name, getattr(made, "shape", None)))
        for one in made if isinstance(made, tuple | list) else [made]:
            assert getattr(one, "dtype", None) != torch.float64, call
        return made


def watched(monkeypatch, rows, sampling):
    """Each step of an answering: its bucket, a `Watch`, its copies to the host, and where its tensors are."""
    model = make(FAMILIES["Llama"])
    with torch.no_grad():
        model.lm_head.weight.mul_(8.0)  # sure of what it says: nuclei are small
    steps, copies = [], Counter()
    step, to_host = paged.Paged.step, choosing.to_host

    def counted(found):
        copies["host"] += 1
        return to_host(found)

    def one(self):
        copies.clear()
        with Watch() as watch:
            found = step(self)
        bucket = self._steps[0]
        places = [t.data_ptr() for t in (bucket.ids, bucket.places, bucket.table, bucket.found)]
        steps.append((len(bucket.rows), watch, dict(copies), places))
        return found

    monkeypatch.setattr(paged.Paged, "step", one)
    monkeypatch.setattr(choosing, "to_host", counted)
    prompts = numbers(7)
    given = Sampling(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_new_tokens=sampling.max_new_tokens,
        samples_per_prompt=-(-rows // len(prompts)),
    )
    engine = EngineGenerator(pages=16)
    answers(engine, model, given, prompts)
    assert engine.facts is not None
    return steps


@pytest.mark.parametrize("sampling", [GREEDY, SURE], ids=["greedy", "top_p .95"])
def test_between_changes_of_the_bucket_a_step_is_always_the_same(monkeypatch, sampling):
    steps = watched(monkeypatch, 64, sampling)
    settled = [(b, c) for a, b, c in zip(steps, steps[1:], steps[2:], strict=False) if a[0] == b[0] == c[0]]
    assert len(settled) > 5
    for (_, first, _, places), (_, second, copies, later) in settled:
        assert places == later
        assert first.shapes == second.shapes
        assert copies["host"] == 1
        assert second.calls["nonzero"] == second.calls["_local_scalar_dense"] == second.calls["item"] == 0


@pytest.mark.parametrize("kind", ["Llama", "GPT-2"])
def test_a_row_whose_nucleus_is_wide_is_settled_before_its_next_step(monkeypatch, kind):
    model = make(FAMILIES[kind])
    wide = Sampling(temperature=2.0, top_p=0.99, max_new_tokens=14, samples_per_prompt=2)
    expected = said(answers(HFGenerator(), model, wide))
    monkeypatch.setattr(noise, "_MANY", 4)
    assert said(answers(EngineGenerator(pages=8), model, wide)) == expected


def calls(rows, longest):
    """Calls of functions that the decoder makes for so many rows and steps, model and choice left out."""
    jobs = [Job(np.arange(5), prompt=i, key=(i, i)) for i in range(rows)]

    class Free:
        rows = np.arange(len(jobs))

        def admit(self, new):
            yield self.step()

        def step(self):
            n = len(self.rows)
            return choosing.Said(self.rows, np.full(n, 7), np.zeros((2, n), dtype=np.float32))

        def remove(self, gone):
            self.rows = np.setdiff1d(self.rows, gone)

    decoder = Decoder(
        Table(jobs, longest), Queue(jobs, longest), [1], room=1 << 40,
        take_off=lambda _: Free(), give_back=lambda: None, facts=Facts(),
    )  # fmt: skip
    count = Counter()
    before = sys.getprofile()
    sys.setprofile(lambda frame, event, arg: count.update([event]))
    try:
        decoder.run()
    finally:
        sys.setprofile(before)
    return count["call"] + count["c_call"]


def test_bookkeeping_of_a_step_makes_no_more_calls_for_more_rows():
    """0.15 microseconds a token at 256 rows were measured; a loop over rows was 12."""
    a_step = [calls(rows, 60) - calls(rows, 50) for rows in (8, 256)]
    assert a_step[0] == a_step[1] > 0


class Full(hf.LlamaForCausalLM):
    """Has no memory for more than a few tokens at once."""

    most, refused = 10**9, 0

    def forward(self, input_ids=None, position_ids=None, logits_to_keep=0, use_cache=None, **more):
        if input_ids.shape[1] > self.most:
            self.refused += 1
            raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
        return super().forward(
            input_ids=input_ids, position_ids=position_ids, logits_to_keep=logits_to_keep,
            use_cache=use_cache, **more,
        )  # fmt: skip


@pytest.mark.parametrize("pages", [None, 8])
def test_memory_that_runs_out_costs_the_rows_in_flight_alone(pages):
    config = hf.LlamaConfig(**{**FAMILIES["Llama"]().config.to_dict()})
    model = make(lambda: Full(config))
    prompts = [p for p in numbers(9) if len(p.text.split()) < 25]
    expected = said(answers(HFGenerator(), model, FOUR, prompts))
    engine = EngineGenerator(pages=pages)
    answers(engine, model, GREEDY, prompts[:2])
    model.most, told = 60, []
    given = dict(seed=3, model=model, tokenizer=Numbers())
    found = engine.generate(prompts, FOUR, **given, progress=lambda done, n: told.append((done, n)))
    assert said(found) == expected
    model.most = 5 + max(len(p.text.split()) for p in prompts)
    found = engine.generate(prompts, FOUR, **given)
    assert said(found) == expected
    assert engine.facts is not None
    assert engine.facts.tokens == sum(c.n_tokens for c in found)
    assert told == sorted(told)  # what was done stays done
    before = model.refused
    answers(engine, model, FOUR, prompts)
    assert model.refused - before <= engine.facts.narrowed <= 1  # it starts as narrow as it had to become


def test_one_row_that_does_not_fit_is_an_error():
    model = make(lambda: Full(hf.LlamaConfig(**{**FAMILIES["Llama"]().config.to_dict()})))
    engine = EngineGenerator()
    answers(engine, model, GREEDY, numbers(2))
    model.most = 1
    with pytest.raises(RuntimeError, match="CUBLAS_STATUS_ALLOC_FAILED"):
        answers(engine, model, GREEDY, numbers(2))


@pytest.mark.parametrize("works", [True, False])
def test_a_step_is_recorded_at_its_second_run_or_run_as_it_is(monkeypatch, works, caplog):
    """What a GPU does, acted by a stand-in: a recording plays the calls that it saw."""
    log = []

    class Graph:
        def replay(self):
            log.append("played")

    class Recorder:
        def __init__(self, graph):
            pass

        def __enter__(self):
            if not works:
                raise RuntimeError("operation not permitted when stream is capturing")

        def __exit__(self, *_):
            log.append("recorded")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", Recorder)
    monkeypatch.setattr(torch.cuda, "device", lambda _: torch.no_grad())
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
    monkeypatch.setattr(recording.Recording, "refused", False)
    step = recording.Recording(lambda: log.append("ran"), torch.device("cuda"))
    for _ in range(3):
        step()
    if works:
        assert log == ["ran", "ran", "recorded", "played", "played"]
    else:
        assert log == ["ran", "ran", "ran"]
        assert len(caplog.records) == 1


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    size=st.integers(1, 9),
    left=st.sampled_from([-1, 3]),
    shared=st.booleans(),
)
def test_paged_attention_is_attention_of_each_row_alone(lengths, size, left, shared):
    """Tables in any order, shared beginnings, windows, several heads a key head; numpy says the same."""
    rng = np.random.default_rng(sum(lengths) + size)
    most = -(-max(lengths) // size)
    table = 1 + rng.permutation(len(lengths) * most).reshape(len(lengths), most)
    if shared:
        table[:, 0] = table[0, 0]
    key, value = (torch.from_numpy(rng.standard_normal((table.max() + 1, size, 2, 4))).float() for _ in "kv")
    queries = [int(rng.integers(1, n + 1)) for n in lengths]
    query = torch.from_numpy(rng.standard_normal((sum(queries), 4, 4))).float()
    starts = torch.tensor([0, *np.cumsum(queries)], dtype=torch.int32)
    found = reference(
        query, key, value, starts, None, max(queries), most * size, scale=0.5, window_size=(left, 0),
        enable_gqa=True, seqused_k=torch.tensor(lengths, dtype=torch.int32),
        block_table=torch.from_numpy(table).int(),
    )  # fmt: skip
    for row, (n, q) in enumerate(zip(lengths, queries, strict=True)):
        k, v = (one.numpy()[table[row]].reshape(-1, 2, 4)[:n] for one in (key, value))
        for token in range(q):
            own = n - q + token
            begin = 0 if left < 0 else max(0, own - left)
            for head in range(4):
                mine = query.numpy()[int(starts[row]) + token, head]
                weight = np.exp(0.5 * k[begin : own + 1, head // 2] @ mine)
                expected = weight @ v[begin : own + 1, head // 2] / weight.sum()
                np.testing.assert_allclose(found[int(starts[row]) + token, head], expected, atol=1e-5)


@given(st.lists(st.tuples(st.sampled_from(["take", "share", "give"]), st.integers(1, 3)), max_size=40))
def test_a_page_is_free_exactly_when_nobody_has_it(moves):
    pool, held = Pool(12, 4), []
    for move, count in moves:
        if move == "take" and pool.free >= count:
            pages = pool.take(count)
            assert 0 not in pages
            assert not {p for mine in held for p in mine} & set(pages)
            held.append(pages)
        elif move == "share" and held:
            pool.share(held[-1])
            held.append(held[-1])
        elif move == "give" and held:
            pool.give(held.pop(count % len(held)))
    assert pool.free == 12 - len({p for mine in held for p in mine})


@given(st.integers(1, 5000))
def test_a_bucket_holds_its_rows_and_few_places_more(rows):
    size = paged.bucket_of(rows)
    assert rows <= size
    assert size == 8 or size <= 1.5 * rows
    assert size in {2**i for i in range(3, 14)} | {3 * 2**i for i in range(2, 14)}


def test_a_large_policy_has_150_rows_on_a_card_that_training_fills():
    """8 B in bfloat16, an 80 GB card: 8 GB free at the driver, 70 held by the allocator, 34 of them used."""
    config = hf.LlamaConfig(
        num_key_value_heads=8, num_attention_heads=32, head_dim=128, hidden_size=4096, num_hidden_layers=32,
        vocab_size=128256,
    )  # fmt: skip
    slot, row = bytes_of(config, 2, DRAWN)
    jobs = [Job(np.zeros(200, dtype=np.int64), prompt=i, key=(0, 0)) for i in range(256)]
    for page in (1, 256):
        queue = Queue(jobs, 256, row // slot, page)
        assert len(queue.take((8 + 70 - 34) * (1 << 30) // 4 // slot)) >= 150


def test_what_the_engine_refuses_is_answered_by_as_many_rows_as_memory_holds():
    """The same card and model: 32 rows of `generate` would be an eighth of what fits."""
    config = hf.LlamaConfig(
        num_key_value_heads=8, num_attention_heads=32, head_dim=128, hidden_size=4096, num_hidden_layers=32,
        vocab_size=128256,
    )  # fmt: skip
    free = (8 + 70 - 34) * (1 << 30) // 4
    given = {"itemsize": 2, "sampling": Sampling(max_new_tokens=256), "longest": 200}
    assert 80 < rows_within(free, config, **given, on_cpu=False) < 100
    assert rows_within(free, config, **given, on_cpu=True) == 32
    assert rows_within(1, config, **given, on_cpu=False) == 1
    assert rows_within(free, hf.MambaConfig(), **given, on_cpu=False) == 32  # it has no keys to count
