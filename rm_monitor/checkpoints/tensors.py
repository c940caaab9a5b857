"""Weights on disk as safetensors files: which tensors there are, where, of which type. None is loaded."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["Tensor", "Weights", "header"]


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where one tensor lies.

    Attributes:
        dtype: As safetensors names it, such as ``BF16``.
        shape: Its sizes.
        file: That holds it.
        start: Its first byte in the file.
        size: Bytes.
    """

    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    size: int

    def bytes(self) -> NDArray[np.uint8]:
        """``(size,)`` as it lies on disk: read where it is looked at."""
        if not self.size:
            return np.zeros(0, np.uint8)
        return np.memmap(self.file, np.uint8, "r", self.start, (self.size,))


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of a checkpoint: an adapter's own, else a model's, in one file or as an index names them.

    Attributes:
        folder: The checkpoint.
        config: Name of the file that says what model, or what adapter, they are of.
        files: Names of the weights' files, in order.
        tensors: By name, in the order of the files.
    """

    folder: Path
    config: str
    files: tuple[str, ...]
    tensors: dict[str, Tensor]

    @classmethod
    def of(cls, folder: Path) -> Weights:
        """Those of a complete checkpoint (`rm_monitor.checkpoints.disk.problem`)."""
        index, config, files = folder / "model.safetensors.index.json", "config.json", ("model.safetensors",)
        if (folder / "adapter_config.json").is_file():
            config, files = "adapter_config.json", ("adapter_model.safetensors",)
        elif index.is_file():
            files = tuple(sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())))
        tensors = {name: found for file in files for name, found in _tensors(folder / file).items()}
        return cls(folder, config, files, tensors)

    @property
    def is_adapter(self) -> bool:
        """Whether a base is needed beside them."""
        return self.config == "adapter_config.json"

    def digests(self) -> dict[str, str]:
        """SHA-256 of each file."""
        found = {}
        for name in self.files:
            digest = hashlib.sha256()
            with (self.folder / name).open("rb") as file:
                while block := file.read(1 << 24):
                    digest.update(block)
            found[name] = digest.hexdigest()
        return found


def header(path: Path) -> bytes:
    """What a safetensors file says of itself, with its length before it: the tensors' bytes come after it."""
    with path.open("rb") as file:
        start = file.read(8)
        return start + file.read(struct.unpack("<Q", start)[0])


def _tensors(path: Path) -> dict[str, Tensor]:
    told = header(path)
    entries = json.loads(told[8:])
    entries.pop("__metadata__", None)
    found = {}
    for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        start, stop = entry["data_offsets"]
        found[name] = Tensor(entry["dtype"], tuple(entry["shape"]), path, len(told) + start, stop - start)
    return found
