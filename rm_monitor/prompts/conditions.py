"""What a curve was measured with, and the name of a segment of comparable points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rm_monitor.files.digest import digest
from rm_monitor.prompts import PromptSet
from rm_monitor.prompts.format import PromptFormat
from rm_monitor.types import PreferenceScorer, ReferenceSet, Sampling, Scorer

__all__ = ["manifest", "segment_id"]

_PACKAGES = ("rm_monitor", "torch", "transformers", "accelerate", "wandb", "numpy")


def manifest(
    *,
    prompts: PromptSet,
    references: Sequence[ReferenceSet],
    scorers: Mapping[str, Scorer | PreferenceScorer],
    sampling: Sampling,
    seed: int,
    metric: str,
    prompt_format: PromptFormat | None = None,
) -> dict[str, Any]:
    """The facts behind every number of a segment, ready for JSON."""
    return {
        "comparable": {
            "prompts": prompts.fingerprint,
            "references": {r.name: _fingerprint(r) for r in references},
            "scorers": {name: scorer.fingerprint for name, scorer in scorers.items()},
            "sampling": asdict(sampling),
            "seed": seed,
            "metric": metric,
            "format": (prompt_format or PromptFormat()).as_dict(),
        },
        "prompts": {"n": len(prompts), "source": prompts.source},
        "references": {r.name: {"n": len(r.completions), "source": r.source} for r in references},
        "versions": {name: _version(name) for name in _PACKAGES},
    }


def segment_id(facts: Mapping[str, Any]) -> str:
    """Points may be compared only if all of ``comparable`` is equal; this is its hash."""
    return digest(facts["comparable"])


def _fingerprint(references: ReferenceSet) -> str:
    return digest([[c.prompt_id, c.text] for c in references.completions])


@cache
def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
