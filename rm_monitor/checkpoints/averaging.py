"""The mean of checkpoints' weights, as a checkpoint of its own.

Checkpoints of one run lie in one valley of the loss, and their mean often lies lower in it than each of them
(Izmailov et al. 2018; Wortsman et al. 2022). Whether it does here is measured, not assumed
(`rm_monitor.sweep.average`). An adapter's mean is taken in its own parameters: the mean of the factors A and
B, not of their product.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from rm_monitor.checkpoints.disk import problem
from rm_monitor.checkpoints.tensors import Tensor, Weights, header

__all__ = ["average_weights"]

# Sums are one precision wider than what is stored, so that the mean of equal weights is these weights.
_READ = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_WIDE: dict[str, type[np.floating[Any]]] = {"F64": np.float64, "F32": np.float64}
_ROOM = 32_000_000  # bytes of a tensor that are in memory at once, of each checkpoint
_TOLD_APART_BY = {  # settings that say nothing about what the weights are of
    *("_name_or_path", "transformers_version", "use_cache", "torch_dtype", "dtype"),
    *("inference_mode", "peft_version", "auto_mapping"),
}
_BESIDE = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken")  # tokenizer and settings, no optimizer
_OF_TRAINING = {"trainer_state.json"}


def average_weights(checkpoints: Mapping[int, Path], to: Path) -> dict[str, Any]:
    """Write the mean of checkpoints, tensor by tensor, in the type and the files of the latest.

    Args:
        checkpoints: Step -> its folder, at least two: full weights, or adapters of one base.
        to: A folder that is not there yet; tokenizer and settings of the latest step are copied into it.

    Returns:
        Where it came from: ``steps``, ``checkpoints`` (step, folder, SHA-256 of each file of weights),
        ``adapter``, ``tensors``.

    Raises:
        ValueError: If there are fewer than two, one is not whole, or they are not of one model: the tensor or
            setting that differs is named.
    """
    if len(checkpoints) < 2:
        raise ValueError(f"an average is of at least two checkpoints, got {len(checkpoints)}")
    for step, folder in checkpoints.items():
        if why := problem(folder):
            raise ValueError(f"step {step} cannot be averaged: {why} ({folder})")
    weights = {step: Weights.of(checkpoints[step]) for step in sorted(checkpoints)}
    _check(weights)
    latest = weights[max(weights)]
    to.mkdir(parents=True)
    for pattern in _BESIDE:
        for path in latest.folder.glob(pattern):
            if path.is_file() and path.name not in _OF_TRAINING:
                shutil.copyfile(path, to / path.name)
    for name in latest.files:
        with (to / name).open("xb") as out:
            out.write(header(latest.folder / name))
            for tensor, place in latest.tensors.items():
                if place.file.name == name:
                    _write_mean(out, tensor, {step: w.tensors[tensor] for step, w in weights.items()})
    return {
        "steps": list(weights),
        "checkpoints": [
            {"step": step, "folder": str(w.folder), "sha256": w.digests()} for step, w in weights.items()
        ],
        "adapter": latest.is_adapter,
        "tensors": len(latest.tensors),
    }


def _check(weights: Mapping[int, Weights]) -> None:
    """Refuse checkpoints whose mean is the mean of different things."""
    (first, a), *others = weights.items()
    for step, b in others:
        kinds = {True: "an adapter", False: "full weights"}
        if a.is_adapter != b.is_adapter:
            raise ValueError(
                f"step {first} is {kinds[a.is_adapter]} and step {step} {kinds[b.is_adapter]}: they have no "
                "mean; name steps of one kind"
            )
        ours, theirs = (_settings(w.folder / w.config) for w in (a, b))
        for key in sorted(ours.keys() | theirs.keys()):
            if ours.get(key) != theirs.get(key):
                raise ValueError(
                    f"steps {first} and {step} are not of one model: `{key}` in {a.config} is "
                    f"{ours.get(key)!r:.100} and {theirs.get(key)!r:.100}"
                )
        if lacking := a.tensors.keys() ^ b.tensors.keys():
            raise ValueError(
                f"steps {first} and {step} do not have the same tensors: only one has {min(lacking)!r:.100}"
            )
        for name, there in a.tensors.items():
            other = b.tensors[name]
            if (there.dtype, there.shape) != (other.dtype, other.shape):
                raise ValueError(
                    f"{name!r:.100} is {there.dtype} {list(there.shape)} at step {first} and {other.dtype} "
                    f"{list(other.shape)} at step {step}: they have no mean"
                )


def _settings(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    return {
        key: sorted(map(str, value)) if isinstance(value, list) else value
        for key, value in found.items()
        if key not in _TOLD_APART_BY
    }


def _write_mean(out: BinaryIO, name: str, places: Mapping[int, Tensor]) -> None:
    """Append the mean of one tensor; what is no floating-point number must be the same everywhere."""
    dtype = next(iter(places.values())).dtype
    for parts in _pieces(places):
        if dtype in _READ:
            total = np.zeros((), _WIDE.get(dtype, np.float32))
            for step, part in parts.items():
                numbers = _numbers(part, dtype)
                if not np.isfinite(numbers).all():
                    raise ValueError(
                        f"{name!r:.100} of step {step} holds nan or infinity: leave that step out"
                    )
                total = total + numbers
            out.write(_stored(total / len(parts), dtype).tobytes())
            continue
        (first, same), *others = parts.items()
        for step, part in others:
            if not np.array_equal(part, same):
                raise ValueError(
                    f"{name!r:.100} is {dtype} and differs between steps {first} and {step}: only F64, F32, "
                    "F16 and BF16 have a mean; save checkpoints that are not quantised"
                )
        out.write(same.tobytes())


def _pieces(places: Mapping[int, Tensor]) -> Iterator[dict[int, NDArray[np.uint8]]]:
    """The same stretch of bytes of each checkpoint, one after the other."""
    mapped = {step: place.bytes() for step, place in places.items()}
    for start in range(0, next(iter(places.values())).size, _ROOM):
        yield {step: array[start : start + _ROOM] for step, array in mapped.items()}


def _numbers(raw: NDArray[np.uint8], dtype: str) -> NDArray[np.floating[Any]]:
    """Bytes as numbers in the type that sums are in."""
    # a copy: what is mapped may lie at any byte
    found = np.frombuffer(raw.tobytes(), _READ[dtype])
    if dtype == "BF16":  # the upper half of a float32
        return (found.astype("<u4") << np.uint32(16)).view("<f4")
    return found.astype(_WIDE.get(dtype, np.float32))


def _stored(mean: NDArray[np.floating[Any]], dtype: str) -> NDArray[Any]:
    """Numbers as they are stored, rounded to the nearest, ties to even."""
    if dtype != "BF16":
        return mean.astype(_READ[dtype])
    bits = np.ascontiguousarray(mean, "<f4").view("<u4")
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (rounded >> np.uint32(16)).astype("<u2")
