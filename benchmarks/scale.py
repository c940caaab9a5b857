"""How one evaluation's cost grows: with prompts, samples a prompt, length and reference sets.

    python -m benchmarks.scale

Prompts, samples and lengths should cost in proportion to the tokens they bring; a further reference set
should cost nothing, for a pointwise reward model has scored it before. What a set adds is far below the
noise of a whole evaluation, so it is measured where answering and scoring are free (answers from a list, a
reward model that is a function) and all that is left is comparing, intervals, the verdict and files. Each
evaluation has weights of its own: no score is left over. One evaluation a row: read the trend, not the last
digit.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.judges import random_judge
from benchmarks.paired import cpu, machine, table
from benchmarks.workload import random_policy, random_prompts, word_tokenizer
from rm_monitor import RewardMonitor, Sampling, load_scorer
from rm_monitor.generators.engine import EngineGenerator
from rm_monitor.types import Completion

SETS = (1, 2, 3, 4)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--prompts", type=int, nargs="+", default=[16, 32, 64, 128, 256])
    parser.add_argument("--samples", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--lengths", type=int, nargs="+", default=[20, 40, 80, 160])
    parser.add_argument("--base", type=int, default=64, help="prompts while something else varies")
    parser.add_argument("--rounds", type=int, default=9, help="of the evaluations where answering is free")
    parser.add_argument("--quick", action="store_true", help="a smoke test: proves nothing")
    given = parser.parse_args(arguments)
    if given.quick:
        given.prompts, given.samples, given.lengths = [2, 4], [2], [4]
        given.base, given.rounds = 3, 2
    torch.set_num_threads(1)
    print(machine(), "float32", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RM_MONITOR_CACHE"] = str(Path(folder) / "cache")
        bench = _Bench(Path(folder), small=given.quick)
        longest = max(given.lengths)
        rows = {f"{n} prompts": bench.evaluation(n, 1, longest) for n in given.prompts}
        rows |= {f"{k} samples": bench.evaluation(given.base, k, longest) for k in given.samples if k > 1}
        rows |= {f"{m} new tokens": bench.evaluation(given.base, 1, m) for m in given.lengths if m < longest}
        whole = bench.evaluation(given.base, 1, longest)
        free = {r: bench.comparing(r, given.base, given.rounds) for r in SETS}
    print(table({name: _row(facts) for name, facts in rows.items()}), flush=True)
    added = (free[SETS[-1]] - free[SETS[0]]) / (SETS[-1] - SETS[0])
    share = added / whole["seconds"]
    print(f"\n{given.base} prompts: an evaluation takes {whole['seconds']:.2f} CPU-s", flush=True)
    print("if answers and scores are free:", ", ".join(f"{r} sets {s * 1e3:.1f} ms" for r, s in free.items()))
    print(f"each further reference set adds {added * 1e3:.2f} ms: {share:.2%}", flush=True)
    return {"rows": rows, "free": free, "share": share}


class _Bench:
    """Evaluations of all sizes with one policy and one reward model."""

    def __init__(self, folder: Path, *, small: bool) -> None:
        self.folder, self.small, self.made = folder, small, 0
        self.tokenizer = word_tokenizer()
        random_judge(folder / "judge", self.tokenizer, small=small)

    def evaluation(self, n: int, k: int, longest: int) -> dict[str, float]:
        """CPU seconds and tokens of one evaluation, references scored before."""
        self.made += 1
        monitor = self._monitor(
            n,
            1,
            reward_model=str(self.folder / "judge"),
            sampling=Sampling(temperature=0.7, max_new_tokens=longest, samples_per_prompt=k),
            generator=EngineGenerator(),
        )
        monitor.evaluate(random_policy(small=True), self.tokenizer, step=0)  # scores the references
        policy = random_policy(small=self.small, seed=self.made)
        seconds, point = cpu(lambda: monitor.evaluate(policy, self.tokenizer, step=1))
        monitor.close()
        words = sum(len(p.messages[0]["content"].split()) for p in random_prompts(n))
        facts = {
            "seconds": seconds,
            "answer": point.measured["tokens"],
            "prompt": float(words),
            "rows": n * k,
        }
        print(n, k, longest, facts, flush=True)
        return facts

    def comparing(self, sets: int, n: int, rounds: int) -> float:
        """CPU seconds of an evaluation in which answers and scores cost nothing; median."""
        self.made += 1
        answers = [
            Completion(prompt_id=p.id, text=f"w{7 + i}", n_tokens=1) for i, p in enumerate(random_prompts(n))
        ]
        monitor = self._monitor(
            n,
            sets,
            reward_model=load_scorer(_by_number, scale="logit", show=False),
            generator=_Fixed(answers),
        )
        monitor.evaluate(None, None, step=0)
        spent = [
            cpu(lambda step=step: monitor.evaluate(None, None, step=step))[0] for step in range(1, rounds + 1)
        ]
        monitor.close()
        return statistics.median(spent)

    def _monitor(self, n: int, sets: int, **others: Any) -> RewardMonitor:
        prompts = random_prompts(n)
        return RewardMonitor(
            prompts=[{"id": p.id, "prompt": list(p.messages)} for p in prompts],
            references={f"set{r}": [f"w{9 + r} w{11 + i}" for i in range(n)] for r in range(sets)},
            every=1,
            output_dir=self.folder / f"run-{self.made}",
            report_to=[],
            on_error="raise",
            **others,
        )


class _Fixed:
    """Answers from a list."""

    needs_model = False
    fingerprint = "fixed"

    def __init__(self, answers: list[Completion]) -> None:
        self.answers = answers

    def generate(self, prompts: Any, sampling: Any, **others: Any) -> list[Completion]:
        """See `rm_monitor.Generator`."""
        return self.answers


def _by_number(prompts: list[str], completions: list[str]) -> list[float]:
    return [float(c.split()[-1].removeprefix("w")) % 5 for c in completions]


def _row(facts: dict[str, float]) -> dict[str, str]:
    return {
        "CPU-s": f"{facts['seconds']:.2f}",
        "tokens answered": f"{facts['answer']:.0f}",
        "CPU-ms a token answered": f"{facts['seconds'] / facts['answer'] * 1e3:.2f}",
        "CPU-ms a completion": f"{facts['seconds'] / facts['rows'] * 1e3:.1f}",
    }


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    main()
