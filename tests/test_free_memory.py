"""Memory is asked of its owner: the allocator on an accelerator, the control group on Linux."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rm_monitor.errors import is_out_of_memory
from rm_monitor.packed import memory
from rm_monitor.packed.memory import free_memory

GB = 1 << 30
KINDS = ("cuda", "xpu", "npu")


def device(kind):
    """A device that this torch need not have."""
    return SimpleNamespace(type=kind)


@pytest.fixture
def card(monkeypatch):
    """A card whose driver and allocator say what a test wants."""

    def build(free, total, reserved, allocated, fraction=1.0):
        module = SimpleNamespace(
            mem_get_info=lambda _: (free, total),
            memory_reserved=lambda _: reserved,
            memory_allocated=lambda _: allocated,
        )
        monkeypatch.setattr(torch, "get_device_module", lambda _: module)
        monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda _: fraction)

    return build


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("free", "reserved", "allocated", "ours"),
    [(62, 17, 16, 63), (8, 70, 34, 44), (2, 76, 34, 44), (0, 80, 80, 0)],
    ids=["fresh", "in training", "in training, tight", "full"],
)
def test_what_the_allocator_holds_unused_is_free(card, kind, free, reserved, allocated, ours):
    card(free * GB, 80 * GB, reserved * GB, allocated * GB)
    assert free_memory(device(kind)) == ours * GB // 4


def test_a_share_of_the_card_that_was_set_is_kept(card):
    card(60 * GB, 80 * GB, 10 * GB, 10 * GB, fraction=0.25)
    assert free_memory(device("cuda")) == 10 * GB // 4


def test_on_a_mac_memory_is_what_metal_recommends(monkeypatch):
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 12 * GB)
    monkeypatch.setattr(torch.mps, "current_allocated_memory", lambda: 4 * GB)
    assert free_memory(device("mps")) == 2 * GB


def group(folder: Path, limit, used, files=0, *, old=False):
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    most, now, stat = names if old else ("memory.max", "memory.current", "inactive_file")
    (folder / most).write_text(f"{limit}\n")
    (folder / now).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon {used - files}\n{stat} {files}\n")


def left(tmp_path, line):
    (tmp_path / "self").write_text(line)
    return list(memory._groups(tmp_path / "self", tmp_path / "root"))


def test_the_groups_around_ours_limit_it_too(tmp_path):
    root = tmp_path / "root"
    group(root / "pod" / "job", "max", 3 * GB)
    group(root / "pod", 16 * GB, 10 * GB, files=2 * GB)
    assert left(tmp_path, "0::/pod/job\n") == [8 * GB]  # cached files give way


def test_inside_a_container_the_path_is_the_hosts_and_the_limit_lies_at_the_root(tmp_path):
    group(tmp_path / "root", 4 * GB, GB)
    assert left(tmp_path, "0::/kubepods/burstable/pod1/x\n") == [3 * GB]


@pytest.mark.parametrize(("limit", "found"), [(4 * GB, [3 * GB]), (9223372036854771712, [])])
def test_the_first_version_of_control_groups_is_read_too(tmp_path, limit, found):
    group(tmp_path / "root" / "memory" / "job", limit, GB, old=True)
    assert left(tmp_path, "5:cpu,cpuacct:/job\n4:memory:/job\n") == found


@given(limit=st.integers(0, 1 << 45), used=st.integers(0, 1 << 45), host=st.integers(0, 1 << 45))
def test_a_cpu_has_a_quarter_of_the_least_that_anybody_says(tmp_path_factory, limit, used, host):
    folder = tmp_path_factory.mktemp("groups")
    group(folder / "root", limit, used)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "_host", lambda: host)
        found = left(folder, "0::/\n")
        patch.setattr(memory, "_groups", lambda *_: iter(found))
        assert free_memory(torch.device("cpu")) == int(min(host, max(0, limit - used)) * 0.25)


@pytest.mark.parametrize(
    "said",
    [
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "NCCL error: unhandled cuda error ... Cuda failure 2 'out of memory'",
        "MPS backend out of memory (MPS allocated: 17.90 GB)",
        "HIP out of memory. Tried to allocate 2.00 GiB",
        "[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory",
        "XPU out of memory. Tried to allocate 1.00 GiB",
        "NPU out of memory. Tried to allocate 20.00 MiB",
    ],
)
def test_out_of_memory_is_known_by_all_its_names(said):
    assert is_out_of_memory(RuntimeError(said))


@pytest.mark.parametrize("said", ["CUDA error: device-side assert triggered", "shapes do not match"])
def test_other_failures_are_not_out_of_memory(said):
    assert not is_out_of_memory(RuntimeError(said))
