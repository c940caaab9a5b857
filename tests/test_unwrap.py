"""Below the wrappers: the module that answers, and the tokenizer inside a processor."""

import pytest
import torch
from transformers import ProcessorMixin

from rm_monitor import RewardMonitor, Sampling
from rm_monitor.generators.server.weights import written
from rm_monitor.testing.tiny import make_policy, make_tokenizer
from rm_monitor.training.unwrap import tokenizer_of, unwrap


class TextProcessor(ProcessorMixin):
    """A multimodal model's processor with nothing but a tokenizer in it."""

    def __init__(self, tokenizer, chat_template=None):
        super().__init__(tokenizer, chat_template=chat_template)

    @classmethod
    def get_attributes(cls):
        return ["tokenizer"]


class _FabricModule(torch.nn.Module):
    """Lightning Fabric's wrapper as version 2.6 builds it: what it is asked for, it asks its inside."""

    def __init__(self, forward_module, original_module):
        super().__init__()
        self._forward_module = forward_module
        self._original_module = original_module

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("_original_module"), name)

    def forward(self, *args, **kwargs):
        raise RuntimeError("generate() was not marked as a forward method")


@pytest.fixture
def tokenizer():
    return make_tokenizer()


def test_fabrics_wrapper_is_taken_off_together_with_the_strategys_own():
    linear = torch.nn.Linear(2, 2)
    assert unwrap(_FabricModule(linear, linear)) is linear
    assert unwrap(_FabricModule(torch.nn.DataParallel(linear), linear)) is linear


def test_below_fabric_a_compiled_module_is_found_whichever_lies_outside():
    linear = torch.nn.Linear(2, 2)
    compiled = torch.compile(linear)
    assert unwrap(_FabricModule(compiled, compiled)) is linear


def test_what_fabric_wraps_is_answered_for_without_its_forward(tokenizer, tmp_path):
    policy = make_policy(tokenizer, 0)
    monitor = RewardMonitor(
        lambda prompts, answers: [0.0 for _ in answers],
        ["count from one to two"],
        every=1,
        sampling=Sampling(max_new_tokens=4, temperature=0.0),
        output_dir=tmp_path,
        report_to="none",
    )
    point = monitor.step(0, _FabricModule(torch.nn.DataParallel(policy), policy), tokenizer)
    assert point.status == "ok", point.reason


def test_a_tokenizer_stands_for_itself(tokenizer):
    assert tokenizer_of(tokenizer) is tokenizer
    assert tokenizer_of(None) is None


def test_a_processor_hands_out_its_tokenizer(tokenizer):
    assert tokenizer_of(TextProcessor(tokenizer, tokenizer.chat_template)) is tokenizer


def test_a_processors_own_template_goes_first_and_the_tokenizer_is_not_changed(tokenizer):
    before = tokenizer.chat_template
    found = tokenizer_of(TextProcessor(tokenizer, "{{ messages[0]['content'] }} to <end>"))
    ids = found.apply_chat_template([{"role": "user", "content": "count"}], return_dict=False)
    assert found.decode(ids) == "count to <end>"
    assert tokenizer.chat_template == before


def test_a_tokenizer_that_wraps_another_one_is_no_processor(tokenizer):
    tokenizer.tokenizer = object()
    assert tokenizer_of(tokenizer) is tokenizer


def test_a_policy_that_is_trained_through_a_processor_is_answered_for(tokenizer, tmp_path):
    monitor = RewardMonitor(
        lambda prompts, answers: [0.0 for _ in answers],
        ["count from one to two"],
        every=1,
        sampling=Sampling(max_new_tokens=4, temperature=0.0),
        output_dir=tmp_path,
        report_to="none",
    )
    processor = TextProcessor(tokenizer, tokenizer.chat_template)
    point = monitor.step(0, make_policy(tokenizer, 0), processor)
    assert point.status == "ok", point.reason


def test_what_a_server_is_given_lies_below_every_wrapper(tokenizer, tmp_path):
    policy = make_policy(tokenizer, 0)
    for wrapped in (torch.nn.DataParallel(policy), torch.compile(torch.nn.DataParallel(policy))):
        folder, keep = written(wrapped, str(tmp_path))
        assert (folder / "model.safetensors").is_file()
        keep.cleanup()
