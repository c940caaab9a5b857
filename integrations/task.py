"""What the hosts of this folder train on: counting in words, tiny models, made in 15 seconds.

python integrations/task.py writes it where you are; then each host's configuration runs as it stands.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
AHEAD = 64  # prompts that are held out


def make(folder: Path) -> None:
    """Write an untrained policy, a judge that knows the task, prompts, and data in three layouts."""
    import torch

    from rm_monitor.demo.reward_model import train_reward_model
    from rm_monitor.testing.counting import examples
    from rm_monitor.testing.tiny import make_tokenizer, tiny_run

    torch.set_num_threads(1)
    tiny_run(folder / "tiny", prompts=AHEAD)
    judge, _ = train_reward_model(make_tokenizer(), examples(0)[AHEAD:], seed=0)
    judge.save_pretrained(folder / "tiny" / "reward-model")
    text = (folder / "tiny" / "sft.jsonl").read_text()
    pairs = [(row["prompt"], row["completion"]) for row in map(json.loads, text.splitlines())]
    chat = [{"messages": [_turn("user", p), _turn("assistant", c)]} for p, c in pairs]
    alpaca = [{"instruction": p, "input": "", "output": c} for p, c in pairs]
    (folder / "data").mkdir()
    (folder / "data" / "chat.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chat))
    (folder / "alpaca").mkdir()
    (folder / "alpaca" / "alpaca.json").write_text(json.dumps(alpaca))
    names = {"counting": {"file_name": "alpaca.json"}}
    (folder / "alpaca" / "dataset_info.json").write_text(json.dumps(names))
    shutil.copy(HERE / "monitor.yaml", folder)


def rows(tokenizer: Any, path: str = "data/chat.jsonl") -> list[dict[str, list[int]]]:
    """The conversations as token ids, for hosts that take data as it comes."""
    found = []
    for line in Path(path).read_text().splitlines():
        ids = tokenizer.apply_chat_template(json.loads(line)["messages"], tokenize=True, return_dict=False)
        found.append({"input_ids": ids, "labels": ids})
    return found


def arguments() -> argparse.Namespace:
    """What each script of this folder takes: ``--steps``, and ``--resume`` from what it saved last."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--resume", action="store_true")
    return parser.parse_args()


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


if __name__ == "__main__":
    make(Path.cwd())
