"""Trials that the engine has passed on this machine: the next run looks again, in a few forwards.

A file by architecture, versions, device and precision, beside the kept scores; it holds no answer, and one
that is lost or cannot be written costs a trial, nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch

from rm_monitor.cache.scores import default_path
from rm_monitor.files import atomic
from rm_monitor.files.digest import digest
from rm_monitor.files.strict_json import dumps
from rm_monitor.packed.precision import float32_products

__all__ = ["Trials", "setting_of"]

_NAMES = ("_name_or_path", "transformers_version", "dtype", "torch_dtype")  # of a config, beside its shape


def setting_of(
    model: Any, wrappings: Iterable[tuple[str, str, str]], mixed: torch.dtype | None, *choices: object
) -> str:
    """A name for everything beside the weights' values that a trial depends on.

    Args:
        model: The transformers model, adapters in place.
        wrappings: What others hung into it.
        mixed: What mixed precision computes in; None without it.
        choices: How the engine runs it.
    """
    import transformers  # noqa: PLC0415  for its version

    config = {name: value for name, value in model.config.to_dict().items() if name not in _NAMES}
    parameters = list(model.parameters())
    device = parameters[0].device
    card = torch.get_device_module(device.type).get_device_name(device) if device.type == "cuda" else ""
    return digest(
        {
            "config": repr(sorted(config.items(), key=lambda item: item[0])),
            "modules": sorted({f"{type(m).__module__}.{type(m).__qualname__}" for m in model.modules()}),
            "shapes": digest([[name, list(p.shape), str(p.dtype)] for name, p in model.named_parameters()]),
            "wrappings": sorted(map(list, wrappings)),
            "mixed": str(mixed),
            "device": [device.type, card, torch.backends.cpu.get_cpu_capability()],
            "products": float32_products(device),
            "choices": [str(choice) for choice in choices],
            "versions": [_code(), torch.__version__, transformers.__version__],
        }
    )


@cache
def _code() -> str:
    """A name for the engine's own source."""
    here = Path(__file__).parent
    files = sorted([*here.glob("*.py"), *(here.parents[1] / "packed").glob("*.py")])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


class Trials:
    """Names of settings whose trial went well.

    Args:
        folder: None: ``trials`` beside the kept scores.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    @property
    def folder(self) -> Path:
        """Where they lie; asked at each use, as the environment may change."""
        return self._folder or default_path().parent / "trials"

    def passed(self, setting: str) -> bool:
        """Whether this one was seen to go well here."""
        try:
            return (self.folder / f"{setting}.json").is_file()
        except OSError:
            return False

    def remember(self, setting: str) -> None:
        """It went well."""
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            atomic.replace(self.folder / f"{setting}.json", dumps({"passed": True}))

    def forget(self, setting: str) -> None:
        """It went well once, and now did not."""
        with suppress(OSError):
            (self.folder / f"{setting}.json").unlink(missing_ok=True)
