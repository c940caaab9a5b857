"""What the training rows say of how the policy is asked: `FormatReport`, and the setting that follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rm_monitor.prompts.format import PromptFormat

__all__ = ["FormatReport", "setting_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatReport:
    """What the training rows say of how the policy is asked.

    Attributes:
        rows: Training texts that were looked at.
        agrees: Whether what is asked is what is trained; None: it cannot be told.
        why: What differs, or why it cannot be told; empty where all agrees.
        trained: The beginning of a training text, up to its answer and a piece into it.
        asked: The same prompt, or one of the monitor's, as it would be asked.
        found: The format of the training rows; None unknown.
        setting: The argument to pass to the monitor, as one would write it.
    """

    rows: int = 0
    agrees: bool | None = None
    why: str = ""
    trained: str = ""
    asked: str = ""
    found: PromptFormat | None = None
    setting: str = ""

    def __str__(self) -> str:
        if self.agrees is None:
            return f"whether the policy is asked as it is trained cannot be told: {self.why}"
        if self.agrees:
            return f"the policy is asked as it is trained, by {self.rows:,} of its training texts"
        sides = f"\n  trained: {self.trained!r}\n  asked:   {self.asked!r}" if self.trained else ""
        return (
            f"NOT ASKED AS TRAINED: {self.why}.{sides}\n  The curve would be of a format that the model is "
            f"not taught. Pass {self.setting}, or say with prompt_format= how it is to be asked"
        )


def setting_of(found: PromptFormat | None, now: PromptFormat) -> str:
    """What one would write to get from one format to the other."""
    if found is None:
        return "prompt_format= with a Jinja template of the training's"
    if found.bos is not None or found.end != now.end:
        return "prompt_format='as-trained'"
    parts: dict[str, Any] = {}
    if found.setting != now.setting:
        parts["format"] = found.setting
    if found.template_kwargs != now.template_kwargs:
        parts["chat_template_kwargs"] = dict(found.template_kwargs)
    if found.system != now.system:
        parts["system"] = found.system
    return f"prompt_format={parts['format'] if list(parts) == ['format'] else parts!r}"
