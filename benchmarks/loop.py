"""One evaluation by `RewardMonitor` against the loop that a competent user writes today.

The loop: transformers' ``generate`` under ``inference_mode`` over prompts sorted by length, in batches that
are tried from the command line; scoring sorted by length in batches of 2,048 tokens; prompt ids and the
references' scores made once, before anything is timed. Greedy, one model object that takes new weights each
round, equal completions and win probabilities asserted in float32. ``--autocast``: float32 weights inside
accelerate's bfloat16, what a trainer's ``bf16=True`` makes; tokens may then part, and how many are equal is
printed. Our side is `RewardMonitor.evaluate` as users call it, files on disk included.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from benchmarks.judges import random_judge
from benchmarks.paired import cpu, machine, ratio, rotated, table
from benchmarks.peer import OURS, Noting, references
from benchmarks.workload import random_policy, random_prompts, word_tokenizer
from rm_monitor import RewardMonitor, Sampling
from rm_monitor.types import Prompt

BUDGET = 2048  # tokens of one forward of the loop's judge


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=160)
    parser.add_argument("--autocast", action="store_true", help="float32 weights under bfloat16 autocast")
    parser.add_argument("--quick", action="store_true", help="a smoke test: proves nothing")
    given = parser.parse_args(arguments)
    if given.quick:
        given.prompts, given.batches, given.rounds, given.tokens = 5, [5], 1, 8
    torch.set_num_threads(1)
    print(machine(), "float32, bfloat16 autocast" if given.autocast else "float32", flush=True)
    before = os.environ.get("RM_MONITOR_CACHE")
    try:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["RM_MONITOR_CACHE"] = str(Path(folder) / "cache")
            return _run(given, Path(folder))
    finally:
        os.environ.pop("RM_MONITOR_CACHE")
        if before is not None:
            os.environ["RM_MONITOR_CACHE"] = before


def _run(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    policy, tokenizer = random_policy(small=given.quick), word_tokenizer()
    weights = policy.state_dict  # of the model, not of what hangs around it
    if given.autocast:
        policy = Accelerator(mixed_precision="bf16", cpu=True).prepare_model(policy, evaluation_mode=True)
    prompts, judge = (
        random_prompts(given.prompts),
        random_judge(folder / "judge", tokenizer, small=given.quick),
    )
    known = references(prompts, 0)
    loop = Loop(policy, judge, tokenizer, prompts, known, given.tokens)
    monitor = RewardMonitor(
        reward_model=str(folder / "judge"),
        prompts=[{"id": p.id, "prompt": list(p.messages)} for p in prompts],
        references=known,
        every=1,
        output_dir=folder / "run",
        sampling=Sampling(temperature=0.0, max_new_tokens=given.tokens),
        report_to=[],
        generator=(noting := Noting()),
        on_error="raise",
    )

    def ours(step: int) -> float:
        with contextlib.redirect_stdout(io.StringIO()):
            return float(monitor.evaluate(policy, tokenizer, step=step).metrics["win_prob"].value)

    first, _ = cpu(partial(ours, 0))
    spent: dict[str, list[float]] = {"first evaluation of rm_monitor": [first] * given.rounds}
    answering: dict[str, list[float]] = {}
    for turn in range(given.rounds):
        fresh = random_policy(small=given.quick, seed=turn + 1).state_dict()
        with torch.no_grad():
            for name, value in weights().items():
                value.copy_(fresh[name])
        said: dict[str, list[str]] = {}
        won: dict[str, float] = {}
        for name in rotated([OURS, *(f"loop, batch {batch}" for batch in given.batches)], turn):
            if name == OURS:
                total, won[name] = cpu(partial(ours, turn + 1))
                part, said[name] = noting.seconds, noting.texts
            else:
                part, said[name] = cpu(partial(loop.answers, int(name.rsplit(" ", 1)[1])))
                rest, won[name] = cpu(partial(loop.won, said[name]))
                total = part + rest
            spent.setdefault(name, []).append(total)
            answering.setdefault(name, []).append(part)
            print(turn, name, f"{total:.2f} CPU-s, answers {part:.2f}, win {won[name]:.6f}", flush=True)
        same = {name: sum(map(str.__eq__, said[OURS], texts)) for name, texts in said.items()}
        print(turn, "equal answers", same, flush=True)
        if not given.autocast:
            assert set(same.values()) == {len(prompts)}, "completions differ"
            assert max(won.values()) - min(won.values()) < 1e-5, "win probabilities differ"
    rows = {
        name: {
            "CPU-s": f"{statistics.median(seconds):.2f}",
            "times ours": ratio(seconds, spent[OURS]),
            "answers alone": ratio(answering[name], answering[OURS]) if name in answering else "",
        }
        for name, seconds in spent.items()
    }
    print(f"{given.prompts} prompts, {given.rounds} rounds\n{table(rows)}", flush=True)
    return {"rows": rows}


class Loop:
    """What a competent user writes.

    Args:
        policy: The model.
        judge: A sequence classifier with one label.
        tokenizer: Of both.
        prompts: ``n`` prompts.
        known: ``n`` references.
        tokens: Longest answer.
    """

    def __init__(
        self, policy: Any, judge: Any, tokenizer: Any, prompts: list[Prompt], known: list[str], tokens: int
    ) -> None:
        self._policy, self._judge, self._tokenizer, self._tokens = policy, judge, tokenizer, tokens
        self._prompts = prompts
        texts = [
            tokenizer.apply_chat_template(list(p.messages), tokenize=False, add_generation_prompt=True)
            for p in prompts
        ]
        self._ids = [tokenizer(text)["input_ids"] for text in texts]
        self._known = self._scores(known)

    @torch.inference_mode()
    def answers(self, batch: int) -> list[str]:
        """Greedy answers, so many prompts at once."""
        order = sorted(range(len(self._ids)), key=lambda i: -len(self._ids[i]))
        texts = [""] * len(order)
        for start in range(0, len(order), batch):
            part = order[start : start + batch]
            longest = max(len(self._ids[i]) for i in part)
            given = self._tokenizer.pad(
                {"input_ids": [self._ids[i] for i in part]}, padding_side="left", return_tensors="pt"
            )
            made = self._policy.generate(
                **{name: given[name] for name in ("input_ids", "attention_mask")},
                do_sample=False,
                max_new_tokens=self._tokens,
                eos_token_id=self._tokenizer.eos_token_id,
                pad_token_id=self._tokenizer.pad_token_id,
            )
            for i, row in zip(part, made, strict=True):
                texts[i] = self._tokenizer.decode(row[longest:], skip_special_tokens=True)
        return texts

    def won(self, texts: list[str]) -> float:
        """Mean win probability against the references."""
        return float(torch.sigmoid(self._scores(texts) - self._known).mean())

    @torch.inference_mode()
    def _scores(self, texts: list[str]) -> torch.Tensor:
        conversations = [
            [*p.messages, {"role": "assistant", "content": text}]
            for p, text in zip(self._prompts, texts, strict=True)
        ]
        written = self._tokenizer.apply_chat_template(conversations, tokenize=False)
        ids = self._tokenizer(written)["input_ids"]
        scores = torch.empty(len(ids))
        batch: list[int] = []
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        for i, after in zip(order, [*order[1:], None], strict=True):
            batch.append(i)
            if after is None or (len(batch) + 1) * len(ids[after]) > BUDGET:
                given = self._tokenizer.pad(
                    {"input_ids": [ids[j] for j in batch]}, padding_side="right", return_tensors="pt"
                )
                out = self._judge(input_ids=given["input_ids"], attention_mask=given["attention_mask"])
                scores[batch] = out.logits[:, 0].float()
                batch = []
        return scores


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    main()
