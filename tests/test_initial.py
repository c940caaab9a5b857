"""Step 0 lies where the policy was loaded from, if that folder holds the very weights."""

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from rm_monitor import RewardMonitor, RewardMonitorCallback, Sampling
from rm_monitor.checkpoints.initial import initial_checkpoint
from tests.helpers import tiny_trainer


def lora(model, **more):
    from peft import LoraConfig, get_peft_model

    return get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], **more))


def test_a_loaded_policy_is_found_in_its_folder_whatever_its_dtype(tiny_policy, tiny_policy_dir, tmp_path):
    assert initial_checkpoint(tiny_policy) == tiny_policy_dir.resolve()
    tiny_policy.to(torch.bfloat16).save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    assert initial_checkpoint(again) == tmp_path.resolve()


def test_weights_that_were_changed_after_loading_are_noticed(tiny_policy):
    tiny_policy.model.layers[1].mlp.up_proj.weight.data[0, 3] += 0.1
    assert initial_checkpoint(tiny_policy) is None


def test_a_fresh_adapter_is_its_base_and_a_trained_one_is_not(tiny_policy, tiny_policy_dir):
    assert initial_checkpoint(lora(tiny_policy)) == tiny_policy_dir.resolve()
    trained = AutoModelForCausalLM.from_pretrained(tiny_policy_dir)
    assert initial_checkpoint(lora(trained, init_lora_weights=False)) is None


def test_a_model_made_from_a_config_lies_nowhere(tiny_policy):
    config = tiny_policy.config
    config._name_or_path = ""
    assert initial_checkpoint(LlamaForCausalLM(config)) is None


def test_when_training_only_harms_the_best_is_the_policy_it_started_from(tmp_path, tiny_policy_dir):
    tokenizer = AutoTokenizer.from_pretrained(tiny_policy_dir)
    model = AutoModelForCausalLM.from_pretrained(tiny_policy_dir)
    first = {}

    def likes_what_was_said_first(prompts, completions):
        for p, c in zip(prompts, completions, strict=True):
            first.setdefault(p, c)
        return [float(c == first[p]) for p, c in zip(prompts, completions, strict=True)]

    monitor = RewardMonitor(
        likes_what_was_said_first,
        [
            f"Say {word}."
            for word in [
                "one",
                "two",
                "three",
                "four",
                "five",
                "six",
                "seven",
                "eight",
                "nine",
                "ten",
                "eleven",
                "twelve",
            ]
        ],
        every=2,
        sampling=Sampling(max_new_tokens=5),
        report_to="none",
    )
    callback = RewardMonitorCallback(monitor)
    tiny_trainer(
        model,
        tokenizer,
        tmp_path,
        steps=6,
        callbacks=[callback],
        learning_rate=0.5,
        save_strategy="steps",
        save_steps=2,
        save_total_limit=2,
    ).train()
    assert monitor.best.step == 0
    best = tmp_path / "_rm_monitor" / "best"
    assert best.resolve() == tiny_policy_dir.resolve()
    now = AutoModelForCausalLM.from_pretrained(best).state_dict()
    then = AutoModelForCausalLM.from_pretrained(tiny_policy_dir).state_dict()
    assert all(now[name].equal(then[name]) for name in then)
