"""Which checkpoints lie in a folder, and how to load one."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rm_monitor.checkpoints import problem

__all__ = ["Found", "discover", "load", "load_base"]

PATTERN = r"(?:checkpoint|step|global_step|iter|epoch)[-_=]?(\d+)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A checkpoint on disk.

    Attributes:
        step: From the folder's name.
        path: The folder that holds the weights.
        problem: Why it cannot be judged yet (or at all); None if it is complete.
    """

    step: int
    path: Path
    problem: str | None


def discover(folder: str | Path, *, pattern: str = PATTERN) -> list[Found]:
    """Every checkpoint below a folder, in order of step.

    Args:
        folder: A Trainer's ``output_dir``, or any folder of folders.
        pattern: Regular expression for a folder's whole name; its first group is the step.

    Raises:
        ValueError: If the folder does not exist, or the pattern has no group.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"no such folder: {folder}")
    names = re.compile(pattern)
    if names.groups < 1:
        raise ValueError(f"`pattern` needs a group for the step, such as {PATTERN!r}, got {pattern!r}")
    found = []
    for path in folder.iterdir():
        match = names.fullmatch(path.name)
        if match and path.is_dir() and not path.is_symlink():
            found.append(Found(step=int(match.group(1)), path=path, problem=problem(path)))
    return sorted(found, key=lambda f: f.step)


def load(
    path: Path, *, base: str | Path | None = None, tokenizer: str | Path | None = None
) -> tuple[Any, Any]:
    """Model and tokenizer of a checkpoint: full weights, or a LoRA adapter on its base.

    Args:
        path: A complete checkpoint.
        base: Base model of an adapter; None: the one its ``adapter_config.json`` names.
        tokenizer: Where the tokenizer lies; None: beside the weights, else with the base.

    Raises:
        ValueError: If an adapter names no base, or there is no tokenizer.
    """
    from transformers import AutoModelForCausalLM  # noqa: PLC0415  needs torch

    adapter = path / "adapter_config.json"
    if adapter.is_file():
        from peft import PeftModel  # noqa: PLC0415  only for adapters

        name = base or json.loads(adapter.read_text(encoding="utf-8")).get("base_model_name_or_path")
        if not name:
            raise ValueError(f"{path} is an adapter that names no base model: pass --base")
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(str(name)), str(path))
        base = name
    else:
        model = AutoModelForCausalLM.from_pretrained(str(path), use_safetensors=True)
    return model.eval(), _tokenizer(path, base, tokenizer)


def load_base(base: str | Path) -> tuple[Any, Any]:
    """The model before training: step 0."""
    from transformers import AutoModelForCausalLM  # noqa: PLC0415  needs torch

    return AutoModelForCausalLM.from_pretrained(str(base)).eval(), _tokenizer(Path(base), None, None)


def _tokenizer(path: Path, base: str | Path | None, given: str | Path | None) -> Any:
    from transformers import AutoTokenizer  # noqa: PLC0415  needs torch

    for place in (given, path, base):
        if place is None or (Path(place).is_dir() and not list(Path(place).glob("tokenizer*"))):
            continue
        return AutoTokenizer.from_pretrained(str(place))
    raise ValueError(f"no tokenizer beside {path}: pass --tokenizer")
