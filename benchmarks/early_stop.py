"""What stopping early saves, how often it is wrong, and whether its intervals hold.

    python -m benchmarks.early_stop            simulated evaluations and the price of blocks
    python -m benchmarks.early_stop --quick    a smoke test: proves nothing

Simulated: win probabilities with a logistic-normal spread of 1.5 over prompts, 256 prompts; two
checkpoints share their prompts' difficulty (correlation .6). Seeds are fixed. Exit 1 if an interval covers
less than it says, or a checkpoint that is as good as the best is called worse more often than in 2.5 of 100.
"""

from __future__ import annotations

import argparse
import math
import sys

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from rm_monitor import stats
from rm_monitor.evaluation.early_stop import Looks, Rival
from rm_monitor.types import Prompt

PROMPTS, SPREAD, SHARED = 256, 1.5, 0.6
MEANS = (0.50, 0.544, 0.588, 0.633, 0.68)
FALLS = (0.0, 0.02, 0.05, 0.10, 0.15, 0.20, 0.30)
BEST = 0.65


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=4000, help="simulated evaluations a row")
    parser.add_argument("--no-price", action="store_true", help="leave out what answering in blocks costs")
    parser.add_argument("--quick", action="store_true", help="a smoke test: proves nothing")
    given = parser.parse_args(arguments)
    runs = 20 if given.quick else given.runs
    prompts = [Prompt(id=str(i), messages=()) for i in range(PROMPTS)]
    eight, ours = Looks.plan(prompts, seed=0, looks=8), Looks.plan(prompts, seed=0)
    missed = _against_a_half(eight, runs)
    for looks in (eight, ours):
        missed += _against_the_best(looks, prompts, runs)
    if not given.no_price:
        _price(quick=given.quick)
    print("\nall targets reached" if not missed else "\nmissed: " + "; ".join(missed))
    return 1 if missed and not given.quick else 0


def _against_a_half(looks: Looks, runs: int) -> list[str]:
    """The textbook question, two-sided at 5 %: is the mean another than one half?"""
    print(f"\n## Is the win probability another than .5? Two-sided, 5 %, {len(looks.blocks)} looks")
    print("| true mean | prompts saved | decided | decided by all at once | interval at the stop covers |")
    print("|---|---|---|---|---|")
    missed = []
    order = [i for block in looks.blocks for i in block]
    sizes = np.cumsum([len(block) for block in looks.blocks])
    for mean in MEANS:
        rng = np.random.default_rng((1, int(1000 * mean)))
        used, decided, at_once, covered = [], 0, 0, 0
        for _ in range(runs):
            x = expit(_centre(mean) + SPREAD * rng.normal(size=PROMPTS))[order]
            for size, level in zip(sizes, looks.levels, strict=True):
                e = stats.mean(x[:size], level=float(level))
                if not e.low <= 0.5 <= e.high:
                    break
            used.append(size)
            decided += not e.low <= 0.5 <= e.high
            covered += e.low <= mean <= e.high
            fixed = stats.mean(x)
            at_once += not fixed.low <= 0.5 <= fixed.high
        print(
            f"| {mean:.3f} | {PROMPTS / np.mean(used):.2f}x | {decided / runs:.3f} | {at_once / runs:.3f} | "
            f"{covered / runs:.3f} |",
            flush=True,
        )
        missed += _short(f"mean {mean}: coverage", covered / runs, 0.95, runs)
    return missed


def _against_the_best(looks: Looks, prompts: list[Prompt], runs: int) -> list[str]:
    """The monitor's question, on the same prompts: is the checkpoint worse than the best?"""
    print(f"\n## Is the checkpoint worse than the best (.65), on the same prompts? {len(looks.blocks)} looks")
    print(
        "| true fall | prompts saved | stopped | whole and worse | its interval covers "
        "| a plain 95 % interval at the stop covers |"
    )
    print("|---|---|---|---|---|---|")
    missed = []
    for fall in FALLS:
        rng = np.random.default_rng((2, int(1000 * fall)))
        used, stopped, whole, covered, plain = [], 0, 0, 0, 0
        for _ in range(runs):
            both = rng.normal(size=PROMPTS)
            a, b = (
                expit(
                    _centre(mean)
                    + SPREAD * (math.sqrt(SHARED) * both + math.sqrt(1 - SHARED) * rng.normal(size=PROMPTS))
                )
                for mean in (BEST, BEST - fall)
            )
            rival, seen = Rival(step=0, metric="win_prob", values=a), np.full(PROMPTS, np.nan)
            for look, block in enumerate(looks.blocks):
                seen[list(block)] = b[list(block)]
                worse = looks.is_worse(look, seen, rival, prompts)
                if worse:
                    break
            n = int(np.isfinite(seen).sum())
            used.append(n)
            stopped += worse and n < PROMPTS
            whole += worse and n == PROMPTS
            e, simple = stats.share(seen, level=float(looks.levels[look])), stats.share(seen)
            covered += e.low <= BEST - fall <= e.high
            plain += simple.low <= BEST - fall <= simple.high
        print(
            f"| {100 * fall:.0f} points | {PROMPTS / np.mean(used):.2f}x | {stopped / runs:.3f} | "
            f"{whole / runs:.3f} | {covered / runs:.3f} | {plain / runs:.3f} |",
            flush=True,
        )
        missed += _short(f"fall {fall}: coverage", covered / runs, 0.95, runs)
        if fall == 0:
            missed += _short("no fall: not called worse", 1 - (stopped + whole) / runs, 0.975, runs)
    return missed


def _short(what: str, got: float, least: float, runs: int) -> list[str]:
    """Named if it is short by more than three standard errors."""
    return [f"{what} {got:.3f}"] if got < least - 3 * math.sqrt(least * (1 - least) / runs) else []


def _centre(mean: float) -> float:
    """Of a normal with our spread whose sigmoid has this mean."""
    points, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    return float(brentq(lambda m: weights @ expit(m + SPREAD * points) - mean, -10, 10))


def _price(*, quick: bool) -> None:
    """Answering block by block against all at once: fewer rows share a step."""
    import torch

    from benchmarks.paired import cpu, machine, ratio, rotated
    from benchmarks.workload import random_policy, random_prompts, word_tokenizer
    from rm_monitor import Sampling
    from rm_monitor.generators.engine import EngineGenerator

    torch.set_num_threads(1)
    n, rounds, tokens = (32, 1, 4) if quick else (256, 1, 160)
    model, tokenizer, prompts = random_policy(small=quick), word_tokenizer(), random_prompts(n)
    engine, sampling = EngineGenerator(), Sampling(temperature=0.0, max_new_tokens=tokens)
    plans = {f"{k} blocks": Looks.plan(prompts, seed=0, looks=k).blocks for k in (8, 4)}
    plans["all at once"] = (tuple(range(n)),)
    engine.generate(prompts[:2], sampling, seed=0, model=model, tokenizer=tokenizer)  # the trial
    spent: dict[str, list[list[float]]] = {name: [] for name in plans}
    for turn in range(rounds):
        said: dict[str, dict[int, str]] = {}
        for name in rotated(list(plans), turn):
            texts, seconds = said.setdefault(name, {}), []
            for rows in plans[name]:
                asked = [prompts[i] for i in rows]
                took, answers = cpu(
                    lambda asked=asked: engine.generate(
                        asked, sampling, seed=0, model=model, tokenizer=tokenizer
                    )
                )
                texts |= {i: c.text for i, c in zip(rows, answers, strict=True)}
                seconds.append(took)
            spent[name].append(np.cumsum(seconds).tolist())
        assert all(texts == said["all at once"] for texts in said.values()), "blocks changed an answer"
    print(f"\n## The price of blocks: {n} prompts\n{machine()}")
    whole = [seconds[-1] for seconds in spent.pop("all at once")]
    print(f"all at once: {np.median(whole):.2f} CPU-s; times that, if it stops after each block:")
    for name, each in spent.items():
        print(f"{name}: " + ", ".join(ratio(list(at), whole) for at in zip(*each, strict=True)), flush=True)


if __name__ == "__main__":
    sys.exit(main())
