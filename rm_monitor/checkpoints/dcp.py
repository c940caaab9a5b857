"""Checkpoints in torch's distributed format (DCP), as FSDP and torchtitan write them; nothing there is run.

A DCP folder holds ``.metadata``, which is a pickle, and ``*.distcp`` files. torch's readers unpickle whatever
lies there; here only the classes that describe tensors may be named, and of the files only tensors are read.
"""

from __future__ import annotations

import pickle
import warnings
from enum import EnumMeta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["into", "is_dcp"]

_MODULE = "torch.distributed.checkpoint"
_VALUES = {
    f"{_MODULE}.metadata": {
        *("Metadata", "MetadataIndex", "TensorStorageMetadata", "BytesStorageMetadata", "TensorProperties"),
        *("ChunkStorageMetadata", "StorageMeta", "_MEM_FORMAT_ENCODING"),
    },
    f"{_MODULE}.filesystem": {"_StorageInfo"},
    "torch": {"Size"},
    "torch.serialization": {"_get_layout"},
    "collections": {"OrderedDict"},
    "pathlib": {"Path", "PosixPath", "PurePosixPath"},
    "pathlib._local": {"Path", "PosixPath", "PurePosixPath"},
}


def is_dcp(folder: Path) -> bool:
    """Whether a whole DCP checkpoint lies there: torch writes ``.metadata`` last, and moves it into place."""
    return (folder / ".metadata").is_file() and any(True for _ in folder.glob("*.distcp"))


def into(model: Any, folder: Path) -> None:
    """Load a model's weights, whatever they are nested in (``model.``, ``app.model.``, nothing).

    Args:
        model: A torch module; weights that it ties to others need not be there.
        folder: See `is_dcp`.

    Raises:
        ValueError: If the folder holds other weights than the model's, or something that is no description of
            tensors; the message says which.
    """
    from torch.distributed.checkpoint.state_dict_loader import load  # noqa: PLC0415  heavy

    reader = _reader(folder)
    there = _tensors(reader.read_metadata())
    wanted: dict[str, Tensor] = model.state_dict()
    prefix = _prefix(there, wanted)
    named = {name: f"{prefix}{name}" for name in wanted}
    found = {name: there[key] for name, key in named.items() if key in there}
    absent = sorted(set(wanted) - set(found) - _tied(model))
    unlike = sorted(name for name in found if tuple(found[name]) != tuple(wanted[name].shape))
    if absent or unlike:
        raise ValueError(
            f"{folder} holds other weights than a {type(model).__name__} has: {len(absent)} of {len(wanted)} "
            f"are not there ({', '.join(absent[:2])}), {len(unlike)} have another shape; a trainer with "
            f"names of its own ({', '.join(sorted(there)[:2])}) must convert them first"
        )
    state = {named[name]: wanted[name] for name in found}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # as it is meant
        load(state, storage_reader=reader, no_dist=True)  # in place: they are the model's own tensors


def _prefix(there: dict[str, Any], wanted: dict[str, Any]) -> str:
    """What stands before the model's own names: the one under which most of them are there."""
    counts: dict[str, int] = {}
    for key in there:
        for at in (0, *(i + 1 for i, letter in enumerate(key) if letter == ".")):
            if key[at:] in wanted:
                counts[key[:at]] = counts.get(key[:at], 0) + 1
    return max(counts, key=lambda prefix: (counts[prefix], -len(prefix)), default="")


def _tensors(metadata: Any) -> dict[str, Any]:
    """Shapes by name; optimizer states and random states are among them, and are not read."""
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata  # noqa: PLC0415  heavy

    entries = metadata.state_dict_metadata.items()
    return {name: entry.size for name, entry in entries if isinstance(entry, TensorStorageMetadata)}


def _tied(model: Any) -> set[str]:
    """Names of weights that are another's: transformers ties the head to the embedding."""
    first: dict[int, str] = {}
    tied = set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if first.setdefault(id(tensor), name) != name:
            tied.add(name)
    return tied


def _reader(folder: Path) -> Any:
    from torch.distributed.checkpoint.filesystem import FileSystemReader  # noqa: PLC0415  heavy

    class Reader(FileSystemReader):
        """torch's, with an unpickler that knows descriptions of tensors and nothing else."""

        def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
            with (folder / ".metadata").open("rb") as file:
                metadata = _Descriptions(file).load()
            for info in metadata.storage_data.values():
                if Path(info.relative_path).name != info.relative_path:
                    raise ValueError(
                        f"{folder / '.metadata'} names {info.relative_path!r:.100}, which is no file there"
                    )
            return metadata

    return Reader(folder)


def _member(kind: Any, name: str) -> Any:
    """Of an enumeration, as Python 3.11.0 to 3.11.3 write them: by `getattr`, which could name anything."""
    if isinstance(kind, EnumMeta) and name in kind.__members__:
        return kind[name]
    raise ValueError(
        f".metadata asks {kind!r:.100} for {name!r:.100}, which describes no tensor: it is not read"
    )


class _Descriptions(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        import torch  # noqa: PLC0415  heavy

        if (module, name) == ("builtins", "getattr"):
            return _member
        plain = (torch.dtype, torch.layout, torch.memory_format)
        if module == "torch" and isinstance(getattr(torch, name, None), plain):
            return getattr(torch, name)
        if name in _VALUES.get(module, ()):
            return super().find_class(module, name)
        raise ValueError(f".metadata names {module}.{name:.100}, which describes no tensor: it is not read")
