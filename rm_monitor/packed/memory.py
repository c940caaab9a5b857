"""How much memory may be taken beside what a training job needs."""

from __future__ import annotations

import torch

__all__ = ["free_memory"]

SHARE = 0.25  # of the free memory


def free_memory(device: torch.device) -> int:
    """Bytes that may be taken: a quarter of what is free."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] * SHARE)
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            facts = dict(line.split(":", 1) for line in lines)
        return int(int(facts["MemAvailable"].split()[0]) * 1024 * SHARE)
    except (OSError, KeyError, ValueError):
        return 1 << 30
