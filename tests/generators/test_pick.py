"""Cheap picking against torch's own, ties and odd numbers included."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, gumbel_r, kstest
from torch.utils._python_dispatch import TorchDispatchMode

from rm_monitor.generators.noise import choose, first_choice, gumbel, row_keys
from rm_monitor.generators.pick import largest, likeliest, sharpness

SIZES = [3, 64, 65, 1000, 1024, 5000]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_the_likeliest_token_is_the_first_of_the_largest(size, dtype):
    logits = torch.randint(0, 6, (40, size), generator=torch.Generator().manual_seed(size)).to(
        dtype
    )  # many ties
    first = (logits == logits.amax(-1, keepdim=True)).to(torch.uint8).numpy().argmax(-1)
    assert likeliest(logits).tolist() == first.tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_nan_is_picked_as_torch_picks_it(dtype):
    logits = torch.randn(8, 200, generator=torch.Generator().manual_seed(0)).to(dtype)
    for row, column in enumerate([0, 5, 63, 64, 120, 191, 192, 199]):
        logits[row, column] = float("nan")
    assert likeliest(logits).tolist() == logits.argmax(-1).tolist()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [1, 3, 10, 64])
def test_the_largest_are_those_of_topk(size, count):
    logits = torch.randn(20, size, generator=torch.Generator().manual_seed(size))
    count = min(count, size)
    values, places = largest(logits, count)
    assert torch.equal(values, logits.topk(count).values)
    assert torch.equal(logits.gather(1, places), values)
    assert all(len(set(row)) == count for row in places.tolist())


def test_sharpness_is_what_numpy_says():
    logits = torch.randn(9, 700, generator=torch.Generator().manual_seed(0)) * 3
    entropy, mass = sharpness(logits.clone())
    x = np.sort(logits.double().numpy(), -1)[:, ::-1]
    p = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
    top = p[:, :10] / p[:, :10].sum(-1, keepdims=True)
    np.testing.assert_allclose(mass.numpy(), p[:, :10].sum(-1), rtol=1e-5)
    np.testing.assert_allclose(entropy.numpy(), -(top * np.log2(top)).sum(-1), rtol=1e-4)


def logits_of_all_kinds(size):
    """Peaked and flat rows, with ties and with tokens that cannot come, side by side."""
    generator = torch.Generator().manual_seed(size)
    spread = torch.tensor([0.0, 0.01, 0.5, 1.0, 2.0, 4.0, 8.0, 40.0])[:, None]
    logits = torch.randn(8, size, generator=generator) * spread
    logits[3] = logits[3].round()
    logits[5, ::2] = -torch.inf
    return logits


@pytest.mark.parametrize("size", [2, 16, 17, 300, 3000])
@pytest.mark.parametrize("top_p", [0.05, 0.5, 0.95, 0.9999])
def test_a_token_is_the_noisiest_of_the_nucleus_as_numpy_sorts_it_out(size, top_p):
    logits = logits_of_all_kinds(size)
    keys, positions = row_keys(0, [(str(i), 0) for i in range(8)]), torch.arange(8, dtype=torch.int32)
    chosen = choose(logits, keys, positions, temperature=0.7, top_p=top_p)
    noise = gumbel(keys, positions, torch.arange(size, dtype=torch.int32).expand(8, -1)).numpy()
    scaled = (logits / 0.7).numpy().astype(np.float64)
    for i in range(8):
        p = np.exp(scaled[i] - scaled[i].max())
        order = np.argsort(-scaled[i], kind="stable")
        mass = np.cumsum(p[order]) / p.sum()
        lowest = scaled[i][order[min(int((mass < top_p - 1e-6).sum()), size - 1)]]
        above = scaled[i][order[min(int((mass < top_p + 1e-6).sum()), size - 1)]]
        allowed = {
            int(np.where(scaled[i] >= limit, scaled[i] + noise[i], -np.inf).argmax())
            for limit in (lowest, above)
        }
        assert int(chosen[i]) in allowed
        alone = choose(logits[i : i + 1], keys[i : i + 1], positions[i : i + 1], temperature=0.7, top_p=top_p)
        assert int(alone) == int(chosen[i])


MANY_ROWS = [(f"prompt {i}", i % 3) for i in range(2000)]


@pytest.mark.parametrize("seed", [0, 1])
def test_the_noise_is_gumbels_along_rows_positions_and_tokens(seed):
    keys = row_keys(seed, MANY_ROWS)
    rows = gumbel(keys, torch.zeros(2000, dtype=torch.int32), torch.full((2000, 1), 7, dtype=torch.int32))
    one = keys[:1].expand(2000, -1)
    places = torch.arange(2000, dtype=torch.int32)
    positions = gumbel(one, places, torch.full((2000, 1), 7, dtype=torch.int32))
    tokens = gumbel(keys[:1], torch.zeros(1, dtype=torch.int32), places[None])
    for noise in (rows, positions, tokens):
        assert noise.dtype == torch.float32
        assert kstest(noise.flatten().numpy(), gumbel_r.cdf).pvalue > 1e-3
    apart = np.corrcoef([rows.flatten(), positions.flatten(), tokens.flatten()])
    assert np.abs(apart - np.eye(3)).max() < 0.1


@pytest.mark.parametrize("top_p", [0.9, 1.0])
def test_tokens_come_as_often_as_their_probability_says(top_p):
    logits = torch.tensor([3.0, 2.5, 2.0, 1.0, 0.0, -2.0])
    p = (logits / 0.8).softmax(-1).double().numpy()
    inside = p if top_p == 1 else np.where(np.cumsum(p) - p < top_p, p, 0.0)
    keys, n = row_keys(5, MANY_ROWS), len(MANY_ROWS)
    drawn = [
        choose(logits.expand(n, -1), keys, torch.full((n,), at), temperature=0.8, top_p=top_p)
        for at in range(5)
    ]
    counts = np.bincount(torch.cat(drawn).numpy(), minlength=6)
    assert counts[inside == 0].sum() == 0
    expected = inside[inside > 0] / inside.sum() * counts.sum()
    assert chisquare(counts[inside > 0], expected).pvalue > 1e-3


@settings(max_examples=20, deadline=None)
@given(st.integers(-5, 5), st.text(max_size=5), st.integers(0, 9), st.integers(0, 5000))
def test_noise_is_finite_and_a_function_of_its_coordinates(seed, name, sample, at):
    keys = row_keys(seed, [(name, sample), ("other", 0)])
    tokens = torch.arange(500, dtype=torch.int32)[None]
    both = gumbel(keys, torch.full((2,), at, dtype=torch.int32), tokens)
    assert torch.isfinite(both).all()
    assert torch.equal(both[:1], gumbel(keys[:1], torch.full((1,), at, dtype=torch.int32), tokens))


class Narrow(TorchDispatchMode):
    """A device with nothing wider than 32 bits of floating point, as Metal has it."""

    def __torch_dispatch__(self, call, types, args=(), kwargs=None):
        made = call(*args, **(kwargs or {}))
        for one in made if isinstance(made, tuple | list) else [made]:
            assert getattr(one, "dtype", None) != torch.float64, call
        return made


@pytest.mark.parametrize(("temperature", "top_p"), [(0.0, 1.0), (0.7, 0.95), (0.7, 1.0)])
def test_choosing_makes_no_number_of_64_bits(temperature, top_p):
    logits, keys = logits_of_all_kinds(300), row_keys(0, MANY_ROWS[:8])
    with Narrow():
        choose(logits, keys, torch.arange(8), temperature=temperature, top_p=top_p)
        sharpness(logits)


@pytest.mark.parametrize("top_p", [0.05, 0.95, 0.9999])
def test_few_candidates_and_many_settle_on_the_same_tokens(top_p):
    logits, keys = logits_of_all_kinds(3000), row_keys(0, MANY_ROWS[:8])
    at = torch.arange(8, dtype=torch.int32)
    found = [first_choice(logits, keys, at, temperature=0.7, top_p=top_p, few=few) for few in (True, False)]
    both = found[0][1] & found[1][1]
    assert found[1][1][both].all()
    assert torch.equal(found[0][0][both], found[1][0][both])
