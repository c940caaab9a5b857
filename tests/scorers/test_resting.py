"""A reward model that rests in main memory scores as one that does not, and always comes home."""

import gc
import shutil
import weakref

import numpy as np
import pytest
import torch

from rm_monitor import load_scorer
from rm_monitor.errors import ScorerError
from rm_monitor.scorers.run import resting
from tests.scorers.conftest import TEXTS, answers


@pytest.fixture
def copies(monkeypatch):
    """Coming to work makes copies, as it does where the device is not the CPU; they are counted."""
    made = []

    def copied(home, device):
        made.append(device)
        return home.clone()

    monkeypatch.setattr(resting, "_copied", copied)
    return made


def places(scorer):
    return [p.data_ptr() for p in scorer.reader.model.parameters()]


def test_scores_and_fingerprint_are_the_same_to_the_bit(llama_rm, copies):
    rows = answers(["one", "two three"])
    plain, rests = load_scorer(llama_rm, show=False), load_scorer(llama_rm, idle="cpu", show=False)
    assert not copies
    np.testing.assert_array_equal(rests.score(*rows).reward, plain.score(*rows).reward)
    assert set(copies) == {torch.device("cpu")}
    assert rests.fingerprint == plain.fingerprint


def test_the_network_works_on_the_copy_and_goes_home_even_when_it_fails(llama_rm, copies):
    scorer = load_scorer(llama_rm, idle="cpu", show=False)
    home, at_work = places(scorer), []

    def fail(*args, **kwargs):
        at_work.extend(places(scorer))
        raise KeyError("broken")

    scorer.reader.model.register_forward_pre_hook(fail)
    with pytest.raises(KeyError):
        scorer.score(*answers(["one"]))
    assert not set(at_work) & set(home)
    assert places(scorer) == home


def test_moving_a_resting_model_moves_only_where_it_works(llama_rm, copies):
    scorer = load_scorer(llama_rm, idle="cpu", show=False)
    scorer.to("cpu:0")
    scorer.score(*answers(["one"]))
    assert set(copies) == {torch.device("cpu:0")}


def test_a_model_spread_over_devices_or_quantised_is_refused():
    network = torch.nn.Linear(2, 1)
    network.hf_device_map = {"a": 0, "b": 1}
    with pytest.raises(ScorerError, match="spread over devices"):
        resting.Resting(network)
    network.hf_device_map = {"": 0}
    network.is_quantized = True
    with pytest.raises(ScorerError, match="quantised"):
        resting.Resting(network)


def test_another_place_to_rest_is_refused(llama_rm):
    with pytest.raises(ValueError, match="'device', 'cpu' or"):
        load_scorer(llama_rm, idle="disk", show=False)


# ------------------------------------------------------------------ nowhere at all


def held(scorer):
    """Bytes that the parameters of a network take, each storage once."""
    storages = {
        p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for p in scorer.reader.model.parameters()
    }
    return sum(storages.values())


def test_an_unloaded_model_scores_the_same_to_the_bit_and_holds_no_weights_before_and_after(llama_rm):
    rows = answers(TEXTS)
    plain, unloaded = load_scorer(llama_rm, show=False), load_scorer(llama_rm, idle="unload", show=False)
    size = held(plain)
    assert size > 100_000 > 40 * held(unloaded)
    for _ in range(2):
        np.testing.assert_array_equal(unloaded.score(*rows).reward, plain.score(*rows).reward)
        assert held(unloaded) < 2500
    assert unloaded.fingerprint == plain.fingerprint
    assert str(unloaded.describe()) == str(plain.describe())
    assert unloaded.memory == plain.memory  # what it takes while it works


def test_its_weights_are_at_work_inside_and_gone_even_when_a_forward_fails(llama_rm):
    scorer, seen = load_scorer(llama_rm, idle="unload", show=False), []
    scorer.reader.model.register_forward_pre_hook(lambda *_: seen.append(held(scorer)) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        scorer.score(*answers(["one"]))
    assert seen[0] > 100_000 > 40 * held(scorer)
    assert all(torch.isnan(p).all() for p in scorer.reader.model.parameters())


def test_files_that_were_changed_meanwhile_are_an_error_and_no_score(llama_rm, tmp_path):
    folder = shutil.copytree(llama_rm, tmp_path / "rm")
    scorer = load_scorer(folder, idle="unload", show=False)
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(bytes(content))
    with pytest.raises(ScorerError, match="files were changed since it was loaded"):
        scorer.score(*answers(["one"]))


def test_a_model_that_was_given_loaded_cannot_be_unloaded(llama_rm, chatml):
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(llama_rm)
    with pytest.raises(ScorerError, match="reads files again: give the model's folder"):
        load_scorer(model, tokenizer=chatml, idle="unload", show=False)


def test_nothing_that_was_loaded_for_a_scoring_is_alive_after_it(llama_rm, monkeypatch):
    from rm_monitor.scorers.run import networks

    loaded, load = [], networks._load

    def watched(*args, **more):
        model = load(*args, **more)
        loaded.extend(weakref.ref(p) for p in (model, *model.parameters()))
        return model

    scorer = load_scorer(llama_rm, idle="unload", show=False)
    monkeypatch.setattr(networks, "_load", watched)
    gc.disable()  # what only the collector finds would lie there for long
    try:
        scorer.score(*answers(["one"]))
        assert loaded
        assert not [one for one in loaded if one() is not None]
    finally:
        gc.enable()
