"""The mean of checkpoints' weights: in the numbers, in the files, and refused where there is none."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from rm_monitor.checkpoints import averaging
from rm_monitor.checkpoints.averaging import average_weights
from rm_monitor.checkpoints.disk import problem

NUMBERS = st.floats(-100, 100, width=32)


def write(folder, tensors, *, shards=1, config=None, adapter=False):
    """A checkpoint with these tensors, spread over some files."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = "adapter_" if adapter else ""
    (folder / f"{kind}config.json").write_text(json.dumps(config or {"model_type": "tiny"}))
    if shards == 1:
        save_file(tensors, folder / f"{kind}model.safetensors", metadata={"format": "pt"})
        return folder
    where = {name: f"model-{i % shards}.safetensors" for i, name in enumerate(sorted(tensors))}
    for file in set(where.values()):
        save_file({n: t for n, t in tensors.items() if where[n] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    return folder


def read(folder):
    return {n: t for path in folder.glob("*.safetensors") for n, t in load_file(path).items()}


def some(seed, dtype=torch.float32):
    drawn = torch.Generator().manual_seed(seed)
    shapes = {"a": (5, 3), "b": (7,), "scalar": (), "empty": (0, 4)}
    return {n: torch.randn(s, generator=drawn, dtype=torch.float64).to(dtype) for n, s in shapes.items()}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shards", [1, 2])
def test_the_mean_is_the_mean_that_torch_finds_in_double_precision(tmp_path, dtype, shards, monkeypatch):
    monkeypatch.setattr(averaging, "_ROOM", 16)  # tensors are read piece by piece
    tensors = {step: some(step, dtype) for step in (400, 600, 800)}
    folders = {s: write(tmp_path / str(s), t, shards=shards) for s, t in tensors.items()}
    facts = average_weights(folders, tmp_path / "mean")
    assert problem(tmp_path / "mean") is None
    found = read(tmp_path / "mean")
    for name in tensors[400]:
        exact = torch.stack([t[name].double() for t in tensors.values()]).mean(0)
        assert found[name].dtype == dtype
        assert torch.allclose(found[name].double(), exact, rtol=torch.finfo(dtype).eps, atol=1e-7)
    assert facts["steps"] == [400, 600, 800]
    assert all(len(c["sha256"]) == shards for c in facts["checkpoints"])


@settings(max_examples=25, deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=9), st.integers(2, 5), st.sampled_from(["f32", "bf16", "f16"]))
def test_the_mean_of_equal_weights_is_these_weights_to_the_bit(tmp_path_factory, numbers, copies, dtype):
    folder = tmp_path_factory.mktemp("equal")
    kind = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}[dtype]
    tensors = {"w": torch.tensor(numbers).to(kind)}
    average_weights({i: write(folder / str(i), tensors) for i in range(copies)}, folder / "mean")
    assert torch.equal(read(folder / "mean")["w"], tensors["w"])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=9))
def test_bfloat16_is_rounded_as_torch_rounds(tmp_path_factory, pairs):
    folder = tmp_path_factory.mktemp("rounded")
    a, b = (torch.tensor(x).bfloat16() for x in zip(*pairs, strict=True))
    average_weights({1: write(folder / "1", {"w": a}), 2: write(folder / "2", {"w": b})}, folder / "mean")
    assert torch.equal(read(folder / "mean")["w"], ((a.float() + b.float()) / 2).bfloat16())


def test_checkpoints_sharded_in_other_ways_have_a_mean_and_its_files_are_the_latest_ones(tmp_path):
    folders = {
        1: write(tmp_path / "1", some(1)),
        2: write(tmp_path / "2", some(2), shards=3),
    }
    (tmp_path / "2" / "trainer_state.json").write_text("{}")
    (tmp_path / "2" / "tokenizer.json").write_text("{}")
    average_weights(folders, tmp_path / "mean")
    names = {p.name for p in (tmp_path / "mean").iterdir()}
    assert "tokenizer.json" in names
    assert "trainer_state.json" not in names
    assert len(list((tmp_path / "mean").glob("*.safetensors"))) == 3
    assert np.allclose(read(tmp_path / "mean")["a"], (some(1)["a"] + some(2)["a"]) / 2)


def test_whole_numbers_that_agree_are_kept_and_those_that_differ_are_refused(tmp_path):
    def at(step, count):
        return write(tmp_path / str(step), {"w": torch.ones(2) * step, "count": torch.tensor([count])})

    average_weights({1: at(1, 7), 2: at(2, 7)}, tmp_path / "mean")
    assert read(tmp_path / "mean")["count"].tolist() == [7]
    with pytest.raises(ValueError, match="'count' is I64 and differs between steps 1 and 3"):
        average_weights({1: at(1, 7), 3: at(3, 8)}, tmp_path / "other")


LORA = {"peft_type": "LORA", "r": 2, "target_modules": ["q", "v"], "base_model_name_or_path": "base"}


def lora(folder, seed, r=2, **config):
    drawn = torch.Generator().manual_seed(seed)
    tensors = {"q.lora_A": torch.randn(r, 4, generator=drawn), "q.lora_B": torch.randn(4, r, generator=drawn)}
    return write(folder, tensors, config={**LORA, "r": r, **config}, adapter=True)


def test_adapters_are_averaged_in_their_own_parameters(tmp_path):
    other = lora(
        tmp_path / "2", 2, target_modules=["v", "q"], inference_mode=True
    )  # said otherwise, the same
    facts = average_weights({1: lora(tmp_path / "1", 1), 2: other}, tmp_path / "mean")
    found, a, b = (read(tmp_path / name) for name in ("mean", "1", "2"))
    assert facts["adapter"]
    assert problem(tmp_path / "mean") is None
    for name in a:
        assert np.allclose(found[name], (a[name].numpy() + b[name].numpy()) / 2)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: lora(f, 2, r=3), "`r` in adapter_config.json is 2 and 3"),
        (lambda f: lora(f, 2, base_model_name_or_path="x"), "`base_model_name_or_path` .* 'base' and 'x'"),
        (lambda f: lora(f, 2, target_modules=["q"]), "`target_modules`"),
        (lambda f: write(f, some(2)), "step 1 is an adapter and step 2 full weights"),
        (lambda f: f.mkdir(), "step 2 cannot be averaged: no safetensors weights"),
    ],
)
def test_what_has_no_mean_with_an_adapter_is_refused_by_name(tmp_path, spoil, said):
    spoil(tmp_path / "2")
    with pytest.raises(ValueError, match=said):
        average_weights({1: lora(tmp_path / "1", 1), 2: tmp_path / "2"}, tmp_path / "mean")
    assert not (tmp_path / "mean").exists()


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"a": torch.zeros(5, 2)}, r"'a' is F32 \[5, 3\] at step 1 and F32 \[5, 2\] at step 2"),
        ({"a": torch.zeros(5, 3).half()}, "'a' is F32 .* and F16"),
        ({"a": torch.zeros(5, 3), "b": torch.zeros(1)}, "only one has 'b'"),
        ({"a": torch.full((5, 3), torch.nan)}, "'a' of step 2 holds nan or infinity"),
    ],
)
def test_tensors_that_have_no_mean_are_refused_by_name(tmp_path, tensors, said):
    folders = {1: write(tmp_path / "1", {"a": torch.zeros(5, 3)}), 2: write(tmp_path / "2", tensors)}
    with pytest.raises(ValueError, match=said):
        average_weights(folders, tmp_path / "mean")


def test_models_of_other_settings_and_a_single_checkpoint_are_refused(tmp_path):
    folders = {1: write(tmp_path / "1", some(1)), 2: write(tmp_path / "2", some(2), config={"theta": 2})}
    with pytest.raises(ValueError, match="not of one model: `model_type`"):
        average_weights(folders, tmp_path / "mean")
    with pytest.raises(ValueError, match="at least two checkpoints, got 1"):
        average_weights({1: tmp_path / "1"}, tmp_path / "mean")


def test_a_real_model_loads_from_the_mean(tmp_path, tiny_policy_dir):
    from transformers import AutoModelForCausalLM

    shutil.copytree(tiny_policy_dir, tmp_path / "1")
    model = AutoModelForCausalLM.from_pretrained(tiny_policy_dir)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(3.0)
    model.save_pretrained(tmp_path / "2")
    average_weights({1: tmp_path / "1", 2: tmp_path / "2"}, tmp_path / "mean")
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "mean").state_dict()
    first = AutoModelForCausalLM.from_pretrained(Path(tiny_policy_dir)).state_dict()
    assert all(torch.allclose(found[name], 2 * first[name]) for name in first)
