"""Cheap picking against torch's own, ties and odd numbers included."""

import numpy as np
import pytest
import torch

from rm_monitor.generators.noise import choose, gumbel, row_keys
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
    keys, positions = row_keys(0, [(str(i), 0) for i in range(8)]), torch.arange(8)
    chosen = choose(logits, keys, positions, temperature=0.7, top_p=top_p)
    noise = gumbel(keys, positions, torch.arange(size).expand(8, -1)).numpy()
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
