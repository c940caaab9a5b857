"""A whole evaluation asks no device for 64-bit floating point: Apple's GPUs have none."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rm_monitor import RewardMonitor, Sampling
from rm_monitor.generators.engine import EngineGenerator
from rm_monitor.scorers.run import in_process


class No64(TorchDispatchMode):
    """Refuses numbers of 64-bit floating point, as Metal does."""

    def __torch_dispatch__(self, func, kinds, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for one in tree_leaves((args, kwargs, out)):
            if isinstance(one, torch.Tensor) and one.dtype in (torch.float64, torch.complex128):
                raise TypeError(f"Cannot convert a MPS Tensor to float64 dtype: {func}")
        return out


SAMPLINGS = {
    "greedy": Sampling(temperature=0.0, max_new_tokens=8),
    "a nucleus": Sampling(temperature=0.7, top_p=0.95, max_new_tokens=8, samples_per_prompt=2),
    "everything": Sampling(temperature=1.0, top_p=1.0, max_new_tokens=8),
}


@pytest.mark.parametrize(
    ("sampling", "pages"), [("greedy", None), ("a nucleus", None), ("a nucleus", 8), ("everything", 8)]
)
def test_a_whole_evaluation_asks_for_none(
    sampling, pages, tiny_policy, tiny_tokenizer, tiny_reward_model_dir, tmp_path, monkeypatch
):
    monkeypatch.setenv("RM_MONITOR_CACHE", str(tmp_path / "cache"))
    if pages:  # as elsewhere than on a CPU
        monkeypatch.setattr(in_process, "why_not", lambda *given: "padded, as on accelerators")
    monitor = RewardMonitor(
        str(tiny_reward_model_dir),
        ["Say hello to a friend.", "Say goodbye.", "Why?"],
        references=["Hello!", "Bye!", "Because."],
        every=1,
        output_dir=tmp_path,
        sampling=SAMPLINGS[sampling],
        generator=EngineGenerator(pages=pages),
        kl=True,
        report_to=[],
        on_error="raise",
    )
    with monitor, No64():
        for step in (0, 1):
            point = monitor.evaluate(tiny_policy, tiny_tokenizer, step=step)
            with torch.no_grad():
                for p in tiny_policy.parameters():
                    p.mul_(1.01)
    assert point.status == "ok"
    assert {"win_prob", "reward", "kl", "entropy"} <= set(point.metrics)


def test_the_mode_refuses_what_metal_refuses():
    with No64(), pytest.raises(TypeError, match="float64"):
        torch.zeros(2).double()
