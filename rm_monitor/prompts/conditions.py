"""`Conditions`: what numbers depend on. Points with equal conditions are a segment and may be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rm_monitor.files.digest import digest
from rm_monitor.prompts.format import PromptFormat
from rm_monitor.prompts.initial_answers import INITIAL
from rm_monitor.prompts.load import PromptSet
from rm_monitor.types import ReferenceSet, Sampling

__all__ = ["Conditions"]

NOISE = 2  # raised when the private noise of sampling changes: equal weights then give other answers
_PACKAGES = ("rm_monitor", "torch", "transformers", "accelerate", "wandb", "numpy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """The facts behind every number of a segment.

    Attributes:
        prompts: The fixed prompts.
        references: Named reference sets, the first is the headline's; empty until the initial policy has
            answered, where its own answers serve.
        scorers: Name -> fingerprint of every judge, the primary first.
        sampling: How completions are drawn.
        seed: Of sampling.
        metric: The headline.
        prompt_format: How prompts become what the policy is asked.
    """

    prompts: PromptSet
    references: tuple[ReferenceSet, ...]
    scorers: Mapping[str, str]
    sampling: Sampling
    seed: int = 0
    metric: str = "win_prob"
    prompt_format: PromptFormat = field(default_factory=PromptFormat)
    _segment: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_segment", digest(self.comparable))

    @property
    def segment(self) -> str:
        """Name of the segment: points may be compared only if it is equal."""
        return self._segment

    @property
    def judged_by(self) -> str:
        """Name of what rewards of any prompt depend on: judges, sampling, seed, format."""
        facts = self.comparable
        return digest({k: v for k, v in facts.items() if k not in ("prompts", "references", "metric")})

    @property
    def given_references(self) -> ReferenceSet | None:
        """The first reference set; None where the initial policy's own answers serve."""
        first = self.references[0] if self.references else None
        return None if first is None or first.name == INITIAL else first

    @property
    def comparable(self) -> dict[str, Any]:
        """All that must be equal for two points to be compared, ready for JSON."""
        return {
            "prompts": self.prompts.fingerprint,
            "references": {r.name: _fingerprint(r) for r in self.references},
            "scorers": dict(self.scorers),
            "sampling": asdict(self.sampling),
            "noise": NOISE,
            "seed": self.seed,
            "metric": self.metric,
            "format": self.prompt_format.as_dict(),
        }

    def manifest(self) -> dict[str, Any]:
        """The same with what people want to know beside it, ready for JSON."""
        return {
            "comparable": self.comparable,
            "prompts": {"n": len(self.prompts), "source": self.prompts.source},
            "references": {r.name: {"n": len(r.completions), "source": r.source} for r in self.references},
            "versions": {name: _version(name) for name in _PACKAGES},
        }


def _fingerprint(references: ReferenceSet) -> str:
    return digest([[c.prompt_id, c.text] for c in references.completions])


@cache
def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
