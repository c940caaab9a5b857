"""Attention of ours, hung into a model through transformers' attention interface.

The model's own forward runs on one long row of packed tokens; only where it attends, every token sees the
row that it belongs to. Positions come from ``position_ids``, so nothing else in the model knows about rows.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, Protocol

from torch import Tensor

from rm_monitor.generators.engine.facts import Facts
from rm_monitor.packed.interface import refuse_unknown, through
from rm_monitor.packed.scope import OutOfScope

__all__ = ["Forward", "Step", "attending"]

NAME = "rm_monitor_engine"


class Step(Protocol):
    """What one forward is about: where its packed tokens are written, and what each of them sees."""

    def attend(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scaling: float | None,
        window: int | None,
    ) -> Tensor:
        """Write keys and values, and attend.

        Args:
            layer: Number of the layer.
            query: ``(tokens, heads, width)``.
            key: ``(tokens, key heads, width)``.
            value: Of the same shape.
            scaling: Factor of the products; None: one over the root of the width.
            window: Tokens that each one sees, itself included; None: all before it.

        Returns:
            ``(tokens, heads, width)``.
        """
        ...


class Forward:
    """The model's own forward over packed tokens."""

    def __init__(self, model: Any, facts: Facts) -> None:
        self.model, self.facts = model, facts
        self.layers = int(model.config.num_hidden_layers)
        self._checked = False

    def __call__(self, ids: Tensor, places: Tensor, step: Step, keep: Tensor | None = None) -> Tensor:
        """Logits ``(tokens, vocabulary)`` of packed tokens, or of those at ``keep`` alone.

        Args:
            ids: ``(tokens,)``.
            places: ``(tokens,)`` each token's place in its row.
            step: Where they are written and what they see.
            keep: Which tokens reach the head; None: all.
        """
        seen: set[int] = set()
        before = _now.set((step, seen))
        try:
            out = self.model(
                input_ids=ids[None],
                position_ids=places[None],
                use_cache=False,
                logits_to_keep=0 if keep is None else keep,
            )
        finally:
            _now.reset(before)
        if len(seen) != self.layers:
            raise OutOfScope(f"{len(seen)} of its {self.layers} layers attend through the interface")
        self.facts.ran(len(ids), len(ids) if keep is None else len(keep))
        logits: Tensor = out.logits[0]
        return logits


_now: ContextVar[tuple[Step, set[int]] | None] = ContextVar("rm_monitor_engine_step", default=None)


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    now = _now.get()
    if now is None:
        raise OutOfScope("its attention ran outside a step of the engine")
    refuse_unknown(attention_mask, dropout, others)
    step, seen = now
    seen.add(module.layer_idx)
    q, k, v = (one[0].transpose(0, 1) for one in (query, key, value))
    return step.attend(module.layer_idx, q, k, v, scaling, sliding_window)[None], None


def attending(model: Any) -> AbstractContextManager[None]:
    """Inside, the model's attention is ours; what it was comes back whatever happens."""
    return through(model, NAME, _attend)
