"""One evaluation by `RewardMonitor` against one by TRL 1.0.0's `WinRateCallback`, for equal completions.

The callback is the last that TRL shipped (1.1 deleted it); this file installs that release into a folder
of its own. TRL has no judge for a plain reward model, so the judge is ours and does what its judges do: it
scores both sides of every pair each time, in batches of the callback's size. Stop lengths are part of the
random policy, see `benchmarks.workload`. References are scored once before anything is timed; TRL's loop
cannot do that, which is part of the ratio: answering and the rest are printed apart. A round has weights of
its own, in the same model object as in a training run, so that no score is left over from the round
before. What a process pays once, the engine's trial against `generate`, is in "first", printed apart.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from transformers import GenerationConfig

from benchmarks.judges import random_judge
from benchmarks.paired import cpu, machine, ratio, rotated, table
from benchmarks.workload import (
    WORDS,
    random_policy,
    random_prompts,
    real_policy,
    real_prompts,
    word_tokenizer,
)
from rm_monitor import RewardMonitor, Sampling
from rm_monitor.generators.engine import EngineGenerator
from rm_monitor.types import Prompt

VERSION = "1.0.0"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rm_monitor-benchmarks"
OURS = "rm_monitor"


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 16, 32, 64])
    parser.add_argument("--references", type=int, nargs="+", default=[1, 4], help="how many reference sets")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=160)
    parser.add_argument("--model", help="folder of a real policy; without it the random one of 19 M")
    parser.add_argument("--bf16", action="store_true", help="both models; tokens then need not be equal")
    parser.add_argument("--quick", action="store_true", help="a smoke test: proves nothing")
    given = parser.parse_args(arguments)
    if given.quick:
        given.prompts, given.batches, given.rounds, given.tokens = 6, [8], 1, 12
    torch.set_num_threads(1)
    print(machine(), f"TRL {VERSION}", "bfloat16" if given.bf16 else "float32", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        return _run(given, Path(folder))


def _run(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    dtype = torch.bfloat16 if given.bf16 else torch.float32
    if given.model:
        policy, tokenizer = real_policy(given.model, dtype)
        prompts = real_prompts(given.prompts)
    else:
        policy, tokenizer = random_policy(small=given.quick, dtype=dtype), word_tokenizer()
        prompts = random_prompts(given.prompts)
    judge = random_judge(folder / "judge", tokenizer, small=given.quick).to(dtype)
    sets = {f"set{r}": references(prompts, r) for r in range(max(given.references))}
    monitors = {
        r: _monitor(folder, prompts, dict(list(sets.items())[:r]), given, policy, tokenizer)
        for r in given.references
    }
    spent: dict[tuple[str, int], list[float]] = {}
    parts: dict[str, list[tuple[float, float]]] = {}
    for turn in range(given.rounds):
        _train(policy, given, turn)
        said: dict[str, list[str]] = {}
        won: dict[tuple[str, int], float] = {}
        for name in rotated([OURS, *(f"TRL, batch {b}" for b in given.batches)], turn):
            if name == OURS:
                for r, monitor in monitors.items():
                    total, point = cpu(partial(monitor.evaluate, policy, tokenizer, step=turn + 1))
                    assert point.status == "ok", point.reason
                    spent.setdefault((name, r), []).append(total)
                    said[name] = monitor.settings.generator.texts
                    won[name, r] = _mean(point, r)
                    if r == min(given.references):
                        answering = monitor.settings.generator.seconds
                        parts.setdefault(name, []).append((answering, total - answering))
            else:
                batch = int(name.rsplit(" ", 1)[1])
                peer = _Peer(policy, judge, tokenizer, prompts, sets, batch, given.tokens)
                total, _ = cpu(peer.evaluate)
                said[name] = peer.completions
                parts.setdefault(name, []).append((peer.answering, total - peer.answering))
                for r in given.references:
                    more = [cpu(partial(peer.against, i)) for i in range(1, r)]
                    spent.setdefault((name, r), []).append(total + sum(seconds for seconds, _ in more))
                    won[name, r] = statistics.fmean([peer.won, *(w for _, w in more)])
            print(
                turn, name, *(f"R={r}: {spent[name, r][-1]:.2f} CPU-s" for r in given.references), flush=True
            )
        if not given.bf16:
            assert all(texts == said[OURS] for texts in said.values()), "completions differ"
            for (name, r), value in won.items():
                assert abs(value - won[OURS, r]) < 1e-5, f"win probability of {name}: {value}, {won}"
        print(turn, {f"{name}, R={r}": round(value, 6) for (name, r), value in won.items()}, flush=True)
    rows = {
        name: {
            "answers, CPU-s": f"{statistics.median(a for a, _ in parts[name]):.2f}",
            "rest, CPU-s": f"{statistics.median(b for _, b in parts[name]):.2f}",
            "answers alone": ratio([a for a, _ in parts[name]], [a for a, _ in parts[OURS]]),
        }
        | {f"all, R={r}": ratio(spent[name, r], spent[OURS, r]) for r in given.references}
        for name in parts
    }
    print(f"{given.prompts} prompts, {given.rounds} rounds\n{table(rows)}", flush=True)
    return {"rows": rows, "spent": spent}


def _train(policy: Any, given: argparse.Namespace, turn: int) -> None:
    """Other weights in the same model: random ones, or real ones moved by a thousandth of their spread."""
    if not given.model:
        policy.load_state_dict(random_policy(small=given.quick, seed=turn + 1).state_dict())
        return
    rng = torch.Generator().manual_seed(turn)
    with torch.no_grad():
        for p in policy.parameters():
            if p.ndim == 2:
                p += 1e-3 * p.std() * torch.randn(p.shape, generator=rng).to(p.dtype)


def references(prompts: list[Prompt], number: int) -> list[str]:
    rng = random.Random(100 + number)
    return [" ".join(f"w{rng.randrange(5, WORDS)}" for _ in range(rng.randrange(10, 90))) for _ in prompts]


class Noting:
    """The engine; notes what it said and how long it took."""

    def __init__(self) -> None:
        self.engine = EngineGenerator()
        self.seconds, self.texts = 0.0, []

    def generate(self, prompts: Any, sampling: Any, **others: Any) -> Any:
        """See `rm_monitor.Generator`."""
        self.seconds, answers = cpu(lambda: self.engine.generate(prompts, sampling, **others))
        self.texts = [a.text for a in answers]
        return answers


def _monitor(
    folder: Path,
    prompts: list[Prompt],
    sets: dict[str, list[str]],
    given: argparse.Namespace,
    policy: Any,
    tokenizer: Any,
) -> Any:
    """A monitor with a cache of its own, whose references are scored and whose engine has had its trial."""
    os.environ["RM_MONITOR_CACHE"] = str(folder / f"cache-{len(sets)}")
    monitor = RewardMonitor(
        reward_model=str(folder / "judge"),
        prompts=[{"id": p.id, "prompt": list(p.messages)} for p in prompts],
        references=sets,
        every=1,
        output_dir=folder / f"run-{len(sets)}",
        sampling=Sampling(temperature=0.0, max_new_tokens=given.tokens),
        report_to=[],
        generator=Noting(),
        on_error="raise",
    )
    total, _ = cpu(lambda: monitor.evaluate(policy, tokenizer, step=0))
    print(
        f"first {OURS} R={len(sets)}: {total:.2f} CPU-s, with the engine's trial and the references' scores"
    )
    return monitor


def _mean(point: Any, references: int) -> float:
    names = ["win_prob", *(f"win_prob/set{i}" for i in range(1, references))]
    return statistics.fmean(point.metrics[n].value for n in names)


class _Peer:
    """TRL's callback on a stub of a trainer."""

    def __init__(
        self, policy: Any, judge: Any, tokenizer: Any, prompts: Any, sets: Any, batch: int, tokens: int
    ) -> None:
        from accelerate import Accelerator
        from datasets import Dataset

        callback = _trl()
        self.judge_model, self.tokenizer, self.batch = judge, tokenizer, batch
        self.prompts, self.sets = prompts, list(sets.values())
        texts = [
            tokenizer.apply_chat_template(list(p.messages), tokenize=False, add_generation_prompt=True)
            for p in prompts
        ]
        trainer = SimpleNamespace(
            eval_dataset=Dataset.from_dict({"prompt": texts}),
            accelerator=Accelerator(cpu=True),
            model_wrapped=policy,
            log=lambda values: setattr(self, "logged", values),
        )
        settings = GenerationConfig(
            do_sample=False,
            max_new_tokens=tokens,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            use_cache=True,
        )
        self.callback = callback.WinRateCallback(
            judge=self, trainer=trainer, generation_config=settings, shuffle_order=False, use_soft_judge=True
        )
        self.callback.ref_completions = self.sets[0]
        self.module = callback
        self.answering, self.completions = 0.0, []

    def evaluate(self) -> None:
        """The callback's own `on_evaluate`."""
        original = self.module._generate_completions

        def noting(*args: Any, **others: Any) -> Any:
            self.answering, self.completions = cpu(lambda: original(*args, **others))
            return self.completions

        self.module._generate_completions = noting
        arguments = SimpleNamespace(per_device_eval_batch_size=self.batch, report_to=[])
        state = SimpleNamespace(global_step=0)
        try:
            with torch.no_grad():
                self.callback.on_evaluate(arguments, state, None, processing_class=self.tokenizer)
        finally:
            self.module._generate_completions = original
        self.won = self.logged["eval_avg_win_prob"]

    def against(self, number: int) -> float:
        """Win probability against another reference set, as a user would add it: judge the pairs again."""
        pairs = list(zip(self.sets[number], self.completions, strict=True))
        lost = self.judge([], pairs, False, return_scores=True)
        return 1.0 - statistics.fmean(lost)

    def judge(
        self, prompts: Any, pairs: Any, shuffle_order: bool = False, return_scores: bool = False
    ) -> list[float]:
        """Probability that the first of each pair wins; both sides are scored, in batches, longest pad."""
        assert not shuffle_order
        assert return_scores
        lost: list[float] = []
        for start in range(0, len(pairs), self.batch):
            part = range(start, min(start + self.batch, len(pairs)))
            sides = [self._scores([(self.prompts[i], pairs[i][side]) for i in part]) for side in (0, 1)]
            lost += torch.sigmoid(sides[0] - sides[1]).tolist()
        return lost

    def _scores(self, rows: list[tuple[Prompt, str]]) -> torch.Tensor:
        conversations = [[*p.messages, {"role": "assistant", "content": text}] for p, text in rows]
        texts = self.tokenizer.apply_chat_template(conversations, tokenize=False)
        batch = self.tokenizer(texts, return_tensors="pt", padding=True, padding_side="right")
        with torch.no_grad():
            out = self.judge_model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        scores: torch.Tensor = out.logits[:, 0].float()
        return scores


def _trl() -> Any:
    """The module of the callback, from a folder that holds that release and nothing else."""
    folder = CACHE / f"trl-{VERSION}"
    if not (folder / "trl" / "experimental" / "winrate_callback.py").exists():
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder)]
        subprocess.run([*command, f"trl=={VERSION}"], check=True)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    import trl

    assert trl.__version__ == VERSION, f"another TRL ({trl.__version__}) is loaded already"
    import trl.experimental.winrate_callback as module

    return module


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    main()
