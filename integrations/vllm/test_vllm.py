"""`generator="vllm"` with a real vLLM in the training process."""

import json
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    Trainer,
    TrainingArguments,
)

from rm_monitor import RewardMonitor, RewardMonitorCallback
from rm_monitor.errors import GenerationError
from rm_monitor.generators import load_generator
from rm_monitor.generators.engine import EngineGenerator
from rm_monitor.prompts import load_prompts
from rm_monitor.types import Sampling

GREEDY = Sampling(temperature=0.0, max_new_tokens=24)
DRAWN = Sampling(temperature=0.8, top_p=0.9, max_new_tokens=12, samples_per_prompt=2)
ROOM = {"memory": 1 << 28}


@pytest.fixture
def here(given):
    """A policy with heads of 32, the fewest that vLLM takes on a CPU, its tokenizer and eight prompts."""
    tokenizer = AutoTokenizer.from_pretrained("tiny/policy")
    torch.manual_seed(0)
    config = AutoConfig.from_pretrained("tiny/policy", head_dim=32, attention_dropout=0.1)
    config.tie_word_embeddings = True
    model = AutoModelForCausalLM.from_config(config).eval()
    model.save_pretrained("tiny/policy")
    return model, tokenizer, list(load_prompts("tiny/prompts.jsonl"))[:8]


def texts(generator, prompts, sampling, model, tokenizer):
    return [c.text for c in generator.generate(prompts, sampling, seed=3, model=model, tokenizer=tokenizer)]


def step(model, tokenizer, seed=0):
    """One real optimizer step, far enough to change answers."""
    torch.manual_seed(seed)
    ids = torch.randint(5, len(tokenizer), (4, 16))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-2)
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def test_greedy_answers_are_the_engines_before_and_after_training(here):
    model, tokenizer, prompts = here
    vllm, engine = load_generator({"vllm": ROOM}), EngineGenerator()
    before = texts(vllm, prompts, GREEDY, model, tokenizer)
    assert before == texts(engine, prompts, GREEDY, model, tokenizer)
    step(model, tokenizer)
    after = texts(vllm, prompts, GREEDY, model, tokenizer)
    assert after == texts(engine, prompts, GREEDY, model, tokenizer)
    assert after != before


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_a_fresh_vllm_on_the_saved_checkpoint_says_the_same(here, dtype, tmp_path):
    from vllm import LLM, SamplingParams

    from rm_monitor.generators.rows import rows_of

    model, tokenizer, prompts = here
    vllm = load_generator({"vllm": ROOM})
    model.to(dtype)
    texts(vllm, prompts, GREEDY, model, tokenizer)
    step(model, tokenizer)
    said = vllm.generate(prompts, GREEDY, model=model, tokenizer=tokenizer)
    model.save_pretrained(tmp_path / "saved")
    tokenizer.save_pretrained(tmp_path / "saved")
    fresh = LLM(
        str(tmp_path / "saved"),
        dtype=str(dtype).removeprefix("torch."),
        enforce_eager=True,
        kv_cache_memory_bytes=1 << 28,
        generation_config="vllm",
    )
    end = tokenizer.eos_token_id
    asked = SamplingParams(temperature=0, max_tokens=24, stop_token_ids=[end], ignore_eos=True)
    ids = [{"prompt_token_ids": row.ids} for row in rows_of(prompts, GREEDY, model, tokenizer)]
    found = fresh.generate(ids, asked, use_tqdm=False)
    assert [tuple(one.outputs[0].token_ids) for one in found] == [c.tokens for c in said]


@pytest.mark.parametrize("kind", ["LoRA", "DoRA", "LoRA and a saved head"])
def test_adapters_arrive_merged_and_stay_as_they_are(here, kind):
    from peft import LoraConfig, get_peft_model

    model, tokenizer, prompts = here
    config = LoraConfig(
        r=4,
        target_modules=["q_proj", "v_proj", "down_proj"],
        use_dora=kind == "DoRA",
        modules_to_save=["lm_head"] if "head" in kind else None,
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(model, config)
    for seed in range(3):
        step(model, tokenizer, seed)
    kept = {name: p.clone() for name, p in model.named_parameters()}
    vllm, engine = load_generator({"vllm": ROOM}), EngineGenerator()
    model.eval()
    said = texts(vllm, prompts, GREEDY, model, tokenizer)
    assert said == texts(engine, prompts, GREEDY, model, tokenizer)
    assert all(torch.equal(kept[name], p) for name, p in model.named_parameters())
    with model.disable_adapter():
        assert said != texts(engine, prompts, GREEDY, model, tokenizer)


def test_an_answer_depends_on_its_seed_and_not_on_its_neighbours(here):
    model, tokenizer, prompts = here
    vllm = load_generator({"vllm": ROOM})
    together = texts(vllm, prompts, DRAWN, model, tokenizer)
    alone = [text for p in prompts for text in texts(vllm, [p], DRAWN, model, tokenizer)]
    assert together == alone
    assert any(a != b for a, b in zip(together[::2], together[1::2], strict=True))


def losses(given, folder, generator):
    tokenizer = AutoTokenizer.from_pretrained("tiny/policy")
    rows = [json.loads(line) for line in Path("data/chat.jsonl").read_text().splitlines()]
    ids = [tokenizer.apply_chat_template(row["messages"], return_dict=False)[:32] for row in rows[:48]]
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained("tiny/policy", dtype=torch.float32)
    arguments = TrainingArguments(
        folder, max_steps=8, per_device_train_batch_size=4, logging_steps=1, save_strategy="no",
        report_to=[], use_cpu=True, learning_rate=1e-3, seed=1, disable_tqdm=True,
    )  # fmt: skip
    trainer = Trainer(
        model,
        arguments,
        processing_class=tokenizer,
        train_dataset=[{"input_ids": i, "labels": i} for i in ids],
        data_collator=DataCollatorForSeq2Seq(tokenizer),
    )
    if generator is not None:
        monitor = RewardMonitor(
            **{**given.settings, "every": 3, "generator": generator, "output_dir": folder}
        )
        trainer.add_callback(RewardMonitorCallback(monitor))
    trainer.train()
    found = [log["loss"] for log in trainer.state.log_history if "loss" in log]
    return found, {name: p.detach().clone() for name, p in model.named_parameters()}


def test_training_is_bit_identical_with_it(given, here):
    alone, weights = losses(given, "alone", None)
    watched, same = losses(given, "watched", {"vllm": ROOM})
    assert alone == watched
    assert all(torch.equal(weights[name], same[name]) for name in weights)
    assert len(given.curve("watched")) >= 3


def upside_down(module, given, out):
    out.logits = -out.logits
    return out


def test_what_it_does_not_serve_is_refused_with_the_way_out(here):
    model, tokenizer, prompts = here
    vllm = load_generator({"vllm": ROOM})
    model.generation_config.suppress_tokens = [7]
    with pytest.raises(GenerationError, match=r"suppress_tokens.*Leave `generator` out"):
        vllm.generate(prompts, GREEDY, model=model, tokenizer=tokenizer)
    model.generation_config.suppress_tokens = None
    model.register_forward_hook(upside_down)
    with pytest.raises(GenerationError, match="answers otherwise than the model in training"):
        vllm.generate(prompts, GREEDY, model=model, tokenizer=tokenizer)
