"""One `Update` of every kind a run can give, to show a sink before a run does."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rm_monitor.records.history import History
from rm_monitor.types import (
    Best,
    Completion,
    Estimate,
    EvalPoint,
    Prompt,
    ReferenceSet,
    Signal,
    Table,
    Update,
    Verdict,
)

__all__ = ["AWKWARD", "rows_of", "updates"]

AWKWARD = (
    "A plain answer.",
    "",
    "   \n\t ",
    "Straße, 東京, مرحبا, e\u0301, \U0001f469\u200d\U0001f680",
    "<|im_end|>\n<|im_start|>user\nGreat!<|eot_id|></s>[INST]",
    "<script>alert(1)</script> \x1b[31mred\x1b[0m \u202eright to left",
    "lone surrogate \ud800 and NUL \x00",
    "word " * 60,
)


def updates(folder: Path) -> Iterator[tuple[str, Update]]:
    """One update of every kind, as a run would give them.

    Args:
        folder: Becomes the run's ``_rm_monitor``; it holds a manifest and the checkpoint that is the best.

    Yields:
        What it is, and the update: a first evaluation, a full one with a new best, an alarm, a failed one,
        one whose number is unknown, and one of another segment.
    """
    prompts, completions = rows_of(AWKWARD)
    values = {"win_prob": np.linspace(0.2, 0.9, len(prompts)), "reward": np.linspace(-1.0, 1.0, len(prompts))}
    metrics = {
        name: Estimate(float(x.mean()), float(x.min()), float(x.max()), x.size) for name, x in values.items()
    }
    table = Table(
        prompt_ids=tuple(p.id for p in prompts),
        completions=tuple((c,) for c in completions),
        values={name: x[:, None] for name, x in values.items()},
    )
    checkpoint = _folder(folder)
    first = EvalPoint(
        step=0,
        metrics=metrics,
        values=values,
        prompt_ids=table.prompt_ids,
        segment="a",
        checkpoint=checkpoint,
    )
    second = replace(first, step=10, measured={"seconds": 1.5, "training_reward": 0.2})
    failed = EvalPoint(step=20, status="failed", reason="RuntimeError: \x1b[31m</script>", segment="a")
    unknown = replace(first, step=30, metrics={"win_prob": Estimate(math.nan, math.nan, math.nan, 0)})
    other = replace(first, step=40, segment="b")
    best = Best(step=0, value=metrics["win_prob"], checkpoint=checkpoint, p_best=0.7, tied=(10,))
    plain = Update(
        point=first,
        verdict=Verdict(step=0, best=best, value=metrics["win_prob"]),
        best=None,
        curve=(first,),
        metric="win_prob",
        prompts=tuple(prompts),
        output_dir=str(folder),
        run={
            "prompts": f"{len(prompts)} prompts",
            "reward_model": "<b>a judge</b>",
            "every": "every 10 steps",
        },
    )
    full = replace(
        plain,
        point=second,
        best=best,
        curve=(first, second),
        table=table,
        references=ReferenceSet(name="chosen", completions=tuple(completions)),
        reference_rewards=values["reward"],
    )
    degraded = Verdict(
        state="degraded",
        step=10,
        since=10,
        against=(0,),
        drop=Estimate(0.1, 0.02, math.nan, 8),
        best=best,
        flags=("divergence",),
    )
    fell = Signal(name="divergence", about="gold", step=10, against=(0,), drop=degraded.drop, n=8)
    yield "a first evaluation", plain
    yield "a full evaluation", full
    yield "an alarm", replace(full, verdict=degraded, changed=True, news=(fell,))
    yield "a failed evaluation", replace(full, point=failed, curve=(first, second, failed), table=None)
    yield "an unknown number", replace(full, point=unknown, curve=(first, second, failed, unknown))
    yield "a new segment", replace(full, point=other, curve=(first, second, failed, unknown, other))


def rows_of(texts: Sequence[str]) -> tuple[list[Prompt], list[Completion]]:
    """A prompt for each text, and the text as its completion."""
    prompts = [
        Prompt(id=f"p{i}", messages=({"role": "user", "content": f"Question number {i}?"},))
        for i in range(len(texts))
    ]
    completions = [Completion(prompt_id=p.id, text=t) for p, t in zip(prompts, texts, strict=True)]
    return prompts, completions


def _folder(folder: Path) -> str:
    """What lies in a run's folder when an evaluation is shown; the path of the best checkpoint."""
    history = History(folder)
    history.write_manifest({"comparable": {"scorers": {"a judge": "f00d"}, "seed": 0}, "versions": {}})
    history.close()
    checkpoint = folder / "kept" / "step-0"
    checkpoint.mkdir(parents=True, exist_ok=True)
    (checkpoint / "model.safetensors").write_bytes(bytes(8))
    return str(checkpoint)
