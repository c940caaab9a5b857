"""Trainers hang things into a model: the engine answers through them, as `generate` does."""

import logging

import pytest
import torch
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from rm_monitor import RewardMonitor, RewardMonitorCallback
from rm_monitor.generators.engine import EngineGenerator
from rm_monitor.generators.hf import HFGenerator
from rm_monitor.training.undisturbed import undisturbed
from rm_monitor.types import Prompt, Sampling
from tests.distributed.trl_cells import COMMON, rewards, said, turns
from tests.generators.test_engine import DRAWN, GROUPED, answers, make

PROMPTS = [
    Prompt(id=text, messages=({"role": "user", "content": text},))
    for text in ("hi", "a longer one than that", "why?")
]
GREEDY = Sampling(temperature=0.0, max_new_tokens=12)
SAMPLED = Sampling(temperature=0.7, max_new_tokens=12)


class Asks(TrainerCallback):
    """At step 2 of a training, the same questions to the engine and to `generate`."""

    def __init__(self, sampling):
        self.sampling = sampling
        self.facts = self.ours = self.theirs = None
        self.gaps = []

    def on_step_end(self, args, state, control, model=None, processing_class=None, **kwargs):
        if state.global_step != 2:
            return
        given = dict(seed=1, model=model, tokenizer=processing_class)
        engine = EngineGenerator()
        hung = hung_into(model)
        with undisturbed(model, processing_class):
            ours = engine.generate(PROMPTS, self.sampling, **given)
            assert hung_into(model) == hung
            theirs = HFGenerator().generate(PROMPTS, self.sampling, **given)
            self.gaps = [
                gap(model, processing_class, *pair) for pair in zip(PROMPTS, ours, theirs, strict=True)
            ]
        self.facts, self.reason = engine.facts, engine._reason
        self.ours, self.theirs = [c.tokens for c in ours], [c.tokens for c in theirs]


def hung_into(model):
    return [
        (name, vars(m).get("forward"), *m._forward_hooks.values(), *m._forward_pre_hooks.values())
        for name, m in model.named_modules()
    ]


def gap(model, tokenizer, prompt, ours, theirs):
    """By how much logits part where two greedy answers do, as a share of the largest; 0 if they do not."""
    if ours.tokens == theirs.tokens:
        return 0.0
    at = next(i for i, (a, b) in enumerate(zip(ours.tokens, theirs.tokens, strict=False)) if a != b)
    ids = tokenizer.apply_chat_template(list(prompt.messages), add_generation_prompt=True, return_dict=False)
    logits = model(torch.tensor([[*ids, *theirs.tokens[:at]]])).logits[0, -1].float()
    return float((logits[ours.tokens[at]] - logits[theirs.tokens[at]]).abs() / logits.abs().max())


def train(kind, policy, out, callback, **settings):
    """Two steps of a training of this kind."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(policy), AutoTokenizer.from_pretrained(policy)
    given = {**COMMON, "output_dir": str(out), "max_steps": 2, **settings}
    if kind == "transformers":
        ids = tokenizer("hello there")["input_ids"]
        rows = Dataset.from_dict({"input_ids": [ids] * 8, "labels": [ids] * 8})
        args = TrainingArguments(**given)
        Trainer(
            model=model, args=args, train_dataset=rows, processing_class=tokenizer, callbacks=[callback]
        ).train()
        return
    trl = pytest.importorskip("trl")
    more = {}
    if lora := given.pop("lora", False):
        peft = pytest.importorskip("peft")
        more["peft_config"] = peft.LoraConfig(
            r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=not lora
        )
    columns = {"prompt": [turns(f"ask {i}") for i in range(8)]}
    if kind == "SFT":
        columns["completion"] = [said(f"answer {i}") for i in range(8)]
    if kind == "KTO":
        columns |= {"completion": [said(f"answer {i}") for i in range(8)], "label": [True, False] * 4}
    if kind == "DPO":
        columns |= {"chosen": [said(f"good {i}") for i in range(8)]}
        columns |= {"rejected": [said(f"bad {i}") for i in range(8)]}
    if kind in ("GRPO", "RLOO"):
        more["reward_funcs"] = rewards
        given |= {"num_generations": 2, "max_completion_length": 6}
    else:
        given["max_length"] = 64
    getattr(trl, f"{kind}Trainer")(
        model=model,
        args=getattr(trl, f"{kind}Config")(**given),
        train_dataset=Dataset.from_dict(columns),
        processing_class=tokenizer,
        callbacks=[callback],
        **more,
    ).train()


RUNS = {
    "Trainer": ("transformers", {}),
    "Trainer, gradient checkpointing": ("transformers", {"gradient_checkpointing": True}),
    "Trainer, NEFTune": ("transformers", {"neftune_noise_alpha": 5.0}),
    "SFT": ("SFT", {}),
    "SFT, LoRA": ("SFT", {"lora": True}),
    "DPO": ("DPO", {}),
    "DPO, LoRA": ("DPO", {"lora": True}),
    "KTO": ("KTO", {}),
    "GRPO": ("GRPO", {}),
    "GRPO, LoRA": ("GRPO", {"lora": True}),
    "GRPO, head in float32": ("GRPO", {"cast_lm_head_to_fp32": True}),
    "RLOO": ("RLOO", {}),
}


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.filterwarnings("ignore")
def test_the_engine_answers_inside_trainers_and_says_what_generate_says(run, tiny_policy_dir, tmp_path):
    kind, settings = RUNS[run]
    asked = Asks(SAMPLED)
    train(kind, tiny_policy_dir, tmp_path, asked, **settings)
    assert asked.facts is not None, asked.reason
    assert asked.ours == asked.theirs


MIXED = {
    "Trainer": ("transformers", {}),
    "SFT": ("SFT", {}),
    "SFT, LoRA": ("SFT", {"lora": True}),
    "GRPO": ("GRPO", {"gradient_checkpointing": True}),
}


@pytest.mark.parametrize("run", MIXED)
@pytest.mark.filterwarnings("ignore")
def test_under_mixed_precision_tokens_are_those_of_generate_up_to_its_rounding(
    run, tiny_policy_dir, tmp_path
):
    kind, settings = MIXED[run]
    asked = Asks(GREEDY)
    train(kind, tiny_policy_dir, tmp_path, asked, **{**settings, "bf16": True})
    assert asked.facts is not None, asked.reason
    assert max(asked.gaps) < 0.05  # bf16 has 8 bits


@pytest.mark.filterwarnings("ignore")
def test_every_evaluation_of_an_sft_run_is_answered_by_the_engine(tiny_policy_dir, tmp_path, caplog):
    monitor = RewardMonitor(
        reward_model=lambda prompts, completions: [float(len(c)) for c in completions],
        prompts=["one", "two and more"],
        references=None,
        every=1,
        output_dir=tmp_path / "run",
        sampling=SAMPLED,
        report_to=[],
    )
    with caplog.at_level(logging.WARNING, logger="rm_monitor"):
        train("SFT", tiny_policy_dir, tmp_path, RewardMonitorCallback(monitor))
    assert [p.status for p in monitor.curve] == ["ok"] * 3
    assert all("row_steps_per_token" in p.measured for p in monitor.curve)
    assert "transformers' own generate" not in caplog.text


# ---------------------------------------------------------------------- things of unknown kind


def test_a_forward_and_hooks_of_anybody_are_answered_through():
    model = make(lambda: LlamaForCausalLM(LlamaConfig(**GROUPED)))
    plain = [c.text for c in answers(HFGenerator(), model, DRAWN)]
    model.model.layers[0].register_forward_hook(lambda module, args, output: output * 1.5)
    norm = model.model.norm
    norm.forward = lambda x: type(norm).forward(norm, x) * 0.8
    engine = EngineGenerator()
    found = [c.text for c in answers(engine, model, DRAWN)]
    assert engine.facts is not None, engine._reason
    assert found == [c.text for c in answers(HFGenerator(), model, DRAWN)] != plain


@pytest.mark.parametrize("size", [0.02, 3.0])
def test_a_hook_that_treats_the_last_token_of_a_row_in_its_own_way_is_found_out(size):
    """Rows are packed into one, so such a hook would meet the last row alone; also if no token changes."""
    model = make(lambda: LlamaForCausalLM(LlamaConfig(**GROUPED)))
    engine = EngineGenerator()
    answers(engine, model, DRAWN)
    assert engine.facts is not None

    def steer(module, args, output):
        output = output.clone()
        output[:, -1] += size * torch.arange(output.shape[-1]).sin()
        return output

    model.model.layers[0].register_forward_hook(steer)  # hung in later: the model is tried again
    found = answers(engine, model, DRAWN)
    assert engine.facts is None
    assert "a trial answer" in engine._reason
    assert [c.text for c in found] == [c.text for c in answers(HFGenerator(), model, DRAWN)]


def test_the_same_wrappings_hung_in_again_cost_no_second_trial(monkeypatch):
    model = make(lambda: LlamaForCausalLM(LlamaConfig(**GROUPED)))
    trials = []
    engine = EngineGenerator()
    tried = engine._trial
    monkeypatch.setattr(engine, "_trial", lambda *a: trials.append(1) or tried(*a))
    for _ in range(3):
        model.enable_input_require_grads()  # as TRL's trainers do before each generation of theirs
        answers(engine, model, DRAWN)
    assert len(trials) == 1


@pytest.mark.parametrize("build", [lambda: LlamaForCausalLM(LlamaConfig(**GROUPED)).to(torch.bfloat16)])
@pytest.mark.parametrize("seed", range(4))
def test_models_in_half_precision_pass_the_trial(build, seed):
    engine = EngineGenerator()
    answers(engine, make(build, seed), DRAWN)
    assert engine.facts is not None, engine._reason
