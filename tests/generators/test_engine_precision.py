"""One precision for an evaluation: what is cast is cast once, and how coarsely it computes is known."""

import pytest
import torch
import transformers as hf
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch.utils._python_dispatch import TorchDispatchMode

from rm_monitor.generators.engine import EngineGenerator
from rm_monitor.generators.engine.arena import Arena
from rm_monitor.generators.hf import HFGenerator
from rm_monitor.packed.precision import mixed_precision, one_precision, product_eps
from rm_monitor.training.undisturbed import undisturbed
from tests.generators.test_engine import DRAWN, FAMILIES, GREEDY, GROUPED, OTHERS, answers, make, said

LOW = {"bf16": torch.bfloat16, "no": None}


def trained(build, precision="bf16"):
    """A float32 model inside a trainer's mixed precision, as TRL's defaults make one."""
    return wrapped(make(build), precision)


def wrapped(model, precision="bf16"):
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(mixed_precision=precision, cpu=True).prepare_model(model, evaluation_mode=True)


class Casts(TorchDispatchMode):
    """Notes which tensors are cast."""

    def __init__(self):
        super().__init__()
        self.of = []

    def __torch_dispatch__(self, call, types, args=(), kwargs=None):
        if call._schema.name == "aten::_to_copy" and args[0].dtype == torch.float32:
            self.of.append(args[0].data_ptr())
        return call(*args, **(kwargs or {}))


@pytest.mark.parametrize("precision", LOW)
@pytest.mark.parametrize("kind", ["Llama", "GPT-2"])
def test_the_precision_of_a_trainer_is_found_without_computing_anything(precision, kind):
    model = trained(FAMILIES[kind], precision)
    with Casts() as casts:
        assert mixed_precision(model) == LOW[precision]
    assert casts.of == []
    assert not any(m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("kind", OTHERS)
def test_it_is_found_in_every_architecture_that_has_embeddings(kind):
    assert mixed_precision(trained(OTHERS[kind])) == torch.bfloat16


@pytest.mark.parametrize("frozen", [False, True], ids=["learns", "frozen under an adapter"])
@pytest.mark.parametrize("generator", [EngineGenerator, HFGenerator])
def test_a_weight_is_cast_once_an_evaluation(generator, frozen):
    model = trained(FAMILIES["Llama"])
    model.requires_grad_(not frozen)
    generator = generator()
    answers(generator, model, GREEDY, seed=1)  # the trial
    weights = [m.weight for m in model.modules() if isinstance(m, torch.nn.Linear)]
    with undisturbed(model), Casts() as casts:
        answers(generator, model, GREEDY)
    if frozen and isinstance(generator, HFGenerator):
        pytest.skip("torch keeps no cast of a frozen weight, and generate has no other")
    counts = [casts.of.count(w.data_ptr()) for w in weights]
    assert 1 in counts
    smallest = min(range(len(weights)), key=lambda i: weights[i].numel())
    counts[smallest] = 1  # tried against torch's own at the start of each evaluation
    assert max(counts) == 1


@pytest.mark.parametrize("sampling", [GREEDY, DRAWN], ids=["greedy", "drawn"])
@pytest.mark.parametrize("kind", FAMILIES)
def test_casts_that_are_kept_change_no_answer_of_generate(kind, sampling):
    """`generate` as it is: each forward enters and leaves the trainer's own context."""
    model = trained(FAMILIES[kind])
    found = answers(HFGenerator(), model, sampling)
    kept = HFGenerator.generate.__globals__["one_precision"]
    try:
        HFGenerator.generate.__globals__["one_precision"] = lambda _: torch.no_grad()
        assert said(found) == said(answers(HFGenerator(), model, sampling))
    finally:
        HFGenerator.generate.__globals__["one_precision"] = kept


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_engine_serves_every_family_under_mixed_precision(kind):
    model = trained(FAMILIES[kind])
    engine = EngineGenerator()
    answers(engine, model, GREEDY)
    assert engine.facts is not None, engine._reason


def test_keys_are_kept_in_the_dtype_that_attention_reads():
    arena, key, value = Arena(), torch.ones(1, 2, 4), torch.ones(1, 2, 4, dtype=torch.bfloat16)
    arena.slots = 4
    with torch.autocast("cpu", torch.bfloat16):
        keys, values = arena.write(0, torch.tensor([1, 2]), key, value)
    assert keys.dtype == values.dtype == torch.bfloat16
    assert keys[0, :, 0].tolist() == [0, 1, 1, 0]


def test_weights_of_the_next_step_are_cast_anew():
    model = trained(FAMILIES["Llama"])
    engine = EngineGenerator()
    with undisturbed(model):
        before = said(answers(engine, model, GREEDY))
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(-1.0)
    with undisturbed(model):
        after = said(answers(engine, model, GREEDY))
        assert after != before
        assert after == said(answers(EngineGenerator(), model, GREEDY))


def test_adapters_are_judged_in_the_precision_that_they_are_trained_in():
    peft = pytest.importorskip("peft")
    base = make(FAMILIES["Llama"])
    model = peft.get_peft_model(
        base, peft.LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False)
    )
    model = wrapped(model)
    with one_precision(model) as dtype:
        assert dtype == torch.bfloat16
    engine = EngineGenerator()
    answers(engine, model, GREEDY)
    assert engine.facts is not None, engine._reason


def test_products_of_another_precision_are_known_to_the_trial():
    matmul = torch.backends.mkldnn.matmul
    exact, before = product_eps(torch.device("cpu")), matmul.fp32_precision
    try:
        matmul.fp32_precision = "bf16"
        assert product_eps(torch.device("cpu")) == torch.finfo(torch.bfloat16).eps > exact
        engine = EngineGenerator()
        answers(engine, make(lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**GROUPED))), GREEDY)
        assert engine.facts is not None, engine._reason
    finally:
        matmul.fp32_precision = before
