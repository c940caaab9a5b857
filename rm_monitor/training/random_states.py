"""The random states that training draws from: Python's, numpy's, torch's, every accelerator's."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

__all__ = ["random_states"]

_ACCELERATORS = (
    "cuda",
    "xpu",
    "npu",
    "hpu",
    "mlu",
    "musa",
)  # each a module of torch, by itself or a plug-in's


def random_states() -> Iterator[Callable[[], Any]]:
    """What puts each of them back."""
    python, numpy_state, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002  the global one
    yield lambda: random.setstate(python)
    yield lambda: np.random.set_state(numpy_state)  # noqa: NPY002
    yield lambda: torch.set_rng_state(cpu)
    for name in _ACCELERATORS:
        device = getattr(torch, name, None)
        if device is not None and device.is_available() and device.is_initialized():
            states = device.get_rng_state_all()
            yield partial(device.set_rng_state_all, states)
    mps = getattr(torch.backends, "mps", None)
    if mps is not None and mps.is_available():
        state = torch.mps.get_rng_state()
        yield lambda: torch.mps.set_rng_state(state)
