"""A reward model on disk, looked at without running any of its code.

Only JSON files and the headers of safetensors files are read; weights come later, tensor by tensor.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rm_monitor.errors import ScorerError

if TYPE_CHECKING:
    import torch

__all__ = ["VALUE_HEAD", "Checkpoint", "TensorInfo", "open_checkpoint", "read_header"]

# What a reward model needs; pickles (.bin, .pt) are never asked for.
WANTED = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
VALUE_HEAD = "value_head.safetensors"  # where LLaMA-Factory puts a reward model's head
HEADER_LIMIT = 100_000_000  # bytes; the safetensors library's own limit
VOLATILE = ("transformers_version", "_name_or_path", "torch_dtype", "dtype", "use_cache")


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """One tensor as its file's header describes it."""

    shape: tuple[int, ...]
    dtype: str  # as safetensors spells it: F32, BF16, ...
    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A folder with a model in it.

    Attributes:
        name: What the user called it.
        folder: Where it lies.
        config: Its ``config.json``; of an adapter, its ``adapter_config.json``.
        tensors: Name -> shape, dtype and file of every tensor.
        revision: Commit of a hub snapshot; None for an ordinary folder.
    """

    name: str
    folder: Path
    config: Mapping[str, Any] = field(repr=False)
    tensors: Mapping[str, TensorInfo] = field(repr=False)
    revision: str | None = None

    @property
    def is_adapter(self) -> bool:
        """Whether the folder holds a PEFT adapter rather than a whole model."""
        return "peft_type" in self.config

    @property
    def dtype(self) -> str:
        """The dtype most of its tensors are stored in, as torch spells it."""
        size: dict[str, int] = {}
        for tensor in self.tensors.values():
            count = 1
            for side in tensor.shape:
                count *= side
            size[tensor.dtype] = size.get(tensor.dtype, 0) + count
        common = max(size, key=lambda d: size[d], default="F32")
        return {"F32": "float32", "BF16": "bfloat16", "F16": "float16", "F64": "float64"}.get(
            common, "bfloat16"
        )

    def read(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """Load these tensors, as they are stored.

        Raises:
            ScorerError: If one is missing.
        """
        from safetensors import safe_open  # noqa: PLC0415  detection needs no torch

        found = {}
        for name in names:
            if name not in self.tensors:
                raise ScorerError(
                    f"{self.name!r} has no tensor {name!r}, which its kind of reward model needs"
                )
            with safe_open(self.folder / self.tensors[name].file, framework="pt") as file:
                found[name] = file.get_tensor(name)
        return found

    def read_starting(self, *prefixes: str, optional: Sequence[str] = ()) -> dict[str, torch.Tensor]:
        """Load all tensors whose names begin so.

        Args:
            *prefixes: Each must be the beginning of at least one name.
            optional: Those may be absent.

        Raises:
            ScorerError: If there is none for one of them.
        """
        for prefix in prefixes:
            if not any(name.startswith(prefix) for name in self.tensors):
                raise ScorerError(
                    f"{self.name!r} has no tensor {prefix}*, which its kind of reward model needs"
                )
        return self.read(name for name in self.tensors if name.startswith((*prefixes, *optional)))

    def weights_digest(self) -> str:
        """Names the weights: a hub snapshot by its commit, a folder by the content of its weight files.

        A folder's path says nothing: a retrained model keeps it. So every byte is read, about a second a
        gigabyte.
        """
        if self.revision is not None:
            return f"commit:{self.revision}"
        files = sorted({tensor.file for tensor in self.tensors.values()})
        with ThreadPoolExecutor(max_workers=4) as pool:  # hashing releases the GIL
            digests = list(pool.map(lambda name: _file_digest(self.folder / name), files))
        return hashlib.blake2b("\n".join(digests).encode(), digest_size=16).hexdigest()

    def config_digest(self) -> str:
        """Names the configuration, without what changes when a file is merely saved again."""
        kept = {key: value for key, value in self.config.items() if key not in VOLATILE}
        text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def open_checkpoint(source: str | Path, *, revision: str | None = None) -> Checkpoint:
    """Find a model folder, download it if it is a hub id, and read what it says about itself.

    Raises:
        ScorerError: If there is no such model, or it has no safetensors weights.
    """
    folder = _folder(source, revision)
    name = str(source)
    adapter = folder / "adapter_config.json"
    described = folder / "config.json"
    if not described.is_file():
        described = adapter
    if not described.is_file():
        raise ScorerError(f"{name!r} has no config.json, so it is not a model folder (looked in {folder})")
    config = json.loads(described.read_text(encoding="utf-8"))
    if not isinstance(config, dict):
        raise ScorerError(f"{described} must hold a JSON object, got {type(config).__name__}")
    tensors: dict[str, TensorInfo] = {}
    patterns = ["adapter_model*.safetensors", VALUE_HEAD] if described == adapter else ["*.safetensors"]
    for file in sorted(file for pattern in patterns for file in folder.glob(pattern)):
        tensors.update(read_header(file))
    if not tensors:
        raise ScorerError(_no_weights(name, folder))
    return Checkpoint(name=name, folder=folder, config=config, tensors=tensors, revision=_commit(folder))


def read_header(file: Path) -> dict[str, TensorInfo]:
    """Names, shapes and dtypes of a safetensors file's tensors.

    Raises:
        ScorerError: If the file is not in that format.
    """
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > HEADER_LIMIT:
                raise ValueError(f"its header claims {length} bytes")
            header = json.loads(stream.read(length))
        return {
            key: TensorInfo(shape=tuple(value["shape"]), dtype=value["dtype"], file=file.name)
            for key, value in header.items()
            if key != "__metadata__"
        }
    except (ValueError, struct.error, KeyError, TypeError, AttributeError) as error:
        raise ScorerError(f"{file} is not a safetensors file: {error}") from error


def _folder(source: str | Path, revision: str | None) -> Path:
    path = Path(source).expanduser()
    if path.is_dir():
        if revision is not None:
            raise ValueError(
                f"`revision` names a commit of a hub model, but {str(source)!r} is a folder here"
            )
        return path.resolve()
    if path.suffix == ".gguf" and path.is_file():
        from rm_monitor.scorers.gguf import unpacked  # noqa: PLC0415  few need it

        return unpacked(path.resolve())
    if path.is_file():
        raise ScorerError(
            f"{str(source)!r} is a file: a reward model is a folder with config.json and weights, a hub id, "
            "a URL or a .gguf file"
        )
    if path.is_absolute() or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", str(source)):
        raise ScorerError(f"there is no folder {str(source)!r}, and it is not a hub id (owner/name) either")
    from huggingface_hub import snapshot_download  # noqa: PLC0415  a local folder needs no hub client

    try:
        return Path(snapshot_download(str(source), revision=revision, allow_patterns=WANTED))
    except Exception as error:  # the hub client has a dozen ways to say so
        raise ScorerError(
            f"{str(source)!r} is neither a folder here nor a model that could be downloaded "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}): check the "
            "name, or "
            "give the path of a local copy"
        ) from error


def _commit(folder: Path) -> str | None:
    """The commit of a hub snapshot, which is the name of its folder."""
    found = re.search(r"/snapshots/([0-9a-f]{40})$", folder.as_posix())
    return found.group(1) if found else None


def _no_weights(name: str, folder: Path) -> str:
    packed = sorted(p.name for p in folder.glob("*.gguf"))
    if packed:
        return (
            f"{name!r} has its weights in GGUF: give the path of one of its files ({', '.join(packed[:3])})"
        )
    pickles = sorted(p.name for p in folder.iterdir() if p.suffix in {".bin", ".pt", ".pth", ".pkl", ".ckpt"})
    if pickles:
        return (
            f"{name!r} has its weights in pickle files ({', '.join(pickles[:3])}), which can run code "
            "when they are "
            "read: convert them to safetensors first (docs/reward-models.md shows how)"
        )
    return f"{name!r} has no *.safetensors weights"


def _file_digest(file: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with file.open("rb") as stream:
        while block := stream.read(1 << 24):
            digest.update(block)
    return f"{file.name}:{digest.hexdigest()}"
