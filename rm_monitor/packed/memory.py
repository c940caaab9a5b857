"""How much memory may be taken beside what a training job needs, asked of who owns it.

On an accelerator that is torch's allocator: in the middle of a training it holds nearly the whole card, and
what it holds and nobody uses is free for us, while the driver says that next to nothing is. On Linux it is
the control group: a container of 16 GB on a host of 512 GB ends when it has taken 16.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

__all__ = ["free_memory", "give_back"]

SHARE = 0.25  # of the free memory
UNKNOWN = 1 << 30  # taken as free where nobody says
UNLIMITED = 1 << 60  # how cgroup v1 says that there is no limit: about 2^63


def free_memory(device: torch.device) -> int:
    """Bytes that may be taken: a quarter of what is free."""
    if device.type == "cpu":
        return int(min([_host(), *_groups(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))]) * SHARE)
    if device.type == "mps":  # one memory with the host's: what Metal recommends, less what lives there
        return max(
            0, int((torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()) * SHARE)
        )
    return int(_free_on(device) * SHARE)


def give_back(device: torch.device) -> None:
    """Return to the driver what the allocator holds and nobody uses."""
    if device.type != "cpu":
        torch.get_device_module(device.type).empty_cache()


def _free_on(device: torch.device) -> int:
    """Free for tensors: at the driver, or held by the allocator and unused."""
    here: Any = torch.get_device_module(device.type)
    total: int
    free, total = map(int, here.mem_get_info(device))
    reserved, allocated = int(here.memory_reserved(device)), int(here.memory_allocated(device))
    free += reserved - allocated
    if device.type == "cuda":  # `set_per_process_memory_fraction`
        free = min(free, int(torch.cuda.get_per_process_memory_fraction(device) * total) - allocated)
    return max(0, free)


def _host() -> int:
    """Available bytes of main memory."""
    try:
        facts = _facts(Path("/proc/meminfo"), ":")
        return int(facts["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError, IndexError):
        return UNKNOWN


def _groups(mine: Path, root: Path) -> Iterator[int]:
    """Bytes left in each control group that this process is in: its own and those around it."""
    try:
        lines = mine.read_text(encoding="utf-8").splitlines()
    except OSError:
        return  # not Linux
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            yield from _chain(root, path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
            yield from _chain(root / "memory", path, *names)


def _chain(root: Path, path: str, limit: str, used: str, reclaimable: str) -> Iterator[int]:
    """From a group up to the root; in a container the path is the host's, and the root is its own group."""
    for parts in range(len(Path(path).parts), 0, -1):
        group = root.joinpath(*Path(path).parts[1:parts])
        try:
            most = int((group / limit).read_text())  # "max" is no number: no limit
            taken = int((group / used).read_text())
            files = int(_facts(group / "memory.stat", " ").get(reclaimable, "0"))
        except (OSError, ValueError):
            continue
        if most < UNLIMITED:
            yield max(0, most - max(0, taken - files))


def _facts(path: Path, separator: str) -> dict[str, str]:
    lines = path.read_text(encoding="ascii").splitlines()
    return {name: value for name, _, value in (line.partition(separator) for line in lines)}
