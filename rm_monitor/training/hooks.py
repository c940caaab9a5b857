"""Forward hooks that are the user's are called by our forwards too: which they are is said, once.

They cannot be muted: a hook that steers, quantises or gathers weights looks like one that only counts.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

__all__ = ["foreign_hooks", "say_hooks"]

log = logging.getLogger("rm_monitor")

_LIBRARIES = ("torch", "transformers", "accelerate", "peft", "trl", "deepspeed", "bitsandbytes", "rm_monitor")
_said: set[str] = set()


def foreign_hooks(model: Any) -> Iterator[tuple[str, str]]:
    """Module and function of every forward hook that no library of the training stack put there.

    Example:
        >>> import torch
        >>> layer = torch.nn.Linear(1, 1)
        >>> def watch(module, given, made): ...
        >>> watch.__module__ = "my_script"
        >>> handle = layer.register_forward_hook(watch)
        >>> [module for module, _ in foreign_hooks(layer)]
        ['the model']
    """
    for name, part in model.named_modules():
        for kind in ("_forward_hooks", "_forward_pre_hooks"):
            for hook in vars(part).get(kind, {}).values():
                inner = getattr(hook, "func", hook)  # a partial's
                home = str(getattr(inner, "__module__", None) or type(inner).__module__)
                if home.partition(".")[0] not in _LIBRARIES:
                    yield (
                        name or "the model",
                        f"{home}.{getattr(inner, '__qualname__', type(inner).__name__)}",
                    )


def say_hooks(model: Any) -> None:
    """Say once which functions are called in evaluations as in training."""
    new: dict[str, list[str]] = {}
    for module, hook in foreign_hooks(model):
        if hook not in _said:
            new.setdefault(hook, []).append(module)
    for hook, modules in new.items():
        _said.add(hook)
        more = f" and {len(modules) - 1} more modules" if len(modules) > 1 else ""
        log.warning(
            "rm_monitor: the forward hook %s on %s%s is called in evaluations too; "
            "`if not module.training: return` in it leaves them out",
            hook,
            modules[0],
            more,
        )
