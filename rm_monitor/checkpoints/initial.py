"""Where the weights of step 0 lie: in the folder that the policy was loaded from.

No Trainer saves step 0, yet it is often the best checkpoint of a run that went wrong. The folder is believed
only if it holds the very weights: a sample of every tensor is compared.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rm_monitor.checkpoints.disk import problem

__all__ = ["holds", "initial_checkpoint"]

SAMPLE = 64  # numbers compared of each tensor


def initial_checkpoint(model: Any) -> Path | None:
    """The folder that holds this model's weights as they stand; None if there is none on this machine.

    A model with adapters that do nothing yet (LoRA before training) is its base.

    Args:
        model: As it comes to a callback.
    """
    folder = _folder(getattr(getattr(model, "config", None), "_name_or_path", "") or "")
    if folder is None or problem(folder) is not None:
        return None
    weights = _weights(model)
    return folder if weights and _holds(folder, weights) else None


def _folder(name: str) -> Path | None:
    if not name:
        return None
    if Path(name).is_dir():
        return Path(name).resolve()
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415  comes with transformers

    try:
        config = try_to_load_from_cache(name, "config.json")
    except ValueError:  # no name of a repository
        return None
    return Path(config).parent if isinstance(config, str) else None


def _weights(model: Any) -> dict[str, Any]:
    """Name in a full checkpoint -> parameter; empty when adapters change the model."""
    adapted = hasattr(model, "peft_config")
    found = {}
    for name, parameter in model.named_parameters():
        if adapted and ".lora_" in name:
            if ".lora_B." in name and bool(parameter.detach().any()):
                return {}
        elif adapted:
            found[name.removeprefix("base_model.model.").replace(".base_layer.", ".")] = parameter
        else:
            found[name] = parameter
    return found


def holds(folder: Path, model: Any) -> bool | None:
    """Whether a saved folder holds a model's weights as they stand, by a sample of every tensor of one name.

    Args:
        folder: A whole checkpoint.
        model: As it comes to a callback.

    Returns:
        None where it cannot be told: weights that are spread over processes, or none under a known name.
    """
    from safetensors import safe_open  # noqa: PLC0415  comes with transformers

    from rm_monitor.training.module_state import is_spread  # noqa: PLC0415  needs torch

    if model is None or is_spread(model):
        return None
    mine = {_plain_name(name): p for name, p in model.named_parameters()}
    adapter = folder / "adapter_model.safetensors"
    compared = 0
    for path in [adapter] if adapter.is_file() else _files(folder):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  no mapping
                parameter, stored = mine.get(_plain_name(name)), file.get_slice(name)
                if parameter is None or list(parameter.shape) != stored.get_shape() or not parameter.ndim:
                    continue  # written in another layout
                if not _is_sample_of(parameter.detach(), stored):
                    return False
                compared += 1
    return True if compared else None


def _plain_name(name: str) -> str:
    """A tensor's name without the adapter's, which PEFT leaves out when it writes."""
    return name.replace(".default.", ".")


def _is_sample_of(mine: Any, stored: Any) -> bool:
    row = stored[0] if mine.ndim > 1 else stored[:]
    kept = row.flatten()[:SAMPLE]
    now = (mine[0] if mine.ndim > 1 else mine).flatten()[:SAMPLE].cpu()
    return bool((now.to(kept.dtype) == kept).all())


def _holds(folder: Path, weights: dict[str, Any]) -> bool:
    """Whether a sample of every tensor on disk is in the model."""
    from safetensors import safe_open  # noqa: PLC0415  comes with transformers

    compared = 0
    for path in _files(folder):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  no mapping
                if name not in weights:
                    continue
                mine, stored = weights[name].detach(), file.get_slice(name)
                if list(mine.shape) != stored.get_shape():
                    return False
                if not _is_sample_of(mine, stored):
                    return False
                compared += 1
    return compared == len(weights)


def _files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return [folder / "model.safetensors"]
    names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    return [folder / name for name in sorted(names)]
