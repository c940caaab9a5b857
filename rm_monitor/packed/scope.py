"""Which models can be run on packed rows: every token sees its own row, and nothing else depends on rows."""

from __future__ import annotations

from typing import Any

__all__ = ["OutOfScope", "why_not_packed"]

_WINDOWS = ("sliding_window", "attention_window_size", "attention_chunk_size")
_ELSEWHERE = ("attn_logit_softcapping", "alibi", "use_alibi", "position_bias", "reorder_and_upcast_attn")
_GROWING = ("dynamic", "longrope", "yarn_dynamic")


class OutOfScope(Exception):
    """This model is run another way; the message ends the sentence "it is not served because"."""


def why_not_packed(model: Any, *, wrapped: bool = False, windows: bool = False) -> str:
    """Why rows of this model cannot be packed; empty if it looks as though they could.

    Args:
        model: A model.
        wrapped: Whether forwards that others replaced, and hooks, are let through: only for those who compare
            what comes out.
        windows: Whether sliding windows are let through: only for those who keep them.
    """
    from transformers import PreTrainedModel  # noqa: PLC0415  type(model) decides, and this is its base

    if not isinstance(model, PreTrainedModel):
        return f"{type(model).__name__} is not a plain transformers model"
    return _config(model, windows=windows) or _modules(model) or ("" if wrapped else _wrapped(model))


def _config(model: Any, *, windows: bool) -> str:
    config = model.config
    if getattr(config, "is_encoder_decoder", False):
        return "it has an encoder and a decoder"
    if config.get_text_config() is not config:
        return "it is more than a text model"
    if not getattr(model, "_supports_attention_backend", False):
        return "its attention does not go through transformers' attention interface"
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    known = {"full_attention", "sliding_attention"} if windows else {"full_attention"}
    if not kinds <= known:
        return f"some of its layers are {', '.join(sorted(kinds - known))}"
    if not getattr(config, "layer_types", None):
        for name in _WINDOWS:
            if getattr(config, name, None) and not (windows and name == "sliding_window"):
                return f"its attention is limited (`{name}`)"
    for name in _ELSEWHERE:
        if getattr(config, name, None):
            return f"its attention has `{name}`"
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    if isinstance(rope, dict) and rope.get("rope_type", rope.get("type")) in _GROWING:
        return "its rotary frequencies depend on the longest row of a batch"
    return ""


def _modules(model: Any) -> str:
    if getattr(model, "hf_quantizer", None) is not None or getattr(model, "is_quantized", False):
        return "it is quantised"
    if (
        getattr(model, "_tp_size", None) not in (None, 1)
        or len(getattr(model, "hf_device_map", None) or {}) > 1
    ):
        return "it is spread over several devices"
    if len({p.device for p in model.parameters()}) != 1:
        return "it lies on several devices"
    for module in model.modules():
        if getattr(getattr(module, "_hf_hook", None), "offload", False):
            return "its weights are fetched for each forward"
        if any(base.__name__ in ("FSDPModule", "FullyShardedDataParallel") for base in type(module).__mro__):
            return "its weights are sharded"
    if any(hasattr(p, "ds_id") for p in model.parameters()):
        return "its weights are sharded"
    return ""


def _wrapped(model: Any) -> str:
    for module in model.modules():
        mixed = module is model and hasattr(model, "_original_forward")  # accelerate wraps the outermost one
        if hasattr(module, "_hf_hook") or ("forward" in vars(module) and not mixed):
            return f"the forward of a {type(module).__name__} was replaced"
        if module._forward_hooks or module._forward_pre_hooks:
            return f"a {type(module).__name__} has forward hooks"
    return ""
