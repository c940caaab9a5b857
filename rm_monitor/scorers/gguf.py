"""GGUF files: unpacked once into a folder of safetensors by transformers, then a model like any other.

They hold language models, so the kind has to be named: ``nemotron``, ``pair_preference`` or ``implicit``. The
heads of sequence classifiers have no place in the format.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rm_monitor.errors import ScorerError
from rm_monitor.files.places import cache_folder

__all__ = ["unpacked"]

DTYPES = {"F32": "float32", "BF16": "bfloat16"}  # of matrices; what is packed more tightly becomes float16


def unpacked(file: Path) -> Path:
    """The folder that holds what is in a GGUF file, made when it is first asked for.

    Raises:
        ScorerError: If transformers cannot load it.
    """
    if find_spec("gguf") is None:
        raise ScorerError(f"{str(file)!r} is a GGUF file: install gguf, or rm_monitor[gguf]")
    folder = cache_folder() / "gguf" / _digest(file)
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix="part-", dir=folder.parent))
        try:
            _unpack(file, part)
            os.replace(part, folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster
                raise
        except Exception as error:  # the many ways of an architecture or a packing that it does not know
            raise ScorerError(f"transformers cannot load the GGUF file {str(file)!r}: {error}") from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return folder


def _unpack(file: Path, folder: Path) -> None:
    import torch  # noqa: PLC0415  looking at a folder needs no torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig  # noqa: PLC0415

    place: dict[str, Any] = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name}
    AutoTokenizer.from_pretrained(**place, trust_remote_code=False).save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        model = AutoModelForCausalLM.from_pretrained(
            **place,
            dtype=getattr(torch, _dtype(file)),
            quantization_config=GgufConfig(dequantize=True),
            trust_remote_code=False,
            use_safetensors=True,
        )
    model.save_pretrained(folder)


def _dtype(file: Path) -> str:
    from gguf import GGUFReader  # noqa: PLC0415

    kinds = {tensor.tensor_type.name for tensor in GGUFReader(file).tensors if len(tensor.shape) > 1}
    return DTYPES.get(kinds.pop(), "float16") if len(kinds) == 1 else "float16"


def _digest(file: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with file.open("rb") as stream:
        while block := stream.read(1 << 24):
            digest.update(block)
    return digest.hexdigest()
