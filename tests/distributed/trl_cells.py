"""TRL's trainers as cells: SFT, DPO with a reference model, GRPO, which draws from the global state."""

from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

TRL = ("sft", "dpo", "grpo")
COMMON = dict(
    per_device_train_batch_size=2,
    learning_rate=1e-3,
    report_to=[],
    use_cpu=True,
    bf16=False,
    disable_tqdm=True,
    logging_steps=1,
    save_strategy="no",
    seed=1,
)


def turns(text):
    return [{"role": "user", "content": text}]


def said(text):
    return [{"role": "assistant", "content": text}]


def rewards(completions, **kwargs):
    return [float(len(set(c[0]["content"]))) for c in completions]


def trl_trainer(recipe, policy, out, callbacks, steps):
    """The trainer of this name over a tiny policy with attention dropout."""
    import trl

    model = AutoModelForCausalLM.from_pretrained(policy)
    more = dict(args=None, processing_class=AutoTokenizer.from_pretrained(policy), callbacks=callbacks)
    settings = dict(COMMON, output_dir=str(out), max_steps=steps)
    prompts = [turns(f"ask {i}") for i in range(16)]
    if recipe == "sft":
        rows = Dataset.from_dict({"prompt": prompts, "completion": [said(f"answer {i}") for i in range(16)]})
        more["args"] = trl.SFTConfig(**settings, max_length=64)
        return trl.SFTTrainer(model=model, train_dataset=rows, **more)
    if recipe == "dpo":
        columns = {
            "prompt": prompts,
            "chosen": [said(f"good {i}") for i in range(16)],
            "rejected": [said(f"bad {i}") for i in range(16)],
        }
        more["args"] = trl.DPOConfig(**settings, max_length=64)
        reference = AutoModelForCausalLM.from_pretrained(policy)
        rows = Dataset.from_dict(columns)
        return trl.DPOTrainer(model=model, ref_model=reference, train_dataset=rows, **more)
    more["args"] = trl.GRPOConfig(**settings, num_generations=2, max_completion_length=6)
    rows = Dataset.from_dict({"prompt": prompts})
    return trl.GRPOTrainer(model=model, reward_funcs=rewards, train_dataset=rows, **more)
