"""Folders that torch's own distributed checkpointing wrote are judged, and nothing in them is run."""

import io
import pickle
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.metadata import _MEM_FORMAT_ENCODING
from transformers import AutoModelForCausalLM

from rm_monitor.checkpoints.dcp import _Descriptions, into, is_dcp
from rm_monitor.sweep.discover import Source


@pytest.fixture
def trained(tiny_policy_dir):
    model = AutoModelForCausalLM.from_pretrained(tiny_policy_dir)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1.0)
    return model


def saved(model, folder, nest):
    """As a trainer saves it: the optimizer's state and plain objects beside the weights."""
    optimizer = torch.optim.AdamW(model.parameters())
    model(input_ids=torch.ones(1, 2, dtype=torch.long)).logits.sum().backward()
    optimizer.step()
    state = {"optimizer": optimizer.state_dict(), "step": 20, "note": "text", **nest(model.state_dict())}
    dcp.save(state, checkpoint_id=folder, no_dist=True)
    return folder


NESTS = {
    "FSDP of accelerate": lambda weights: {"model": weights},
    "flat": lambda weights: weights,
    "deep": lambda weights: {"app": {"model": weights}},
    "without the tied head": lambda weights: {
        "model": {name: w for name, w in weights.items() if name != "lm_head.weight"}
    },
}


@pytest.mark.parametrize("nest", NESTS)
def test_every_weight_is_read_wherever_the_model_lies_in_the_state(trained, tiny_policy_dir, tmp_path, nest):
    fresh = AutoModelForCausalLM.from_pretrained(tiny_policy_dir)
    if nest == "without the tied head":
        for model in (trained, fresh):
            model.config.tie_word_embeddings = True
            model.lm_head.weight = model.get_input_embeddings().weight
    folder = saved(trained, tmp_path / "dcp", NESTS[nest])
    assert is_dcp(folder)
    into(fresh, folder)
    for name, weight in trained.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], weight), name


def test_weights_of_another_model_are_refused_with_their_names(trained, tmp_path):
    folder = saved(trained, tmp_path / "dcp", lambda weights: {f"layers.{k}": w for k, w in weights.items()})
    trained.config.hidden_size *= 2
    other = type(trained)(trained.config)
    with pytest.raises(
        ValueError, match=r"holds other weights than a LlamaForCausalLM has: .* have another shape"
    ):
        into(other, folder)


class Evil:
    def __reduce__(self):
        return Path.touch, (Path("touched"),)


def test_metadata_that_would_run_code_is_refused(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = saved(trained, tmp_path / "dcp", NESTS["flat"])
    (folder / ".metadata").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match="describes no tensor"):
        into(trained, folder)
    assert not Path("touched").exists()


def test_metadata_that_names_a_file_elsewhere_is_refused(trained, tmp_path):
    folder = saved(trained, tmp_path / "dcp", NESTS["flat"])
    metadata = pickle.loads((folder / ".metadata").read_bytes())
    for info in metadata.storage_data.values():
        info.relative_path = "../elsewhere"
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))
    with pytest.raises(ValueError, match=r"'\.\./elsewhere', which is no file there"):
        into(trained, folder)


@pytest.mark.parametrize("inside", ["", "pytorch_model_fsdp_0"])
def test_a_sweep_finds_and_loads_them_by_the_configuration_of_the_base(
    trained, tiny_policy_dir, tmp_path, inside
):
    for step in (10, 20):
        saved(trained, tmp_path / f"step-{step}" / inside, NESTS["FSDP of accelerate"])
    alone = Source(folder=tmp_path).discover()
    assert [f.step for f in alone] == [10, 20]
    assert all("torch's distributed format: --model-config" in f.problem for f in alone)
    source = Source(folder=tmp_path, base=str(tiny_policy_dir))
    found = source.discover()
    assert [f.problem for f in found] == [None, None]
    model, tokenizer = source.load(found[1].path)
    assert torch.equal(model.lm_head.weight, trained.lm_head.weight)
    assert not model.training
    assert tokenizer is not None


def test_a_checkpoint_that_is_still_being_written_is_not_ready(trained, tiny_policy_dir, tmp_path):
    folder = saved(trained, tmp_path / "step-10", NESTS["flat"])
    (folder / ".metadata").unlink()  # torch writes it last
    (found,) = Source(folder=tmp_path, base=str(tiny_policy_dir)).discover()
    assert found.problem is not None


class ByName:
    """A member of an enumeration as Python 3.11.0 to 3.11.3 pickle one, or whatever else `getattr` gives."""

    def __init__(self, kind, name):
        self.named = kind, name

    def __reduce__(self):
        return getattr, self.named


def test_a_member_of_an_enumeration_is_read_by_its_name_and_nothing_else_is():
    member = _MEM_FORMAT_ENCODING.TORCH_PRESERVE_FORMAT
    assert _Descriptions(io.BytesIO(pickle.dumps(ByName(_MEM_FORMAT_ENCODING, member.name)))).load() is member
    for kind, name in ((Path, "touch"), (Path, "home"), (_MEM_FORMAT_ENCODING, "mro")):
        with pytest.raises(ValueError, match=f"for '{name}', which describes no tensor"):
            _Descriptions(io.BytesIO(pickle.dumps(ByName(kind, name)))).load()
