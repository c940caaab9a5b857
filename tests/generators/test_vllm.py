"""Answers from vLLM in this process, against a stand-in that runs what it was given (no vLLM here).

The stand-in builds the model from the configuration that it finds on disk, takes weights by their names, and
refuses to answer while it has none: the rest is tried with a real vLLM in `integrations/vllm`.
"""

import importlib.machinery
import os
import pickle
import sys
import types
from types import SimpleNamespace

import pytest
import torch
import transformers as hf

from rm_monitor.errors import GenerationError
from rm_monitor.generators import load_generator
from rm_monitor.generators.engine import EngineGenerator
from rm_monitor.generators.hf import generate_rows, own_settings
from rm_monitor.generators.vllm.start import refresh
from rm_monitor.types import Prompt, Sampling
from tests.generators.test_engine import END, GROUPED, PAD, Numbers

GREEDY = Sampling(temperature=0.0, max_new_tokens=6)
PROMPTS = [
    Prompt(id=str(i), raw=True, messages=({"role": "user", "content": f"5 {i} {i + 3}"},))
    for i in (11, 40, 77)
]


STARTED = []


class LLM:
    """Stands in for `vllm.LLM`."""

    def __init__(self, **given):
        assert os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
        torch.set_num_threads = lambda n: None  # as its CPU worker does
        config = hf.AutoConfig.from_pretrained(given["model"])
        if config.model_type == "gpt2":
            raise ValueError("no such model here")
        self.network = getattr(hf, config.architectures[0])(config).eval()
        dtype = getattr(torch, given["dtype"])
        self.network.to(dtype)
        self.given, self.awake, self.fresh, self.did, self.asked = (
            given,
            {"weights", "kv_cache"},
            False,
            [],
            [],
        )
        length = given["max_model_len"] if given["max_model_len"] > 0 else config.max_position_embeddings
        facts = SimpleNamespace(enable_sleep_mode=given["enable_sleep_mode"], max_model_len=length)
        self.llm_engine = SimpleNamespace(model_config=facts)
        STARTED.append(self)

    def collective_rpc(self, name, kwargs):
        assert name == "reload_weights"
        assert "weights" in self.awake
        weights = dict(kwargs["weights_iterator"])
        missing, unknown = self.network.load_state_dict(weights, strict=False)
        assert not unknown
        assert set(missing) <= {"lm_head.weight"}
        self.fresh = True
        self.did.append("weights")

    def apply_model(self, function):
        return [function(self.network)]

    def reset_prefix_cache(self):
        self.did.append("prefixes")

    def wake_up(self, tags):
        self.awake |= set(tags)

    def sleep(self, level):
        assert level == 2
        self.awake, self.fresh = set(), False
        self.did.append("sleep")

    def generate(self, prompts, sampling, use_tqdm):
        assert self.fresh
        assert self.awake == {"weights", "kv_cache"}
        self.asked += sampling
        one = sampling[0]
        settings = Sampling(temperature=0.0, max_new_tokens=one.max_tokens)
        with torch.no_grad(), own_settings(self.network, settings, one.stop_token_ids, PAD):
            rows = generate_rows(self.network, [p["prompt_token_ids"] for p in prompts], PAD)
        ended = ["stop" if row[-1] in one.stop_token_ids else "length" for row in rows]
        return [
            SimpleNamespace(outputs=[SimpleNamespace(token_ids=row, finish_reason=end)])
            for row, end in zip(rows, ended, strict=True)
        ]


@pytest.fixture(params=[False, True], ids=["stays awake", "sleeps"])
def vllm(request, monkeypatch):
    """A package `vllm` with the names that are used."""
    package, platforms = types.ModuleType("vllm"), types.ModuleType("vllm.platforms")
    package.__spec__ = importlib.machinery.ModuleSpec("vllm", None)
    package.LLM, package.SamplingParams = LLM, lambda **given: SimpleNamespace(**given)
    platforms.current_platform = SimpleNamespace(is_sleep_mode_available=lambda: request.param)
    monkeypatch.setitem(sys.modules, "vllm", package)
    monkeypatch.setitem(sys.modules, "vllm.platforms", platforms)
    STARTED.clear()
    return STARTED


def policy(seed=0):
    torch.manual_seed(seed)
    model = hf.LlamaForCausalLM(hf.LlamaConfig(**GROUPED)).eval()
    for p in model.parameters():
        p.data *= 3
    return model


def tokens(generator, model, prompts=PROMPTS):
    return [c.tokens for c in generator.generate(prompts, GREEDY, model=model, tokenizer=Numbers())]


def test_each_call_answers_with_the_weights_as_they_stand(vllm):
    model, ours = policy(), load_generator("vllm")
    first = tokens(ours, model)
    assert first == tokens(EngineGenerator(), model)
    model.load_state_dict(policy(1).state_dict())
    assert first != tokens(ours, model) == tokens(EngineGenerator(), model)
    assert len(vllm) == 1
    assert vllm[0].did.count("prefixes") == vllm[0].did.count("weights") == 2
    assert vllm[0].did[-1] == "sleep" or not vllm[0].given["enable_sleep_mode"]


@pytest.mark.parametrize("dora", [False, True])
def test_adapters_are_merged_into_copies(vllm, dora):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(
        r=2, target_modules=["q_proj", "down_proj"], modules_to_save=["lm_head"], use_dora=dora,
        init_lora_weights=False, task_type="CAUSAL_LM",
    )  # fmt: skip
    model = peft.get_peft_model(policy(), config).eval()
    kept = {name: p.clone() for name, p in model.named_parameters()}
    found = tokens(load_generator("vllm"), model)
    assert found == tokens(EngineGenerator(), model)
    assert all(torch.equal(kept[name], p) for name, p in model.named_parameters())
    assert not any(getattr(m, "merged", False) for m in model.modules())
    with model.disable_adapter():
        assert tokens(load_generator("vllm"), model) == tokens(EngineGenerator(), model) != found


def test_a_request_has_our_sampling_and_a_seed_of_its_own(vllm):
    model, sampling = policy(), Sampling(temperature=0.7, top_p=0.9, max_new_tokens=3, samples_per_prompt=2)
    found = load_generator("vllm").generate(PROMPTS, sampling, seed=5, model=model, tokenizer=Numbers())
    assert [(c.prompt_id, c.sample) for c in found] == [(p.id, k) for p in PROMPTS for k in (0, 1)]
    asked = vllm[0].asked[2:]  # two were the trial
    assert {(a.temperature, a.top_p, a.max_tokens) for a in asked} == {(0.7, 0.9, 3)}
    assert len({a.seed for a in asked}) == 6
    assert all(a.stop_token_ids == [END] and a.ignore_eos for a in asked)


def test_nothing_of_the_process_is_left_changed(vllm, monkeypatch):
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "INFO")
    before, threads = dict(os.environ), torch.set_num_threads
    tokens(load_generator("vllm"), policy())
    assert dict(os.environ) == before
    assert torch.set_num_threads is threads


def test_it_asks_for_the_precision_that_the_model_computes_in(vllm):
    tokens(load_generator("vllm"), policy().to(torch.bfloat16))
    assert vllm[0].given["dtype"] == "bfloat16"


def test_options_go_before_ours_and_it_can_be_sent_before_it_starts(vllm):
    ours = pickle.loads(pickle.dumps(load_generator({"vllm": {"memory": 5, "max_model_len": 20}})))
    tokens(ours, policy())
    assert (vllm[0].given["kv_cache_memory_bytes"], vllm[0].given["max_model_len"]) == (5, 20)
    long = Prompt(id="long", raw=True, messages=({"role": "user", "content": " ".join(["7"] * 16)},))
    with pytest.raises(GenerationError, match=r"has 16 tokens, and with max_new_tokens=6 .* the 20"):
        tokens(ours, policy(), [long])


def test_models_that_it_cannot_have_are_refused_with_the_way_out(vllm):
    quantised = policy()
    quantised.is_quantized = True
    forced = policy()
    forced.generation_config.suppress_tokens = [7]
    gpt2 = hf.GPT2LMHeadModel(hf.GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=150))
    for model, why in (
        (quantised, "its weights are quantised"),
        (forced, "its generation config has `suppress_tokens`"),
        (gpt2, "ValueError: no such model here"),
    ):
        with pytest.raises(
            GenerationError, match=f"{why}.*leave `generator` out|{why}.*Leave `generator` out"
        ):
            tokens(load_generator("vllm"), model)


def upside_down(module, given, out):
    out.logits = -out.logits
    return out


def test_a_model_in_which_something_else_hangs_is_not_vouched_for(vllm):
    model = policy()
    model.register_forward_hook(upside_down)
    with pytest.raises(GenerationError, match="answers otherwise than the model in training"):
        tokens(load_generator("vllm"), model)


def test_without_vllm_it_is_refused_before_anything_is_trained(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ValueError, match="needs vLLM in this environment: `pip install vllm`"):
        load_generator("vllm")
    with pytest.raises(ValueError, match="has that one key"):
        load_generator({"vllm": {}, "url": "http://here"})


def test_a_head_tied_to_the_embeddings_is_packed_from_the_new_weights():
    class Head(torch.nn.Embedding):
        cpu_linear = quant_method = None

    embeddings, head, apart = torch.nn.Embedding(4, 2), Head(4, 2), Head(4, 2)
    packed = []
    head.weight = embeddings.weight
    for module in (head, apart):
        module.quant_method = SimpleNamespace(process_weights_after_loading=packed.append)
    assert refresh(torch.nn.ModuleList([embeddings, head, apart])) == 1
    assert packed == [head]
