"""How often a second judge's flags are raised when they should, and when they should not.

    python benchmarks/second_judge.py [--runs 150]

Runs of known truth: 128 prompts, 16 evaluations, two judges who share half of their noise. Numbers are
shares of runs that raise a flag at least once, with their Monte-Carlo standard error.
"""

import argparse

import numpy as np

from rm_monitor.types import EvalPoint
from rm_monitor.verdict.signals.overoptimisation import second_opinions

PROMPTS, EVALUATIONS, SHARED = 128, 16, 0.5


def drifting(rng: np.random.Generator) -> np.ndarray:
    """What a checkpoint is by chance better or worse at: AR(1) over evaluations, prompt by prompt."""
    fresh = rng.normal(0, 1, (EVALUATIONS, PROMPTS))
    out = fresh.copy()
    for t in range(1, EVALUATIONS):
        out[t] = 0.85 * out[t - 1] + np.sqrt(1 - 0.85**2) * fresh[t]
    return 0.9 * out


def noise(rng: np.random.Generator) -> np.ndarray:
    """Drift and generation noise of one source."""
    return drifting(rng) + 1.2 * rng.standard_t(5, (EVALUATIONS, PROMPTS)) / np.sqrt(5 / 3)


def flags(judge: np.ndarray, gold: np.ndarray, seed: int) -> set[str]:
    """Names of all flags that a run raises, given the true levels of its two judges."""
    rng = np.random.default_rng(seed)
    easy, easy_gold, shared = rng.normal(0, 1.6, PROMPTS), rng.normal(0, 1.6, PROMPTS), noise(rng)
    mix = np.sqrt(SHARED) * shared
    scores = {
        "": judge[:, None] + easy + mix + np.sqrt(1 - SHARED) * noise(rng),
        "gold/": gold[:, None] + 0.7 * (easy + easy_gold) + mix + np.sqrt(1 - SHARED) * noise(rng),
    }
    points, seen, memories = [], set(), {}
    for t in range(EVALUATIONS):
        values = {}
        for prefix, table in scores.items():
            values[f"{prefix}reward"] = table[t]
            values[f"{prefix}win_rate"] = (table[t] > 0).astype(float)
            values[f"{prefix}win_prob"] = 1 / (1 + np.exp(-table[t]))
        points.append(EvalPoint(step=t, values=values))
        found = second_opinions(
            points, metric="win_prob", horizon=EVALUATIONS, temperature=1.0, memories=memories
        )
        seen |= {signal.name for signal in found}
    return seen


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=150)
    runs = parser.parse_args().runs
    flat, rise = np.zeros(EVALUATIONS), np.linspace(0, 1, EVALUATIONS)
    fall = np.concatenate([np.linspace(0, 0.6, 7), np.linspace(0.6, -0.6, EVALUATIONS - 7)])
    cases = {
        "both flat": (flat, flat),
        "judge rises, gold flat": (rise, flat),
        "both rise": (rise, rise),
        "gold falls, judge flat": (flat, fall),
        "both fall": (fall, fall),
        "judge rises, gold falls": (rise, fall),
    }
    print(f"| run | divergence | any flag of gold | ({runs} runs)\n|---|---|---|")
    for name, (judge, gold) in cases.items():
        seen = [flags(judge, gold, 10_000 + i) for i in range(runs)]
        shares = [np.mean(["divergence" in s for s in seen]), np.mean([bool(s) for s in seen])]
        cells = " | ".join(f"{p:.3f} +- {np.sqrt(p * (1 - p) / runs):.3f}" for p in shares)
        print(f"| {name} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
