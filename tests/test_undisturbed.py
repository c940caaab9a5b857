"""Whatever happens inside, training reads the same state afterwards; each restore line is needed."""

import copy
import random
import re
import threading
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

import rm_monitor.training.undisturbed as module
from rm_monitor.training import hooks, module_state, random_states

PARTS = {
    part.__name__: Path(part.__file__).read_text(encoding="utf-8").splitlines()
    for part in (module, module_state, random_states)
}
RESTORE = re.compile(
    r"\s+(yield (lambda|partial|torch|from _s)|after\.callback\([om]|(model\.eval|part\.train)\()"
)
RESTORES = [
    (name, number)
    for name, lines in PARTS.items()
    for number, line in enumerate(lines)
    if RESTORE.match(line)
]


class ScheduleFree:
    """Has train() and eval() weights, as schedule-free optimizers do."""

    mode = "train"

    def train(self):
        self.mode = "train"

    def eval(self):
        self.mode = "eval"


CUDA = torch.backends.cuda
KERNELS = {
    CUDA.flash_sdp_enabled: CUDA.enable_flash_sdp,
    CUDA.mem_efficient_sdp_enabled: CUDA.enable_mem_efficient_sdp,
    CUDA.math_sdp_enabled: CUDA.enable_math_sdp,
    CUDA.cudnn_sdp_enabled: CUDA.enable_cudnn_sdp,
}


def keep_hook(*args):
    """Registered by training: it must stay."""


@pytest.fixture(autouse=True)
def _own_globals():
    """A mutant leaves its traces in this test only."""
    kernels = {set_to: enabled() for enabled, set_to in KERNELS.items()}
    cudnn, threads = (
        (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        torch.get_num_threads(),
    )
    yield
    for set_to, value in kernels.items():
        set_to(value)
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = cudnn
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def bench(tiny_policy_dir, monkeypatch):
    """A model half in eval mode, a tokenizer, an optimizer, and accelerators that only keep their state."""
    states = {"cuda": [1, 2], "mps": 3, "npu": [5], "casts": "cleared"}
    npu = types.SimpleNamespace(
        is_available=lambda: True,
        is_initialized=lambda: True,
        get_rng_state_all=lambda: list(states["npu"]),
        set_rng_state_all=lambda state: states.update(npu=state),
    )
    monkeypatch.setattr(torch, "npu", npu, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: list(states["cuda"]))
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", lambda state: states.update(cuda=state))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: states["mps"])
    monkeypatch.setattr(torch.mps, "set_rng_state", lambda state: states.update(mps=state))
    monkeypatch.setattr(torch, "clear_autocast_cache", lambda: states.update(casts="cleared"))
    model = AutoModelForCausalLM.from_pretrained(tiny_policy_dir)
    model.train()
    model.model.layers[0].eval()
    model.model.embed_tokens.weight.requires_grad_(False)
    tokenizer = AutoTokenizer.from_pretrained(tiny_policy_dir)
    tokenizer.backend_tokenizer.no_padding()
    model.model.layers[0]._disable_adapters = False  # as a PEFT layer has it
    model.model.layers[0].register_forward_hook(keep_hook)
    model.lm_head = Merges(model.lm_head)
    model.register_buffer("load", torch.zeros(2))
    return model, tokenizer, ScheduleFree(), states


class Merges(torch.nn.Module):
    """Adds a third to its weights in eval mode: taking it back would round."""

    def __init__(self, linear):
        super().__init__()
        self.weight, self.merged = linear.weight, False
        self.told = types.SimpleNamespace(mode=True)  # an object: it is left to `train`

    def train(self, mode=True):
        if self.merged == mode:
            with torch.no_grad():
                self.weight.data.add_(-1 / 3 if mode else 1 / 3)
        self.merged, self.told.mode = not mode, mode
        return super().train(mode)

    def forward(self, x):
        return torch.nn.functional.linear(x, self.weight)


def snapshot(model, tokenizer, optimizer, states):
    core = tokenizer.backend_tokenizer
    return {
        "python": random.getstate(),
        "numpy": str(np.random.get_state()),
        "torch": torch.get_rng_state().tolist(),
        "accelerators": copy.deepcopy(states),
        "dtype": torch.get_default_dtype(),
        "grad": torch.is_grad_enabled(),
        "weights": [p.tolist() for p in model.parameters()],
        "merged": [(m.merged, m.told.mode) for m in model.modules() if isinstance(m, Merges)],
        "attributes": [set(vars(m)) for m in model.modules()],
        "modes": [m.training for m in model.modules()],
        "requires_grad": [p.requires_grad for p in model.parameters()],
        "buffers": [b.tolist() for b in model.buffers()],
        "generation": (id(model.generation_config), model.generation_config.to_dict()),
        "config": (model.config.use_cache, model.config._attn_implementation),
        "left": [hasattr(model, name) for name in ("_cache", "_previous_max_cache_length")],
        "tokenizer": (tokenizer.padding_side, tokenizer.truncation_side, tokenizer.pad_token),
        "rust": (core.padding, core.truncation),
        "optimizer": optimizer.mode,
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "attention": [enabled() for enabled in KERNELS],
        "checkpointing": model.model.gradient_checkpointing,
        "adapters": model.model.layers[0]._disable_adapters,
        "hooks": [
            list(m._forward_hooks.values()) + list(m._backward_hooks.values()) for m in model.modules()
        ],
    }


def disturb(model, tokenizer, optimizer, states):
    """Everything an evaluation could do."""
    assert not any(m.training for m in model.modules())
    assert not torch.is_grad_enabled()
    assert optimizer.mode == "eval"
    random.random(), np.random.rand(), torch.rand(1)
    states["cuda"], states["mps"], states["casts"] = [9], 9, "made without gradients"
    states["npu"] = [9]
    model.load += 1
    model.model.layers[0].left_behind = True
    torch.set_default_dtype(torch.float64)
    model.model.layers[1].train()
    model.requires_grad_(True)
    model.model.rotary_emb.inv_freq = model.model.rotary_emb.inv_freq * 2
    model.generation_config.temperature = 0.123
    model.generation_config = GenerationConfig(max_new_tokens=7)
    model.config.use_cache = not model.config.use_cache
    model.config._attn_implementation = "eager"
    model._cache = "left behind"
    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark
    torch.backends.cudnn.deterministic = not torch.backends.cudnn.deterministic
    for enabled, set_to in KERNELS.items():
        set_to(not enabled())
    model.model.gradient_checkpointing = True
    model.model.layers[0]._disable_adapters = True
    model.model.layers[0]._forward_hooks.clear()
    model.model.layers[1].register_forward_hook(lambda *args: None)
    tokenizer.padding_side = "left"
    tokenizer.backend_tokenizer.enable_padding(length=7)
    tokenizer.backend_tokenizer.enable_truncation(5)


def law(undisturbed, bench, *, fails):
    """The state after is the state before; a weight that was used inside still gets its gradient."""
    model, tokenizer, optimizer, _ = bench
    before = snapshot(*bench)
    try:
        with undisturbed(model, tokenizer, optimizer=optimizer):
            disturb(*bench)
            if fails:
                raise RuntimeError("half-way")
    except RuntimeError as problem:
        if str(problem) != "half-way":
            raise
    finally:
        torch.set_default_dtype(torch.float32)
    after = snapshot(*bench)
    assert {k for k in before if before[k] != after[k]} == set()


def dtype_law(undisturbed):
    with undisturbed():
        torch.set_default_dtype(torch.float64)
    found = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    assert found == torch.float32


@pytest.mark.parametrize("fails", [False, True])
def test_training_reads_the_same_state_afterwards_also_when_the_body_raises(bench, fails):
    law(module.undisturbed, bench, fails=fails)
    dtype_law(module.undisturbed)


def test_there_are_restore_lines_to_remove():
    assert len(RESTORES) == 27


@pytest.mark.parametrize(("name", "number"), RESTORES, ids=lambda x: str(x).rpartition(".")[2])
def test_removing_any_one_restore_line_breaks_a_law(bench, name, number, monkeypatch):
    lines = list(PARTS[name])
    indent = len(lines[number]) - len(lines[number].lstrip())
    end = number
    while sum(line.count("(") - line.count(")") for line in lines[number : end + 1]) > 0:
        end += 1
    lines[number : end + 1] = [" " * indent + "pass"] + [""] * (end - number)
    mutant = types.ModuleType("mutant")
    exec(compile("\n".join(lines), "mutant", "exec"), mutant.__dict__)
    undisturbed = getattr(mutant, "undisturbed", module.undisturbed)
    for part in ("model_state", "Merged", "random_states"):
        if part in vars(mutant) and name != module.__name__:
            monkeypatch.setattr(module, part, vars(mutant)[part])

    def both_laws():
        law(undisturbed, bench, fails=False)
        dtype_law(undisturbed)

    with pytest.raises((AssertionError, TypeError)):
        both_laws()


def test_a_buffer_that_an_engine_casts_for_good_stays_cast(bench):
    """FSDP1 under mixed precision casts buffers in place, once, when it is first used, be it by us."""
    model, *_ = bench
    buffer = model.model.rotary_emb.inv_freq
    with module.undisturbed(model):
        buffer.data = buffer.to(torch.bfloat16)
    assert model.model.rotary_emb.inv_freq.dtype == torch.bfloat16


def test_hooks_of_the_users_that_an_evaluation_calls_are_named_once(bench, caplog, monkeypatch):
    monkeypatch.setattr(hooks, "_said", set())
    model, *_ = bench
    for _ in range(2):
        with module.undisturbed(model):
            pass
    assert [r.getMessage().count("test_undisturbed.keep_hook on model.layers.0") for r in caplog.records] == [
        1
    ]


def test_a_buffer_too_large_to_keep_is_said_when_it_is_changed(caplog, monkeypatch):
    monkeypatch.setattr(module_state, "LARGEST", 4)
    model = torch.nn.BatchNorm1d(4)
    with module.undisturbed(model):
        model.running_mean += 1
    assert "buffer running_mean of BatchNorm1d, which is too large to be kept" in caplog.text


def test_threads_that_evaluate_at_once_are_served_in_turn():
    model, entered = torch.nn.Dropout(), threading.Event()

    def evaluate():
        with module.undisturbed(model):
            entered.set()

    thread = threading.Thread(target=evaluate)
    with module.undisturbed(model):
        thread.start()
        assert not entered.wait(0.05)
        assert not model.training
    thread.join()
    assert entered.is_set()
    assert model.training


def test_a_buffer_that_was_replaced_is_the_same_tensor_again():
    part = torch.nn.BatchNorm1d(2)
    tensor = part.running_mean
    kept = module_state._Buffer(part, "running_mean", tensor)
    part.running_mean = torch.ones(2)
    kept.restore()
    assert part.running_mean is tensor
    assert tensor.tolist() == [0.0, 0.0]
