"""What kind of model is held, what is refused, and the twin: the same answers from a tree of its own."""

from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model

from rm_monitor.errors import UnsupportedSetupError
from rm_monitor.evaluation import answering
from rm_monitor.generators.hf import HFGenerator
from rm_monitor.training.sharded import Setup, describe, whole
from rm_monitor.training.sharded.keep import kept_sharded
from rm_monitor.training.sharded.twin import twin
from rm_monitor.training.unwrap import unwrap
from rm_monitor.types import Prompt, Sampling

WAY_OUT = "rm-monitor sweep"


def ids(n=1):
    return torch.arange(5, 5 + 12 * n).view(n, 12)


def fake(name, module, **attributes):
    """A module of a class with this name: the engines themselves need several processes or a GPU."""
    cls = type(name, (torch.nn.Module,), {"forward": lambda self, *a, **k: self.module(*a, **k)})
    made = cls()
    made.module = module
    for key, value in attributes.items():
        setattr(made, key, value)
    return made


class Shard:
    """As DeepSpeed's ``ds_tensor`` looks from outside."""

    def __init__(self, device="cpu", place=None):
        self.device = torch.device(device)
        if place is not None:
            self.final_location = place


class Placement:
    def __init__(self, replicated):
        self.replicated = replicated

    def is_replicate(self):
        return self.replicated

    def __repr__(self):
        return "Replicate()" if self.replicated else "Shard(0)"


def with_placements(module, *replicated, name=None):
    for p in module.parameters():
        p.placements = [Placement(r) for r in replicated]
    return module


def test_a_plain_model_answers_as_it_is(tiny_policy):
    setup = describe(tiny_policy)
    assert (setup.kind, setup.collective, str(setup)) == ("plain", False, "the model as it is")
    with whole(tiny_policy, setup) as module:
        assert module is tiny_policy


def test_without_a_model_nothing_is_gathered():
    assert describe(None) == Setup()


@pytest.mark.parametrize("name", ["DistributedDataParallel", "DataParallel", "DeepSpeedEngine"])
def test_wrappers_with_whole_weights_are_taken_off(tiny_policy, name):
    wrapper = fake(name, tiny_policy)
    assert describe(wrapper).kind == "ddp"
    with whole(wrapper, describe(wrapper)) as module:
        assert module is tiny_policy


def test_a_compiled_model_answers_uncompiled(tiny_policy):
    compiled = torch.compile(tiny_policy, backend="eager")
    assert unwrap(compiled) is tiny_policy
    assert describe(compiled).kind == "plain"
    assert describe(fake("DistributedDataParallel", compiled)).kind == "ddp"


def test_parts_compiled_in_place_are_gone_around(tiny_policy):
    tiny_policy.eval()
    expected = tiny_policy(input_ids=ids()).logits
    layer = tiny_policy.model.layers[0]
    layer.compile(backend="eager")
    tiny_policy.model.layers[1] = torch.compile(tiny_policy.model.layers[1], backend="eager")
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    setup = describe(tiny_policy)
    assert setup.compiled
    with whole(tiny_policy, setup) as module, torch.no_grad():
        assert torch.equal(module(input_ids=ids()).logits, expected)
    assert torch._dynamo.utils.counters["stats"]["calls_captured"] == 0
    assert layer._compiled_call_impl is not None


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (lambda m: fake("PipelineModule", m), "pipeline parallelism"),
        (lambda m: fake("MegatronEngine", m), "pipeline parallelism"),
        (lambda m: with_placements(m, False), "tensor parallelism"),
        (lambda m: with_placements(fake("FSDPModule", m), False, False), "tensor parallelism"),
        (
            lambda m: fake(
                "FullyShardedDataParallel", m, cpu_offload=type("C", (), {"offload_params": True})
            ),
            "cpu_offload=True",
        ),
    ],
    ids=["pipeline", "megatron", "tensor", "fsdp-and-tensor", "fsdp1-offload"],
)
def test_a_setup_that_cannot_be_served_is_refused_with_the_way_out(tiny_policy, model, why):
    with pytest.raises(UnsupportedSetupError, match=why) as refusal:
        describe(model(tiny_policy))
    assert WAY_OUT in str(refusal.value)


@pytest.mark.parametrize("shard", [Shard("meta"), Shard(place="nvme")], ids=["cpu", "nvme"])
def test_offloaded_zero3_weights_are_refused(tiny_policy, shard):
    for p in tiny_policy.parameters():
        p.ds_tensor = shard
    with pytest.raises(UnsupportedSetupError, match="offload_param"):
        describe(tiny_policy)


@pytest.mark.parametrize("name", ["tp", "cp", "sp"])
def test_a_forward_that_ranks_must_enter_together_is_refused(tiny_policy, monkeypatch, name):
    from accelerate.state import AcceleratorState

    config = type("Config", (), {f"{name}_enabled": True, f"{name}_size": 2})
    monkeypatch.setitem(AcceleratorState._shared_state, "parallelism_config", config)
    with pytest.raises(UnsupportedSetupError, match=rf"{name}_size=2"):
        describe(tiny_policy)


def test_hybrid_sharding_is_not_mistaken_for_tensor_parallelism(tiny_policy):
    assert describe(with_placements(fake("FSDPModule", tiny_policy), True, False)).kind == "fsdp2"


@pytest.mark.parametrize("lengths", [[1] * 20, list(range(1, 21))])
def test_ranks_that_gather_in_every_forward_make_equally_many_whatever_their_prompts(
    tiny_policy, tiny_tokenizer, lengths, monkeypatch
):
    prompts = [
        Prompt(id=str(i), messages=({"role": "user", "content": "x " * n},)) for i, n in enumerate(lengths)
    ]
    calls = []
    own = tiny_policy.generate
    monkeypatch.setattr(tiny_policy, "generate", lambda **k: calls.append(len(k["input_ids"])) or own(**k))
    with kept_sharded(tiny_policy, Setup(kind="fsdp2", forward="sharded")) as module:
        HFGenerator().generate(prompts, Sampling(max_new_tokens=2), model=module, tokenizer=tiny_tokenizer)
    assert calls == [8, 8, 4]


@pytest.mark.parametrize(
    ("change", "kl", "why"),
    [
        (
            {"rope_parameters": {"rope_type": "longrope", "original_max_position_embeddings": 8}},
            None,
            "LongRoPE",
        ),
        ({"model_type": "rwkv"}, None, "reads more than its own row"),
        ({}, True, "`kl` needs forwards of its own"),
    ],
)
def test_what_would_make_ranks_wait_for_each_other_is_refused(tiny_policy, change, kl, why, monkeypatch):
    monkeypatch.setattr(answering, "describe", lambda *a, **k: Setup(kind="fsdp2", forward="sharded"))
    policy = SimpleNamespace(config=SimpleNamespace(**({"model_type": "llama"} | change)))
    with pytest.raises(UnsupportedSetupError, match=f"sharded_weights='keep'.*{why}.*'gather'"):
        answering.Answering(sampling=Sampling(), seed=0, generator=None, kl=kl, keep_sharded=True).prepare(
            policy
        )


def test_a_refusal_reaches_the_user_before_training(tmp_path, tiny_policy, tiny_tokenizer):
    from rm_monitor import RewardMonitor, RewardMonitorCallback
    from tests.helpers import CountsGood, tiny_trainer

    with_placements(tiny_policy, False)
    monitor = RewardMonitor(CountsGood(), ["Hello"], every=2, report_to=[])
    trainer = tiny_trainer(tiny_policy, tiny_tokenizer, tmp_path, callbacks=[RewardMonitorCallback(monitor)])
    with pytest.raises(UnsupportedSetupError, match=WAY_OUT):
        trainer.train()
    assert trainer.state.global_step == 0


# --------------------------------------------------------------------------- the twin


@pytest.fixture(params=["plain", "lora"])
def policy(request, tiny_policy):
    if request.param == "plain":
        return tiny_policy
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = get_peft_model(
            tiny_policy, LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False)
        )
    return model


def test_a_twin_computes_and_generates_what_its_original_does(policy):
    policy.eval()
    other = twin(policy)
    with torch.no_grad():
        assert torch.equal(other(input_ids=ids(2)).logits, policy(input_ids=ids(2)).logits)
    options = dict(max_new_tokens=6, do_sample=False, pad_token_id=0)
    said = other.generate(input_ids=ids(2), **options)
    assert torch.equal(said, policy.generate(input_ids=ids(2), **options))


def test_a_twin_shares_weights_but_no_module(policy):
    other = twin(policy)
    assert [id(p) for p in other.parameters()] == [id(p) for p in policy.parameters()]
    assert not {id(m) for m in other.modules()} & {id(m) for m in policy.modules()}


def test_nothing_done_to_a_twin_reaches_its_original(policy):
    policy.train()
    base = policy.get_base_model() if hasattr(policy, "get_base_model") else policy
    frequencies = base.model.rotary_emb.inv_freq.clone()
    other = twin(policy)
    inner = other.get_base_model() if hasattr(other, "get_base_model") else other
    other.eval()
    inner.model.rotary_emb.inv_freq = frequencies * 2
    other.register_forward_hook(lambda *args: None)
    other.left_behind = "by generate"
    assert all(m.training for m in policy.modules())
    assert torch.equal(base.model.rotary_emb.inv_freq, frequencies)
    assert not policy._forward_hooks
    assert not hasattr(policy, "left_behind")


def test_making_a_twin_draws_no_random_number(policy):
    before = torch.get_rng_state()
    twin(policy)
    assert torch.equal(torch.get_rng_state(), before)


def test_hooks_of_the_users_own_stay_and_those_of_an_engine_go(tiny_policy):
    seen = []
    engine = lambda module, args: seen.append("engine")  # noqa: E731
    engine.__module__ = "torch.distributed.fsdp._fully_shard._fsdp_state"
    tiny_policy.register_forward_pre_hook(engine)
    tiny_policy.register_forward_pre_hook(lambda module, args: seen.append("own"))
    with torch.no_grad():
        twin(tiny_policy.eval())(input_ids=ids())
    assert seen == ["own"]


@pytest.fixture
def fresh_accelerate():
    """accelerate remembers its mixed precision for the life of the process."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()
    yield
    AcceleratorState._reset_state()


def test_a_forward_that_mixed_precision_replaced_belongs_to_the_twin(tiny_policy, fresh_accelerate):
    from accelerate import Accelerator

    prepared = Accelerator(cpu=True, mixed_precision="bf16").prepare_model(tiny_policy, evaluation_mode=True)
    other = twin(prepared.eval())
    assert other.forward.__self__ is other
    with torch.no_grad():
        assert torch.equal(other(input_ids=ids()).logits, prepared(input_ids=ids()).logits)


def test_a_tied_head_stays_tied(tiny_policy_dir):
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(tiny_policy_dir, tie_word_embeddings=True)
    other = twin(AutoModelForCausalLM.from_config(config))
    assert other.lm_head.weight is other.model.embed_tokens.weight
