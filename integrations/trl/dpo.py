"""TRL's DPOTrainer with a monitor: DPO is where answers get worse while the training metrics still improve.

python integrations/trl/dpo.py                              # tiny models, no download
python integrations/trl/dpo.py --policy Qwen/Qwen3-0.6B --reward-model Skywork/Skywork-Reward-V2-Qwen3-0.6B \
        --prompts prompts.jsonl --training preferences.jsonl
"""

import argparse
import json
import random
import tempfile
from pathlib import Path

import torch
from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer

from rm_monitor import RewardMonitor, RewardMonitorCallback, Sampling


def main() -> None:
    args = parse()
    torch.set_num_threads(1)
    monitor = RewardMonitor(
        reward_model=args.reward_model,
        prompts=args.prompts,
        references=None,  # the initial policy's own answers: what DPO starts from
        every=args.every,
        sampling=Sampling(max_new_tokens=args.max_new_tokens),
    )
    trainer = DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(args.policy, dtype=torch.float32),
        ref_model=AutoModelForCausalLM.from_pretrained(args.policy, dtype=torch.float32),
        args=DPOConfig(
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
        "chosen": [{"role": "assistant", "content": row["chosen"]}],
        "rejected": [{"role": "assistant", "content": row["rejected"]}],
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policy")
    parser.add_argument("--reward-model")
    parser.add_argument("--prompts")
    parser.add_argument("--training", help="rows with prompt, chosen, rejected")
    parser.add_argument("--output-dir", default="out/trl_dpo")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--every", type=int, default=20)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--max-new-tokens", type=int, default=16)
    args = parser.parse_args()
    if args.policy is None:
        from rm_monitor.testing.counting import fewer_slips
        from rm_monitor.testing.tiny import tiny_run

        tiny = tiny_run(tempfile.mkdtemp(prefix="rm-monitor-tiny-"))
        args.policy, args.prompts = tiny.policy, tiny.prompts
        args.reward_model = fewer_slips  # any function judges; this one knows the right answers
        args.training = preferences(Path(tiny.training))
    return args


def preferences(training: Path) -> str:
    """Chosen: the right answer; rejected: words at random, and too many, as the untrained policy's."""
    from rm_monitor.testing.counting import WORDS

    rng = random.Random(0)
    path = training.with_name("preferences.jsonl")
    with path.open("w") as file:
        for line in training.read_text().splitlines():
            row = json.loads(line)
            rejected = " ".join(rng.choices(WORDS, k=16))
            file.write(
                json.dumps({"prompt": row["prompt"], "chosen": row["completion"], "rejected": rejected})
                + "\n"
            )
    return str(path)


if __name__ == "__main__":
    main()
