"""A model without its weights, as bytes that another process makes the same model of."""

from __future__ import annotations

import io
import pickle
from functools import partial
from typing import Any

import torch
from torch.utils.hooks import RemovableHandle

from rm_monitor.errors import UnsupportedSetupError
from rm_monitor.monitor.overlap.recipe import Strict
from rm_monitor.monitor.overlap.slot import weights
from rm_monitor.training.sharded.twin import twin
from rm_monitor.training.unwrap import unwrap

__all__ = ["layout", "pack", "unpack"]

_PLAIN = (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer)
_WRAPPERS = (
    "accelerate",
    "trl",
    "peft",
    "transformers",
    "functools",
)  # whose forwards answer as the class's own
_PREPARED = "_is_accelerate_prepared"  # accelerate's mark; a model that bears it is never wrapped again
_TRAINING_HOOK = (
    "make_inputs_require_grads"  # PEFT's, for gradient checkpointing; a function inside a function
)


def layout(model: Any) -> tuple[Any, ...]:
    """Shapes and types: two models with the same layout can take each other's weights.

    Raises:
        UnsupportedSetupError: If the weights are of a kind that a plain copy does not hold.
    """
    for tensor in weights(model):
        if type(tensor) not in _PLAIN or tensor.is_meta:
            kind = "on no device" if tensor.is_meta else type(tensor).__name__
            raise UnsupportedSetupError(
                f"`overlap` copies plain weights, and some are {kind}. Leave `overlap` out, "
                "or judge the saved checkpoints: rm-monitor watch OUTPUT_DIR"
            )
    return tuple((tuple(t.shape), t.dtype) for t in weights(model))


def pack(model: Any, tokenizer: Any) -> bytes:
    """The model's structure, its tokenizer and its mixed precision.

    Raises:
        UnsupportedSetupError: If something in it cannot be sent; the message has the way out.
    """
    module = twin(unwrap(model))
    precision = _mixed_precision(module)
    for part in module.modules():
        _drop_what_training_needs(part)
    buffer = io.BytesIO()
    try:
        _Hollow(buffer, weights(module)).dump((module, tokenizer, precision))
    except Exception as problem:
        raise UnsupportedSetupError(
            f"`overlap` sends the model's structure to another process, and it cannot be sent ({problem}). "
            "Leave `overlap` out"
        ) from problem
    return buffer.getvalue()


def unpack(packed: bytes, device: str) -> tuple[Any, Any]:
    """The model, its weights not filled in yet, and the tokenizer; in the process that is to use them.

    Raises:
        UnsupportedSetupError: If its mixed precision cannot be had here: it would answer otherwise.
    """
    model, tokenizer, precision = _Filled(io.BytesIO(packed), device).load()
    model.eval()
    if precision != "no":
        from accelerate import Accelerator  # noqa: PLC0415  only mixed precision needs it

        accelerator = Accelerator(
            mixed_precision=precision, cpu=torch.device(device).type == "cpu", device_placement=False
        )
        model = accelerator.prepare_model(model, evaluation_mode=True)
        if _mixed_precision(model) != precision:
            raise UnsupportedSetupError(
                f"`overlap` answers in the trainer's mixed precision, and {precision!r} was not taken on by "
                f"{type(model).__name__} in the second process. Leave `overlap` out"
            )
    return model, tokenizer


def _mixed_precision(module: Any) -> str:
    """As accelerate calls it; the Trainer wraps the model's forward with it."""
    if "_original_forward" not in vars(module):
        return "no"
    from accelerate.state import AcceleratorState  # noqa: PLC0415

    return str(AcceleratorState().mixed_precision)


def _drop_what_training_needs(part: Any) -> None:
    """What was put onto a module for training, and changes no answer.

    Raises:
        UnsupportedSetupError: If its forward was replaced by somebody else.
    """
    own = vars(part)
    own.pop(_PREPARED, None)
    for name in ("forward", "_original_forward"):
        forward = own.pop(name, None)
        plain = getattr(forward, "__func__", forward)
        if plain is None or plain is getattr(type(part), "forward", None):
            continue
        origin = str(getattr(plain, "__module__", "") or type(plain).__module__)
        if origin.split(".")[0] not in _WRAPPERS:
            raise UnsupportedSetupError(
                f"`overlap` sends the model to another process, and the forward of {type(part).__name__} was "
                f"replaced by one of {origin or 'unknown origin'}, which would be missing there. Override it "
                "in a class of an importable module, or leave `overlap` out"
            )
    if isinstance(own.get("generate"), partial):  # `twin` puts it there for sharded models
        del own["generate"]
    for name, value in list(own.items()):
        if isinstance(value, RemovableHandle) or (isinstance(value, list) and _are_handles(value)):
            del own[name]  # it would bring the hook along
    for key, hook in list(part._forward_hooks.items()):
        if getattr(hook, "__name__", "") == _TRAINING_HOOK:
            del part._forward_hooks[key]


def _are_handles(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(value, RemovableHandle) for value in values)


class _Hollow(Strict):
    """Writes the place of a weight, not its numbers."""

    def __init__(self, file: io.BytesIO, tensors: list[torch.Tensor]) -> None:
        super().__init__(file)
        self._place = {id(t): i for i, t in enumerate(tensors)}

    def persistent_id(self, obj: Any) -> Any:
        """See `pickle.Pickler`."""
        place = self._place.get(id(obj)) if isinstance(obj, torch.Tensor) else None
        if place is None:
            return None
        return place, isinstance(obj, torch.nn.Parameter), tuple(obj.shape), obj.dtype


class _Filled(pickle.Unpickler):
    """Makes one tensor a place, so that tied weights stay tied."""

    def __init__(self, file: io.BytesIO, device: str) -> None:
        super().__init__(file)
        self._device = device
        self._made: dict[int, torch.Tensor] = {}

    def persistent_load(self, pid: Any) -> torch.Tensor:
        """See `pickle.Unpickler`."""
        place, is_parameter, shape, dtype = pid
        if place not in self._made:
            made = torch.empty(shape, dtype=dtype, device=self._device)
            self._made[place] = torch.nn.Parameter(made, requires_grad=False) if is_parameter else made
        return self._made[place]
