"""Canaries: fixed answers that are scored again and again, to notice what a server does not say.

A server may hide its scores behind a sigmoid, give every text the same score, or be restarted with another
model under the same name. Nothing in its replies tells; the scores of texts that never change do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rm_monitor.errors import ScorerError
from rm_monitor.types import Completion, FloatArray, Prompt, Scale, ValueStore

__all__ = ["COMPLETIONS", "PROMPTS", "Baseline", "check_shape", "settle"]

_TEXTS = (
    ("What is the capital of France?", "The capital of France is Paris."),
    ("What is the capital of France?", "banana banana banana banana"),
    ("How do I boil an egg?", "Put it in boiling water for eight minutes, then cool it under the tap."),
    ("How do I boil an egg?", "No."),
    ("Write one sentence about the sea.", "The sea was calm, and gulls circled above the harbour."),
    ("Write one sentence about the sea.", "I hate you and your stupid questions!!!"),
    ("What is 17 + 25?", "17 + 25 = 42."),
    ("What is 17 + 25?", "17 + 25 = 1725, because one simply writes them side by side."),
)
PROMPTS = tuple(
    Prompt(id=f"canary-{i}", messages=({"role": "user", "content": question},))
    for i, (question, _) in enumerate(_TEXTS)
)
COMPLETIONS = tuple(
    Completion(prompt_id=p.id, text=answer) for p, (_, answer) in zip(PROMPTS, _TEXTS, strict=True)
)


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the canaries scored, and how far apart two readings may lie.

    Attributes:
        scores: ``(8,)``.
        tolerance: In the scores' unit: four times the difference between two readings in other batches, but
            at least 1 % of the scores' spread.
    """

    scores: FloatArray
    tolerance: float

    @classmethod
    def of(cls, together: FloatArray, alone: FloatArray) -> Baseline:
        """From a reading in one request and a reading row by row: servers in bfloat16 differ between them."""
        noise = float(np.max(np.abs(together - alone)))
        return cls(together, max(4.0 * noise, 0.01 * float(np.std(together)), 1e-6))

    def drift(self, now: FloatArray) -> float:
        """Largest difference from the baseline; inf if something is unscored now.

        Example:
            >>> kept = Baseline(np.array([1.0, 2.0]), 0.1)
            >>> kept.drift(np.array([1.0, 2.5])), kept.drift(np.array([1.0, np.nan]))
            (0.5, inf)
        """
        if now.shape != self.scores.shape or not np.isfinite(now).all():
            return float("inf")
        return float(np.max(np.abs(now - self.scores)))


def check_shape(scores: FloatArray, scale: Scale, *, where: str, told: bool = False) -> None:
    """Refuse scores that cannot be what they are thought to be.

    Args:
        scores: ``(8,)`` of the canaries.
        scale: What they are thought to be.
        where: The server.
        told: The user has said so, and is believed.

    Raises:
        ScorerError: If a canary is unscored, all are equal, or logits never leave [0, 1].
    """
    if not np.isfinite(scores).all():
        raise ScorerError(
            f"{where} gives plain sentences no finite score ({_short(scores)}): the server or its model is "
            "broken (float16 overflow, a missing head)"
        )
    if float(np.ptp(scores)) == 0.0:
        raise ScorerError(
            f"{where} gives right answers and nonsense the same score, {scores[0]:g}: a softmax over one "
            "label gives 1 for everything. Ask it for raw scores (SGLang: /classify, not /v1/classify)"
        )
    if scale == "logit" and not told and scores.min() >= 0.0 and scores.max() <= 1.0:
        raise ScorerError(
            f"{where} gives only scores between 0 and 1 ({_short(scores)}): they look activated by a "
            "sigmoid, and a difference of such scores is no log-odds. Start the server without activation; "
            "if this model is trained to give numbers from 0 to 1, pass `scale='unit'`; if they are raw "
            "scores after all, `scale='logit'`"
        )


def settle(
    baseline: Baseline, memory: ValueStore | None, key_of: Mapping[int, bytes] | None
) -> tuple[FloatArray, int]:
    """The kept reading that this one agrees with, and how many models were seen under this name before it.

    Args:
        baseline: The reading of now.
        memory: Where readings are kept; None: nowhere.
        key_of: Number of a model under this name -> key.
    """
    if memory is None or key_of is None:
        return np.round(baseline.scores, 3), 0
    for number, key in key_of.items():
        kept = memory.get([key]).get(key)
        if kept is None:
            memory.put({key: {f"canary_{i}": float(x) for i, x in enumerate(baseline.scores)}})
            return baseline.scores, number
        scores = np.array([kept.get(f"canary_{i}", np.nan) for i in range(len(baseline.scores))])
        if baseline.drift(scores) <= baseline.tolerance:
            return scores, number
    raise ScorerError("a hundred different models were seen under this server's name: pass `revision=`")


def _short(scores: FloatArray) -> str:
    return ", ".join(f"{x:.3g}" for x in scores[:4]) + ", ..."
