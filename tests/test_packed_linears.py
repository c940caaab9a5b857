"""Packed linears say what plain ones say, and leave nothing behind."""

import pytest
import torch
from torch import nn

from rm_monitor.packed.linears import packed_linears

MANY = 1 << 40


class Own(nn.Linear):
    pass


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(40, 96), nn.ReLU(), nn.Linear(96, 24, bias=False), Own(24, 24))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("rows", [0, 1, 7, 300])
def test_packed_linears_say_what_plain_ones_say(dtype, rows):
    model = network().to(dtype)
    x = torch.randn(1, rows, 40, dtype=dtype)
    with torch.no_grad():
        expected = model(x)
        with packed_linears(model, MANY):
            found = model(x)
    torch.testing.assert_close(found, expected)


def test_only_plain_linears_are_packed_and_all_are_as_before_after_a_failure():
    model = network()
    before = [dict(vars(m)) for m in model.modules()]
    with packed_linears(model, MANY) as count:
        assert count == 2  # a subclass of Linear may do more than multiply
        assert ["forward" in vars(m) for m in model] == [True, False, True, False]
    with pytest.raises(RuntimeError, match=r"product|size"), packed_linears(model, MANY):
        model(torch.zeros(1, 39))
    assert [dict(vars(m)).keys() for m in model.modules()] == [b.keys() for b in before]


def test_hooked_linears_and_models_above_the_limit_stay_plain():
    model = network()
    model[0].register_forward_hook(lambda *_: None)
    with packed_linears(model, MANY) as count:
        assert count == 1
    with packed_linears(network(), limit=100) as count:
        assert count == 0


def test_weights_changed_between_evaluations_are_seen():
    model = network()
    x = torch.randn(5, 40)
    with torch.no_grad():
        for _ in range(2):
            with packed_linears(model, MANY):
                torch.testing.assert_close(model(x), network_by_hand(model, x))
            model[0].weight.add_(0.1)


def network_by_hand(model, x):
    first, _, second, third = model
    hidden = (x @ first.weight.T + first.bias).clamp_min(0)
    return hidden @ second.weight.T @ third.weight.T + third.bias


def test_mixed_precision_inside_a_forward_is_left_to_torch():
    model, x = network(), torch.randn(5, 40)
    with torch.no_grad(), packed_linears(model, MANY) as count, torch.autocast("cpu", torch.bfloat16):
        assert count == 2  # accelerate's autocast begins inside the model's forward, after packing
        assert model(x).dtype == torch.bfloat16


def test_under_mixed_precision_nothing_is_packed_that_nobody_reads(monkeypatch):
    model, packed = network(), []
    reorder = torch.ops.mkldnn._reorder_linear_weight
    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", lambda w: packed.append(w) or reorder(w))
    x = torch.randn(3, 40)
    with torch.no_grad(), packed_linears(model, MANY):
        assert len(packed) == 1  # to see whether it works at all
        with torch.autocast("cpu", torch.bfloat16):
            found = model(x)
        assert len(packed) == 1
        model(x)
        model(x)
        assert len(packed) == 3
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(found, model(x))


@pytest.mark.parametrize("inference", [False, True])
def test_an_input_that_is_written_into_between_two_linears_is_cast_anew(inference):
    pair = nn.ModuleList([nn.Linear(16, 8), nn.Linear(16, 8)])
    x = torch.randn(3, 16)
    with (
        torch.inference_mode(inference),
        torch.autocast("cpu", dtype=torch.bfloat16),
        packed_linears(pair, MANY, torch.bfloat16),
    ):
        x = x.clone()
        pair[0](x)
        x.mul_(2)
        found = pair[1](x)
        torch.testing.assert_close(found, pair[1](x.clone()), rtol=0, atol=0)
