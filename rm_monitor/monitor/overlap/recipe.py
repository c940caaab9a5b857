"""What a second process needs to judge as this one would, and whether it can be sent."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

from rm_monitor.prompts import PromptSet
from rm_monitor.prompts.format import PromptFormat
from rm_monitor.types import Sampling

__all__ = ["Recipe", "Strict"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """By what an evaluation is made.

    Attributes:
        scorers: Name -> what the user gave for it; the second process loads it anew.
        prompts: The fixed prompts.
        sampling: How completions are drawn.
        seed: Of sampling.
        kl: The initial policy: a folder or hub id, True for a model with adapters, None.
        prompt_format: How prompts become what the policy is asked.
        folder: Of the run, where the first process kept what was trained at step 0; empty: not known yet.
    """

    scorers: Mapping[str, Any]
    prompts: PromptSet
    sampling: Sampling
    seed: int
    kl: Any = None
    prompt_format: PromptFormat = field(default_factory=PromptFormat)
    folder: str = ""

    def check(self) -> None:
        """Refuse what cannot be sent.

        Raises:
            ValueError: The message has the way out.
        """
        if not (self.kl in (None, False, True) or isinstance(self.kl, str)):
            raise ValueError(
                "`kl` with `overlap` is a folder, a hub id, or True for a model with adapters, got "
                f"{type(self.kl).__name__}"
            )
        for name, scorer in self.scorers.items():
            try:
                Strict(io.BytesIO()).dump(scorer)
            except Exception as problem:
                raise ValueError(
                    f"`overlap` judges in a second process, and the reward model {name!r} cannot be sent "
                    f"there ({problem}). Give a hub id, a folder, a URL or what `load_scorer` made of one, "
                    "or put the function into a module that can be imported; or leave `overlap` out"
                ) from problem

    def packed(self) -> bytes:
        """As bytes that another process can read."""
        buffer = io.BytesIO()
        Strict(buffer).dump(self)
        return buffer.getvalue()


class Strict(pickle.Pickler):
    """Refuses what only the training script knows: a second process never runs that."""

    def reducer_override(self, obj: Any) -> Any:
        """See `pickle.Pickler`."""
        if isinstance(obj, (type, FunctionType)) and obj.__module__ == "__main__":
            raise pickle.PicklingError(f"{obj.__qualname__} is defined in the script that is run")
        made_by = getattr(obj, "__dict__", {}).get("made_by")  # `load_scorer`, with what it was given
        return NotImplemented if made_by is None else (made_by, ())
