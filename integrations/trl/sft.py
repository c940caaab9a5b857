"""TRL's SFTTrainer with a monitor. The callback is the same as for the plain Trainer.

python integrations/trl/sft.py                              # tiny models, no download
python integrations/trl/sft.py --policy Qwen/Qwen3-0.6B --reward-model Skywork/Skywork-Reward-V2-Qwen3-0.6B \
        --prompts prompts.jsonl --training sft.jsonl
"""

import argparse
import tempfile

import torch
from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from rm_monitor import RewardMonitor, RewardMonitorCallback, Sampling


def main() -> None:
    args = parse()
    torch.set_num_threads(1)
    monitor = RewardMonitor(
        reward_model=args.reward_model,
        prompts=args.prompts,
        references=args.references,
        every=args.every,
        sampling=Sampling(max_new_tokens=args.max_new_tokens),
    )
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(args.policy, dtype=torch.float32),
        args=SFTConfig(
            output_dir=args.output_dir,
            max_steps=args.steps,
            per_device_train_batch_size=8,
            learning_rate=args.learning_rate,
            max_length=128,
            save_strategy="no",  # the monitor asks for a save when a new best appears
            report_to="none",
            logging_steps=args.every,
            use_cpu=not torch.cuda.is_available(),
            bf16=False,
        ),
        train_dataset=load_dataset("json", data_files=args.training, split="train").map(conversational),
        processing_class=AutoTokenizer.from_pretrained(args.policy),
        callbacks=[RewardMonitorCallback(monitor)],
    )
    trainer.train()
    print(f"verdict: {monitor.verdict.state}; best: {monitor.best and monitor.best.checkpoint}")


def conversational(row):
    """Text rows as messages, so that TRL applies the chat template the monitor uses too."""
    return {
        "prompt": [{"role": "user", "content": row["prompt"]}],
        "completion": [{"role": "assistant", "content": row["completion"]}],
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policy")
    parser.add_argument("--reward-model")
    parser.add_argument("--prompts")
    parser.add_argument("--references")
    parser.add_argument("--training")
    parser.add_argument("--output-dir", default="out/trl_sft")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--every", type=int, default=20)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--max-new-tokens", type=int, default=16)
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
