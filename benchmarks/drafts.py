"""Answers with drafts against answers without, checkpoint by checkpoint, on a model that is really trained.

``python -m benchmarks.drafts --model FOLDER`` fine-tunes the model and answers prompts every few steps, each
time without drafts, with the last two evaluations as drafts, with drafts from twice as far back, and with
drafts that are nonsense. All give the same tokens, which is asserted. First it prints what a forward costs by
the tokens in it: no draft can save more than the difference between a decoded and a checked token.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
from functools import partial
from typing import Any

import torch

from benchmarks.paired import cpu, machine, rotated, table
from benchmarks.workload import REAL, random_policy, random_prompts, real_policy, real_prompts, word_tokenizer
from rm_monitor.generators.engine import EngineGenerator
from rm_monitor.packed.linears import packed_linears
from rm_monitor.packed.memory import free_memory
from rm_monitor.types import Prompt, Sampling

GREEDY, DRAWN = "greedy", "temperature 0.7"


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", help="folder of a policy; without it a small random one")
    parser.add_argument("--prompts", type=int, default=24)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--every", type=int, default=8, help="training steps between evaluations")
    parser.add_argument("--evaluations", type=int, default=5)
    parser.add_argument("--lr", type=float, default=2e-5)
    parser.add_argument("--quick", action="store_true", help="a smoke test: proves nothing")
    given = parser.parse_args(arguments)
    if given.quick:
        given.prompts, given.tokens, given.every, given.evaluations = 4, 12, 1, 2
    torch.set_num_threads(1)
    model, tokenizer, prompts, texts = _setting(given)
    kinds = {
        GREEDY: Sampling(temperature=0.0, max_new_tokens=given.tokens),
        DRAWN: Sampling(temperature=0.7, top_p=0.95, max_new_tokens=given.tokens),
    }
    engines = {
        (kind, name): EngineGenerator(drafts=0 if name == "none" else 2)
        for kind in kinds
        for name in ("none", "last two", "twice as far", "nonsense")
    }
    optimizer = torch.optim.AdamW(model.parameters(), lr=given.lr)
    rng = random.Random(0)
    rows: dict[str, dict[str, str]] = {}
    ratios: dict[str, list[float]] = {"last two": [], "twice as far": [], "nonsense": []}
    print(machine(), flush=True)
    _print_costs(model, given.prompts)
    for number in range(given.evaluations):
        if number:
            _train(model, tokenizer, texts, optimizer, given.every, rng)
        for kind, sampling in kinds.items():
            names = ["none", "last two", "nonsense"] + (["twice as far"] if number % 2 == 0 else [])
            spent: dict[str, float] = {}
            said: dict[str, list[str]] = {}
            for name in rotated(names, number):
                engine = engines[kind, name]
                if name == "nonsense":
                    _forget(engine, prompts, len(tokenizer), given.tokens)
                engine.generate(
                    prompts[:2], Sampling(max_new_tokens=1), seed=99, model=model, tokenizer=tokenizer
                )
                spent[name], answers = cpu(
                    lambda e=engine, s=sampling: e.generate(prompts, s, model=model, tokenizer=tokenizer)
                )
                said[name] = [a.text for a in answers]
                assert said[name] == said[next(iter(said))], "drafts changed a token"
            for name in names[1:]:
                if number == 0 and name != "nonsense":
                    continue
                facts = engines[kind, name].facts
                f = facts.accepted / facts.tokens
                won = spent["none"] / spent[name]
                ratios[name].append(won)
                rows[f"{kind}, step {number * given.every}, {name}"] = {
                    "tokens": str(facts.tokens),
                    "steps": str(facts.steps),
                    "checked": f"{facts.offered / facts.tokens:.2f}",
                    "accepted f": f"{f:.2f}",
                    "without, CPU-s": f"{spent['none']:.2f}",
                    "times faster": f"{won:.2f}",
                    "0.85 / (1 - f)": f"{0.85 / (1 - f) if f < 1 else math.inf:.2f}",
                }
                print(
                    f"{kind}, step {number * given.every}, {name}",
                    rows[f"{kind}, step {number * given.every}, {name}"],
                    flush=True,
                )
    print(table(rows), flush=True)
    return {"rows": rows, "ratios": ratios}


def _print_costs(model: Any, rows: int) -> None:
    """What one forward costs, and the most that drafts could be worth with so many rows."""
    costs: dict[int, float] = {}
    with torch.no_grad(), packed_linears(model, free_memory(torch.device("cpu"))):
        for tokens in sorted({1, 4, 8, 16, 32, 64, 128, rows}):
            ids = torch.randint(5, 1000, (1, tokens))
            places = torch.arange(tokens)[None]
            run = partial(model, input_ids=ids, position_ids=places, use_cache=False)
            costs[tokens] = statistics.median([cpu(run)[0] for _ in range(7)][2:])
    print(table({"CPU-ms a forward": {str(t): f"{1e3 * c:.1f}" for t, c in costs.items()}}))
    decoded, checked = costs[rows] / rows, (costs[128] - costs[64]) / 64
    print(
        f"{rows} rows: a decoded token {1e3 * decoded:.2f} CPU-ms, one more in a full forward "
        f"{1e3 * checked:.2f}: at most {decoded / checked:.2f} times faster",
        flush=True,
    )


def _setting(given: argparse.Namespace) -> tuple[Any, Any, list[Prompt], list[str]]:
    if given.model:
        model, tokenizer = real_policy(given.model)
        lines = (REAL / "sft.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        texts = [
            tokenizer.apply_chat_template(
                [{"role": "user", "content": r["prompt"]}, {"role": "assistant", "content": r["completion"]}],
                tokenize=False,
            )
            for r in rows
        ]
        return model, tokenizer, real_prompts(given.prompts), texts
    prompts = random_prompts(given.prompts)
    return random_policy(small=True), word_tokenizer(), prompts, [p.text for p in prompts]


def _train(
    model: Any, tokenizer: Any, texts: list[str], optimizer: Any, steps: int, rng: random.Random
) -> None:
    model.train()
    for _ in range(steps):
        loss = torch.zeros(())
        for text in rng.sample(texts, 4):
            ids = torch.tensor([tokenizer(text)["input_ids"][:128]])
            places = torch.arange(ids.shape[1])[None]
            logits = model(input_ids=ids, position_ids=places).logits[0, :-1]
            loss = loss + torch.nn.functional.cross_entropy(logits, ids[0, 1:]) / 4
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    model.eval()


def _forget(engine: EngineGenerator, prompts: list[Prompt], vocabulary: int, tokens: int) -> None:
    """Replace what an engine remembers by noise of the same length."""
    generator = torch.Generator().manual_seed(0)
    for prompt in prompts:
        for _ in range(2):
            noise = torch.randint(4, vocabulary, (tokens,), generator=generator).numpy()
            engine._memory.keep((0, prompt.id, 0), noise)


if __name__ == "__main__":
    main()
