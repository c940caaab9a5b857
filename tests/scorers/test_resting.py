"""A reward model that rests in main memory scores as one that does not, and always comes home."""

import numpy as np
import pytest
import torch

from rm_monitor import load_scorer
from rm_monitor.errors import ScorerError
from rm_monitor.scorers.run import resting
from tests.scorers.conftest import answers


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
    with pytest.raises(ValueError, match="'device' or 'cpu'"):
        load_scorer(llama_rm, idle="disk", show=False)
