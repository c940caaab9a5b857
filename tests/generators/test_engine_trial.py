"""A trial that went well is remembered on this machine; the next run looks again, in a few forwards."""

import logging

import pytest
import torch
import transformers as hf

from rm_monitor.generators.engine import EngineGenerator
from rm_monitor.generators.engine import generator as module
from rm_monitor.generators.engine.remembered import Trials, setting_of
from rm_monitor.generators.engine.scope import wrappings
from rm_monitor.generators.hf import HFGenerator
from tests.generators.test_engine import FAMILIES, GREEDY, GROUPED, TwoFaced, answers, make, said


@pytest.fixture
def trials(monkeypatch, tmp_path):
    """Where this machine remembers, empty; and how often `generate` was asked."""
    monkeypatch.setenv("RM_MONITOR_CACHE", str(tmp_path))
    asked, compare = [], module.disagreement
    monkeypatch.setattr(module, "disagreement", lambda *given: asked.append(1) or compare(*given))
    return asked


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_second_run_asks_generate_nothing_and_answers_the_same(kind, trials):
    first = said(answers(EngineGenerator(), make(FAMILIES[kind]), GREEDY))
    again, other = EngineGenerator(), make(FAMILIES[kind], 3)
    assert said(answers(again, make(FAMILIES[kind]), GREEDY)) == first
    answers(again, other, GREEDY)  # other weights of the same shape
    assert trials == [1]
    assert again.facts is not None


def test_what_went_well_once_and_does_not_any_more_is_tried_again_and_handed_over(trials, caplog):
    def build():
        return make(lambda: TwoFaced(hf.LlamaConfig(**GROUPED)))

    with pytest.MonkeyPatch.context() as healed:  # no name knows that the code of a class was changed
        healed.setattr(TwoFaced, "forward", hf.LlamaForCausalLM.forward)
        healthy = EngineGenerator()
        answers(healthy, build(), GREEDY)
    assert healthy.facts is not None
    (kept,) = Trials().folder.iterdir()
    with caplog.at_level(logging.WARNING, logger="rm_monitor"):
        found = answers(EngineGenerator(), build(), GREEDY)
    assert "generate says" in caplog.text
    assert said(found) == said(answers(HFGenerator(), build(), GREEDY))
    assert not kept.exists()
    assert trials == [1, 1]


def test_whatever_a_trial_depends_on_is_in_its_name():
    def name(build=FAMILIES["Llama"], mixed=None, hang=None, seed=0, dtype=torch.float32, choice=None):
        model = make(build, seed).to(dtype)
        if hang:
            model.model.layers[0].register_forward_hook(hang)
        return setting_of(model, wrappings(model), mixed, choice)

    same = name()
    assert same == name(seed=5)
    others = [
        name(FAMILIES["Qwen2"]),
        name(lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**{**GROUPED, "rms_norm_eps": 1e-3}))),
        name(lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**{**GROUPED, "intermediate_size": 32}))),
        name(mixed=torch.bfloat16),
        name(dtype=torch.bfloat16),
        name(hang=lambda *given: None),
        name(choice=4),
    ]
    assert len({same, *others}) == 8


def test_a_folder_that_cannot_be_written_costs_a_trial_and_nothing_else(trials, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RM_MONITOR_CACHE", str(tmp_path / "file"))
    for _ in range(2):
        engine = EngineGenerator()
        answers(engine, make(FAMILIES["Llama"]), GREEDY)
        assert engine.facts is not None
    assert trials == [1, 1]
