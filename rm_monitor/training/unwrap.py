"""What lies below the wrappers: the module that answers, and the tokenizer inside a processor."""

from __future__ import annotations

import copy
from typing import Any

__all__ = ["tokenizer_of", "unwrap"]

# Where each wrapper keeps what it wraps. Fabric's holds the strategy's own wrapper (DDP, FSDP) there.
_INSIDE = {
    "DistributedDataParallel": "module",
    "DataParallel": "module",
    "DeepSpeedEngine": "module",
    "_FabricModule": "_forward_module",
}


def unwrap(model: Any) -> Any:
    """The module below DDP, DataParallel, DeepSpeed's engine, Fabric and torch.compile; sharded ones stay.

    Example:
        >>> import torch
        >>> linear = torch.nn.Linear(2, 2)
        >>> unwrap(torch.nn.DataParallel(linear)) is linear
        True
    """
    while True:
        kind = type(model).__name__
        # Asked first: Fabric's wrapper answers for its inside, also when it is asked for `_orig_mod`.
        inner = getattr(model, _INSIDE.get(kind, "_orig_mod"), None)
        if inner is None:
            return model
        model = inner


def tokenizer_of(processing_class: Any) -> Any:
    """What renders and decodes text: a tokenizer itself, or the one inside a multimodal model's processor.

    A processor's own chat template goes before its tokenizer's; the tokenizer handed back is then a copy that
    shares everything else, and the user's is not changed.

    Args:
        processing_class: As a Trainer has it: a tokenizer, a processor, or None.

    Returns:
        The tokenizer; what was given, where it holds none.
    """
    inner = getattr(processing_class, "tokenizer", None)
    # Some tokenizers wrap another one under this name, too; a processor alone has no padding token.
    if inner is None or hasattr(processing_class, "pad_token_id"):
        return processing_class
    template = getattr(processing_class, "chat_template", None)
    if not template or template == getattr(inner, "chat_template", None):
        return inner
    tokenizer = copy.copy(inner)
    tokenizer.chat_template = template
    return tokenizer
