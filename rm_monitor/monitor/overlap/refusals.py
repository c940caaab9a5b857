"""What cannot be had with ``overlap``, said before anything is trained."""

from __future__ import annotations

import select
from collections.abc import Mapping
from typing import Any

from rm_monitor.errors import UnsupportedSetupError

__all__ = ["check", "check_kl", "check_ranks"]

_WHY = {
    "generator": "`overlap` copies the weights of this process's model, and `generator` answers elsewhere",
    "confirm_on_warn": (
        "`confirm_on_warn` asks the very weights that raised a warning, and with `overlap` training has gone "
        "on by then"
    ),
}


def check(overlap: Any, others: Mapping[str, Any]) -> None:
    """Refuse a value that means nothing, and arguments that exclude each other.

    Raises:
        ValueError: The message has the way out.

    Example:
        >>> check(True, {"generator": None})
        >>> check("cuda:1", {"generator": "http://127.0.0.1:8000"})
        Traceback (most recent call last):
        ...
        ValueError: `overlap` copies the weights of ... `generator` answers elsewhere: leave one of them out
    """
    if not hasattr(select, "poll"):
        raise ValueError("`overlap` needs a POSIX system (Linux, macOS): leave it out here")
    if isinstance(overlap, str):
        import torch  # noqa: PLC0415  only to read the name

        try:
            torch.device(overlap)
        except RuntimeError as problem:
            raise ValueError(f"`overlap` names no device: {overlap!r}; 'cuda:1' is one") from problem
    elif overlap is not True:
        raise ValueError(f"`overlap` is False, True or a device such as 'cuda:1', got {overlap!r}")
    for name, given in others.items():
        if given is not None:
            raise ValueError(f"{_WHY[name]}: leave one of them out")


def check_ranks(size: int) -> None:
    """Refuse several training processes.

    Raises:
        ValueError: The message has the way out.
    """
    if size > 1:
        raise ValueError(
            f"`overlap` serves one training process, and there are {size}: leave it out, or judge the saved "
            "checkpoints on another device: rm-monitor watch OUTPUT_DIR"
        )


def check_kl(kl: Any, model: Any) -> None:
    """Refuse a copy of the initial policy that only this process has.

    Raises:
        UnsupportedSetupError: The message has the way out.
    """
    if kl is True and not getattr(model, "peft_config", None):
        raise UnsupportedSetupError(
            "`kl=True` compares with a copy that this process keeps, and with `overlap` another one answers: "
            "give the initial policy, kl='folder or hub id', or leave one of them out"
        )
