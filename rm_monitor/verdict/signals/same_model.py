"""Is the judge what training optimises? Then its curve need not turn when quality does.

A callback is not shown the trainer's reward model: events carry the policy, its tokenizer, the optimizer and
the data loaders, nothing else. What gives it away are the names in the trainer's logs and one argument
of some trainers; ``training_reward=`` says it outright.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rm_monitor.types import Identified, Wraps

__all__ = ["model_names", "same_model", "short_name"]


def model_names(logs: Iterable[str], arguments: Any = None) -> list[str]:
    """What logs and arguments of a trainer call its reward models.

    TRL's GRPO and RLOO log ``rewards/<name>/mean``, where the name is the last part of the model's id, or
    the function's own; online DPO has an argument ``reward_model_path`` (read in TRL 1.16).

    Example:
        >>> model_names(["loss", "reward", "rewards/Skywork-Reward-V2/mean", "rewards/Skywork-Reward-V2/std"])
        ['Skywork-Reward-V2']
    """
    logged = [
        k[len("rewards/") : -len("/mean")] for k in logs if k.startswith("rewards/") and k.endswith("/mean")
    ]
    path = getattr(arguments, "reward_model_path", None)
    return [*logged, *([str(path)] if path else [])]


def short_name(thing: Any) -> str:
    """The last part of a model's id or folder, or a function's name: what trainers log it under.

    Example:
        >>> short_name("Skywork/Skywork-Reward-V2-Qwen3-0.6B"), short_name(len)
        ('Skywork-Reward-V2-Qwen3-0.6B', 'len')
    """
    for attribute in ("name", "name_or_path", "__name__"):
        found = getattr(thing, attribute, None)
        if isinstance(found, str) and found:
            thing = found
            break
    text = str(thing) if isinstance(thing, (str, os.PathLike)) else type(thing).__name__
    return text.rstrip("/").rsplit("/", 1)[-1]


def same_model(source: Any, scorer: Any, training: Any) -> str | None:
    """What a judge and a training reward have in common, in words; None if nothing that can be seen.

    Args:
        source: What the user gave as judge.
        scorer: The scorer that was loaded from it.
        training: A hub id, a folder, a loaded model, a function, a scorer, or a fingerprint.

    Example:
        >>> def reward(prompts, completions): return [0.0] * len(completions)
        >>> same_model(reward, None, reward), same_model(reward, None, lambda p, c: [1.0])
        ('the same object', None)
    """
    inner = scorer.scorer if isinstance(scorer, Wraps) else scorer  # below the score cache
    if any(training is ours for ours in (source, scorer, inner) if ours is not None):
        return "the same object"
    if any(training is getattr(inner, attribute, inner) for attribute in ("_function", "model")):
        return "the same object"
    known = {str(getattr(x, "fingerprint", "")) for x in (scorer, training)}
    if isinstance(training, str) and training == getattr(scorer, "fingerprint", None):
        return f"the same fingerprint {training[:16]}"
    if len(known) == 1 and "" not in known and not next(iter(known)).endswith(":unversioned"):
        return f"the same fingerprint {next(iter(known))[:16]}"
    path = _path(training)
    if path and path == _path(source):
        return f"the same {'folder' if os.path.isdir(path) else 'name'} {path}"
    weights = _weights(inner)
    if weights and weights in (_weights(getattr(training, "scorer", training)), _weights_in(path)):
        return f"the same weights {weights[:16]}"
    return None


def _path(thing: Any) -> str:
    """A folder's real path, or an id; of a loaded model, where it was loaded from."""
    if not isinstance(thing, (str, os.PathLike)):
        thing = getattr(thing, "name_or_path", "")
    text = os.fspath(thing) if isinstance(thing, (str, os.PathLike)) else ""
    return os.path.realpath(text) if text and os.path.isdir(text) else str(text)


def _weights(thing: Any) -> str:
    """Digest of the weights behind a scorer of ours; empty if it has none."""
    return str(thing.model_identity.get("model.weights", "")) if isinstance(thing, Identified) else ""


def _weights_in(path: str) -> str:
    """Digest of the weight files of a folder; empty if it is no folder with weights."""
    if not path or not (Path(path) / "config.json").is_file():
        return ""
    from rm_monitor.errors import ScorerError  # noqa: PLC0415
    from rm_monitor.scorers.checkpoint import open_checkpoint  # noqa: PLC0415  needs torch

    try:
        return open_checkpoint(path).weights_digest()
    except ScorerError:
        return ""
