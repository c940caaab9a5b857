"""A step that is recorded once and played again, where a device can (CUDA graphs)."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch

__all__ = ["Recording"]

log = logging.getLogger("rm_monitor")


class Recording:
    """Runs a step, at first as it is and from the second time on from its recording.

    The step must read and write the same tensors each time and wait for nothing. What cannot be recorded is
    run as it is, and the log says so once a process.

    Args:
        step: Without arguments; what it makes is left in tensors of its own.
        device: Where it runs.
    """

    refused = False  # a recording failed in this process

    def __init__(self, step: Callable[[], None], device: torch.device) -> None:
        self._step, self._device = step, device
        self._graph: torch.cuda.CUDAGraph | None = None
        self._warm = False

    def __call__(self) -> None:
        """The step."""
        if self._graph is None and self._warm and self._device.type == "cuda" and not Recording.refused:
            self._record()
        if self._graph is None:
            self._step()
            self._warm = True  # kernels are chosen and buffers made: the next time can be recorded
        else:
            self._graph.replay()

    def _record(self) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.device(self._device), torch.cuda.graph(graph):
                self._step()
        except RuntimeError as problem:
            Recording.refused = True
            log.warning("decode steps are not recorded as CUDA graphs, which is slower: %s", problem)
            torch.cuda.synchronize(self._device)
            return
        self._graph = graph
