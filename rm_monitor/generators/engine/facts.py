"""What a run of the engine cost, in counts."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Facts"]


@dataclass(slots=True)
class Facts:
    """What a run cost.

    Attributes:
        steps: Forwards that decoded.
        row_steps: Tokens that went through those forwards; each useful one is somebody's next token.
        tokens: Tokens generated.
        prefilled: Prompt tokens that went through the model.
        narrowed: Waves of rows that ran out of memory and were answered again, fewer at once.
        trajectory: Tokens of every forward, prefills included, and how many of them reached the head.
    """

    steps: int = 0
    row_steps: int = 0
    tokens: int = 0
    prefilled: int = 0
    narrowed: int = 0
    trajectory: list[tuple[int, int]] = field(default_factory=list)

    def ran(self, tokens: int, reached_head: int) -> None:
        """One forward."""
        self.trajectory.append((tokens, reached_head))

    def measured(self, seconds: float) -> dict[str, float]:
        """The same, as a point of the curve carries it."""
        return {
            "tokens_per_second": self.tokens / max(seconds, 1e-9),
            "decode_steps": float(self.steps),
            "row_steps_per_token": self.row_steps / max(self.tokens, 1),
            "prompt_tokens": float(self.prefilled),
        }
