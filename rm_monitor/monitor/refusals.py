"""Models that can never answer a prompt, refused before training with the way out."""

from __future__ import annotations

from typing import Any

__all__ = ["check_policy"]


def check_policy(model: Any, tokenizer: Any) -> None:
    """Refuse what is no language model, and a tokenizer that is missing or none.

    Args:
        model: The model being trained, as it comes to a callback or is given by hand.
        tokenizer: Its tokenizer or processor.

    Raises:
        ValueError: The argument, what it must be, what it is, and the way out.

    Example:
        >>> check_policy("out/checkpoint-10", None)
        Traceback (most recent call last):
        ...
        ValueError: `model` must be the loaded model that is being trained, got 'out/checkpoint-10'...
    """
    if model is None or isinstance(model, str) or not callable(getattr(model, "forward", None)):
        shown = repr(model) if isinstance(model, str) else f"{type(model).__name__}"
        raise ValueError(
            f"`model` must be the loaded model that is being trained, got {shown}: "
            "monitor.step(step, model, tokenizer), with AutoModelForCausalLM.from_pretrained(...) or your "
            "own (saved checkpoints are judged by `rm-monitor sweep FOLDER`)"
        )
    if tokenizer is None:
        raise ValueError(
            "a tokenizer is needed to ask the prompts, and there is none: give processing_class=tokenizer to "
            "the Trainer, or tokenizer to monitor.step(step, model, tokenizer)"
        )
    if isinstance(tokenizer, str) or not callable(tokenizer):
        shown = repr(tokenizer) if isinstance(tokenizer, str) else f"{type(tokenizer).__name__}"
        raise ValueError(
            f"`tokenizer` must be the policy's loaded tokenizer or processor, got {shown}: "
            "AutoTokenizer.from_pretrained(...)"
        )
    from rm_monitor.training.unwrap import unwrap  # noqa: PLC0415  one idea of what is below wrappers

    policy = unwrap(model)
    can = getattr(policy, "can_generate", None)
    if callable(can) and not can():
        raise ValueError(
            f"the model being trained is a {type(policy).__name__}, which cannot generate answers: a monitor "
            "judges language models. To judge another model than the one in training, pass generator="
        )
