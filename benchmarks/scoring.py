"""Scoring alone: our scorer on new completions against batches of 8 in the order they came.

    python -m benchmarks.scoring
    python -m benchmarks.scoring --model path/to/reward-model
    python -m benchmarks.scoring --prompts 64 --samples 4

The other side is transformers' own forward on the inputs it would be given: the chat template's text (or the
text pair) tokenized batch by batch and padded to the longest. Tokenizing is counted on both sides. Every
round asserts that the scores are equal. References are left out: a monitor scores them once for all, the
other side each time, and that is a gain of another kind. Each round answers the same prompts anew, as the
evaluations of a run do, and two come before the first round. Beside it, our scorer without each thing it
does: nothing kept of the prompts, no packed rows, no reordered weights, nothing shared between rows.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import math
import random
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from benchmarks.judges import random_judge
from benchmarks.paired import cpu, machine, ratio, rotated, table
from benchmarks.workload import REAL, WORDS, random_prompts, word_tokenizer
from rm_monitor import load_scorer
from rm_monitor.cache.cached import cached
from rm_monitor.cache.scores import ScoreStore
from rm_monitor.scorers.run import lean
from rm_monitor.scorers.run.batching import Row, plan
from rm_monitor.scorers.run.in_process import InProcessScorer
from rm_monitor.scorers.run.packing import packs
from rm_monitor.types import Completion, Prompt

OURS, CACHED = "rm_monitor", "rm_monitor, with an empty score cache"
FIRST = "nothing kept of earlier rounds"
PADDED, PLAIN, APART = "without packed rows", "without reordered weights", "nor shared between rows"
TOLERANCE = 1e-4


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", help="folder of a text-pair reward model; without it a random Llama")
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--samples", type=int, default=1, help="answers to each prompt (random model only)")
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a smoke test: proves nothing")
    given = parser.parse_args(arguments)
    if given.quick:
        given.prompts, given.batches, given.rounds = 12, [8], 1
    torch.set_num_threads(1)
    print(machine(), "float32", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        if given.model:
            model = AutoModelForSequenceClassification.from_pretrained(given.model, dtype=torch.float32)
            tokenizer, scorer = (
                AutoTokenizer.from_pretrained(given.model),
                load_scorer(given.model, show=False),
            )
            real = _real_rows(given.prompts, tokenizer)
            answered = lambda turn: real  # noqa: E731  an encoder keeps nothing
            encode = partial(_pairs, tokenizer)
        else:
            tokenizer = word_tokenizer()
            model = random_judge(Path(folder), tokenizer, small=given.quick)
            scorer = load_scorer(folder, show=False)
            answered = partial(_random_rows, given.prompts, given.samples)
            encode = partial(_chats, tokenizer)
    return _compare(given, model.eval(), scorer, encode, answered)


def _compare(
    given: argparse.Namespace, model: Any, scorer: Any, encode: Any, answered: Callable[[int], Any]
) -> dict[str, Any]:
    peers = {f"transformers, batch {b}": b for b in given.batches}
    works: dict[str, Callable[..., Any]] = {
        OURS: lambda p, c: scorer.score(p, c).reward,
        CACHED: lambda p, c: cached(scorer, ScoreStore(":memory:")).score(p, c).reward,
    }
    if scorer.reader.causal:
        works[FIRST] = partial(_without, scorer, scorer, "_prefixes", None)
    works[PADDED] = partial(_without, scorer, InProcessScorer, "padded", "measured")
    works[PLAIN] = partial(_without, scorer, lean, "WORTH_REORDERING", math.inf)
    prompts, completions = answered(0)
    shared = _shared(scorer, prompts, completions)
    if shared:
        works[APART] = partial(_nothing_shared, scorer)
    works |= {name: partial(_peer, model, encode, batch=b) for name, b in peers.items()}
    for earlier in (-2, -1):
        scorer.score(*answered(earlier))
    _peer(model, encode, prompts[:1], completions[:1], 1)
    spent: dict[str, list[float]] = {}
    apart = 0.0
    for turn in range(given.rounds):
        prompts, completions = answered(turn)
        said = {}
        for name in rotated(list(works), turn):
            remembered = _copied(scorer._prefixes)  # the same answers must not be known to the next
            seconds, said[name] = cpu(partial(works[name], prompts, completions))
            scorer._prefixes = remembered
            spent.setdefault(name, []).append(seconds)
            print(turn, name, f"{seconds:.2f} CPU-s", flush=True)
        for rewards in said.values():
            assert np.isfinite(rewards).all(), "a score is missing"
            apart = max(apart, float(np.abs(rewards - said[OURS]).max()))
        assert apart <= TOLERANCE, f"scores differ by {apart:.1e}"
    lengths = encode(prompts, completions)["attention_mask"].sum(1).tolist()
    tokens = sum(lengths)
    print(
        f"{len(prompts)} completions, {tokens} tokens, {given.rounds} rounds; largest difference of two "
        f"scores {apart:.1e}, their standard deviation {np.std(said[OURS]):.2f}"
    )
    in_order = [list(range(i, min(i + 8, len(lengths)))) for i in range(0, len(lengths), 8)]
    sorted_ = plan(lengths, budget=scorer.batcher.budget(scorer.device))
    print(
        f"padding in batches of 8: {_padding(in_order, lengths):.1%}, sorted and within the budget: "
        f"{_padding(sorted_, lengths):.1%}, packed: none; of the tokens, {shared:.1%} "
        "are begun alike and computed once"
    )
    rows = {
        name: {
            "CPU-s": f"{statistics.median(seconds):.2f}",
            "tokens / CPU-s": f"{tokens / statistics.median(seconds):.0f}",
            "times ours": ratio(seconds, spent[OURS]),
        }
        for name, seconds in spent.items()
    }
    print(table(rows), flush=True)
    return {"rows": rows, "spent": spent}


def _copied(prefixes: Any) -> Any:
    other = copy.copy(prefixes)
    if other is not None:
        other._kept, other._seen = list(other._kept), list(other._seen)
    return other


def _without(scorer: Any, where: Any, name: str, instead: Any, prompts: Any, completions: Any) -> Any:
    """Scores with one thing switched off."""
    with mock.patch.object(where, name, instead):
        return scorer.score(prompts, completions).reward


def _nothing_shared(scorer: Any, prompts: Any, completions: Any) -> Any:
    def apart(rows: Any, *, budget: int, **_: Any) -> Any:
        return packs(rows, budget=budget, share=False)

    with mock.patch.object(scorer, "_prefixes", None):
        return _without(scorer, lean, "packs", apart, prompts, completions)


def _padding(batches: list[list[int]], lengths: list[int]) -> float:
    """Padding tokens, as a share of the real ones."""
    return sum(len(batch) * max(lengths[i] for i in batch) for batch in batches) / sum(lengths) - 1


def _shared(scorer: Any, prompts: Any, completions: Any) -> float:
    """Tokens that rows share with others and that are not computed again, as a share of all."""
    if not scorer.reader.causal:
        return 0.0
    rendered = [scorer.formatter.render(p, c.text) for p, c in zip(prompts, completions, strict=True)]
    rows = [Row(one.ids) for one in rendered]
    together = [
        group
        for pack in packs(rows, budget=scorer.batcher.budget(scorer.device), share=True)
        for group in pack
    ]
    return sum((len(g.rows) - 1) * g.shared for g in together) / sum(len(row.ids) for row in rows)


def _peer(model: Any, encode: Any, prompts: Any, completions: Any, batch: int) -> Any:
    rewards = []
    with torch.no_grad():
        for start in range(0, len(prompts), batch):
            part = slice(start, start + batch)
            rewards.append(model(**encode(prompts[part], completions[part])).logits[:, 0].double())
    return torch.cat(rewards).numpy()


def _chats(tokenizer: Any, prompts: list[Prompt], completions: list[Completion]) -> Any:
    chats = [
        [*p.messages, {"role": "assistant", "content": c.text}]
        for p, c in zip(prompts, completions, strict=True)
    ]
    return tokenizer.apply_chat_template(chats, padding=True, return_tensors="pt", return_dict=True)


def _pairs(tokenizer: Any, prompts: list[Prompt], completions: list[Completion]) -> Any:
    asked = [p.messages[-1]["content"] for p in prompts]
    return tokenizer(asked, [c.text for c in completions], padding=True, return_tensors="pt")


def _random_rows(n: int, samples: int, turn: int) -> tuple[list[Prompt], list[Completion]]:
    """Answers of 4 to 160 words, lognormal with a mean of about 50; others each turn."""
    prompts, rng = [p for p in random_prompts(n) for _ in range(samples)], random.Random(7 + turn)
    completions = []
    for prompt in prompts:
        size = min(160, max(4, round(38 * math.exp(0.8 * rng.gauss(0, 1)))))
        text = " ".join(f"w{rng.randrange(5, WORDS)}" for _ in range(size))
        completions.append(Completion(prompt_id=prompt.id, text=text))
    return prompts, completions


def _real_rows(n: int, tokenizer: Any) -> tuple[list[Prompt], list[Completion]]:
    """AlpacaEval's prompts with the answers of text_davinci_001 that fit into what the model reads."""
    prompts, completions = [], []
    for line in (REAL / "alpaca_eval.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        text = row["references"]["text_davinci_001"]
        if text and len(tokenizer(row["prompt"], text)["input_ids"]) <= tokenizer.model_max_length:
            prompts.append(Prompt(id=row["id"], messages=({"role": "user", "content": row["prompt"]},)))
            completions.append(Completion(prompt_id=row["id"], text=text))
    return prompts[:n], completions[:n]


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    main()
