"""Our own decoding over the model's own forward, for plain causal language models with full attention.

The picture, left to right::

    rows -> schedule (longest first, what fits) -> prefill (packed, shared beginnings) -> decode (the loop)
            attention (inside the model's forward) -> choosing (logits -> tokens, one copy to the host)
    grouped (a CPU): layout and arena     paged (a GPU): pages, varlen, recording
            scope and check (who is served at all)
"""

from __future__ import annotations

from rm_monitor.generators.engine.generator import EngineGenerator

__all__ = ["EngineGenerator"]
