"""Supervised fine-tuning with the plain Trainer and a monitor.

You will see one line an evaluation, and the best checkpoint kept.

    python examples/trainer_sft.py                                    # tiny models, no download
    python examples/trainer_sft.py --policy HuggingFaceTB/SmolLM2-135M-Instruct \
        --reward-model Skywork/Skywork-Reward-V2-Qwen3-0.6B --prompts prompts.jsonl --training sft.jsonl
"""

import argparse
import tempfile

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    Trainer,
    TrainingArguments,
)

from rm_monitor import RewardMonitor, RewardMonitorCallback, Sampling, load_prompts


def main() -> None:
    args = parse()
    torch.set_num_threads(args.threads)
    tokenizer = AutoTokenizer.from_pretrained(args.policy)
    model = AutoModelForCausalLM.from_pretrained(args.policy, dtype=torch.float32)

    monitor = RewardMonitor(
        reward_model=args.reward_model,
        prompts=args.prompts,
        references=args.references,
        every=args.every,
        sampling=Sampling(max_new_tokens=args.max_new_tokens),
        seed=args.seed,
    )
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=args.output_dir,
            max_steps=args.steps,
            per_device_train_batch_size=8,
            learning_rate=args.learning_rate,
            save_strategy="no",  # the monitor asks for a save when a new best appears
            save_total_limit=2,
            logging_steps=args.every,
            report_to=args.report_to,
            seed=args.seed,
        ),
        train_dataset=tokenized(args.training, tokenizer, args.max_length),
        data_collator=DataCollatorForSeq2Seq(tokenizer, return_tensors="pt"),
        processing_class=tokenizer,
        callbacks=[RewardMonitorCallback(monitor)],
    )
    trainer.train()

    print(f"verdict: {monitor.verdict.state} - {monitor.verdict}")
    if monitor.best is not None and monitor.best.checkpoint is not None:
        AutoModelForCausalLM.from_pretrained(monitor.best.checkpoint)
        print(f"best: step {monitor.best.step}, loads from {monitor.best.checkpoint}")


def tokenized(path: str, tokenizer, max_length: int) -> list[dict[str, list[int]]]:
    """Prompt-completion rows as ids; the loss is on the completion only."""
    rows = []
    data = load_prompts(path)
    for prompt, completion in zip(data, data.columns["completion"], strict=True):
        turns = [*prompt.messages, {"role": "assistant", "content": completion}]
        ids = tokenizer.apply_chat_template(turns, tokenize=True, return_dict=False)
        start = len(
            tokenizer.apply_chat_template(
                list(prompt.messages), tokenize=True, return_dict=False, add_generation_prompt=True
            )
        )
        rows.append({"input_ids": ids[:max_length], "labels": ([-100] * start + ids[start:])[:max_length]})
    return [row for row in rows if any(label != -100 for label in row["labels"])]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policy")
    parser.add_argument("--reward-model")
    parser.add_argument("--prompts", help="JSONL, JSON, CSV or Parquet with a prompt column")
    parser.add_argument(
        "--references", help="a column of --prompts; by default the untrained policy's own answers"
    )
    parser.add_argument("--training", help="prompt-completion rows to fine-tune on")
    parser.add_argument("--output-dir", default="out/trainer_sft")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--every", type=int, default=20)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--max-new-tokens", type=int, default=16)
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--report-to", default="none")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.policy is None:
        from rm_monitor.testing.counting import fewer_slips
        from rm_monitor.testing.tiny import tiny_run

        tiny = tiny_run(tempfile.mkdtemp(prefix="rm-monitor-tiny-"))
        args.policy, args.prompts, args.training = tiny.policy, tiny.prompts, tiny.training
        args.reward_model = fewer_slips  # any function judges; this one knows the right answers
    return args


if __name__ == "__main__":
    main()
