"""A hand-written accelerate loop with a monitor.

You will see one line an evaluation, and the best checkpoint kept.

    python examples/accelerate_loop.py                          # tiny models, no download
    torchrun --nproc_per_node 2 examples/accelerate_loop.py     # the same curve from two processes
"""

import argparse
import tempfile

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq

from rm_monitor import RewardMonitor, Sampling, load_prompts


def main() -> None:
    args = parse()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    tokenizer = AutoTokenizer.from_pretrained(args.policy)
    model = AutoModelForCausalLM.from_pretrained(args.policy, dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate)
    data = load_prompts(args.training)
    rows = [
        {"input_ids": ids, "labels": ids}
        for prompt, completion in zip(data, data.columns["completion"], strict=True)
        for ids in [
            tokenizer.apply_chat_template(
                [*prompt.messages, {"role": "assistant", "content": completion}],
                tokenize=True,
                return_dict=False,
            )
        ]
    ]
    loader = DataLoader(rows, batch_size=8, shuffle=True, collate_fn=DataCollatorForSeq2Seq(tokenizer))
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)

    monitor = RewardMonitor(
        reward_model=args.reward_model,
        prompts=args.prompts,
        references=None,  # the untrained policy's own answers
        every=args.every,
        output_dir=args.output_dir,
        sampling=Sampling(max_new_tokens=args.max_new_tokens),
    )

    def save(folder):
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            accelerator.unwrap_model(model).save_pretrained(folder)
            tokenizer.save_pretrained(folder)

    step = 0
    monitor.step(step, model, tokenizer, save=save)
    while step < args.steps:
        for batch in loader:
            model.train()
            loss = model(**batch).loss
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            monitor.step(step, model, tokenizer, save=save)
            if step >= args.steps or monitor.verdict.consecutive >= 2:
                break
        if monitor.verdict.consecutive >= 2:
            break
    if accelerator.is_main_process:
        print(f"verdict: {monitor.verdict.state}; best: {monitor.best and monitor.best.checkpoint}")
    monitor.close()
    accelerator.end_training()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policy")
    parser.add_argument("--reward-model")
    parser.add_argument("--prompts")
    parser.add_argument("--training", help="prompt-completion rows to fine-tune on")
    parser.add_argument("--output-dir", default="out/accelerate_loop")
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
