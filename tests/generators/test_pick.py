"""Cheap picking against torch's own, ties and odd numbers included."""

import numpy as np
import pytest
import torch

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
