"""Which checkpoints lie in a folder, and how to load one."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rm_monitor.checkpoints.disk import problem

__all__ = ["PATTERN", "Found", "Source"]

PATTERN = r"(?:checkpoint|step|global_step|iter|epoch)[-_=]?(\d+)"
_SAFE = {"use_safetensors": True, "trust_remote_code": False}  # nothing that is read can run code


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where checkpoints come from, and what is needed to load one. Plain values: it travels to workers.

    Attributes:
        folder: A Trainer's ``output_dir``, or any folder of folders.
        base: The model before training: judged as step 0, and the base of adapters.
        tokenizer: Where the tokenizer lies; None: beside the weights, else with the base.
        pattern: Regular expression for a folder's whole name; its first group is the step.
        inside: Folder inside each checkpoint that holds the weights, such as verl's ``actor/huggingface``.

    Raises:
        ValueError: If the pattern has no group.

    Example:
        >>> Source(folder=Path("out"), pattern="step_([0-9]+)_hf", inside="actor").inside
        'actor'
    """

    folder: Path
    base: str | None = None
    tokenizer: str | None = None
    pattern: str = PATTERN
    inside: str = ""

    def __post_init__(self) -> None:
        if re.compile(self.pattern).groups < 1:
            raise ValueError(
                f"`pattern` needs a group for the step, such as {PATTERN!r}, got {self.pattern!r}"
            )

    def discover(self) -> list[Found]:
        """Every checkpoint in the folder, complete or not, in order of step.

        Raises:
            ValueError: If the folder does not exist, or two folders have the same step.
        """
        if not self.folder.is_dir():
            raise ValueError(f"no such folder: {self.folder}")
        names = re.compile(self.pattern)
        found: dict[int, Found] = {}
        for path in sorted(self.folder.iterdir()):
            match = names.fullmatch(path.name)
            if match is None or path.is_symlink() or not path.is_dir():
                continue
            step, weights = int(match.group(1)), path / self.inside
            if step in found:
                raise ValueError(
                    f"{path.name} and {found[step].path.name} are both step {step}: "
                    "pass a `pattern` that matches one of them"
                )
            why = problem(path) if not self.inside else problem(weights)
            found[step] = Found(step=step, path=weights, problem=why)
        return [found[step] for step in sorted(found)]

    @property
    def base_folder(self) -> Path | None:
        """The base, if it is a folder on this machine."""
        return Path(self.base) if self.base is not None and Path(self.base).is_dir() else None

    def load(self, path: Path | None) -> tuple[Any, Any]:
        """Model and tokenizer of a checkpoint, full weights or an adapter on its base; None: the base.

        Raises:
            ValueError: If an adapter names no base, or there is no tokenizer.
        """
        from transformers import AutoModelForCausalLM  # noqa: PLC0415  needs torch

        base = self.base
        if path is None:
            if base is None:
                raise ValueError("`base` is needed for step 0: the model before training")
            return AutoModelForCausalLM.from_pretrained(base, **_SAFE).eval(), self._tokenizer(None, base)
        adapter = path / "adapter_config.json"
        if not adapter.is_file():
            model = AutoModelForCausalLM.from_pretrained(str(path), **_SAFE)
            return model.eval(), self._tokenizer(path, base)
        from peft import PeftModel  # noqa: PLC0415  only for adapters

        base = base or json.loads(adapter.read_text(encoding="utf-8")).get("base_model_name_or_path")
        if not base:
            raise ValueError(f"{path} is an adapter that names no base model: pass --base")
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, **_SAFE), str(path))
        return model.eval(), self._tokenizer(path, base)

    def _tokenizer(self, path: Path | None, base: str | None) -> Any:
        from transformers import AutoTokenizer  # noqa: PLC0415  needs torch

        for place in (self.tokenizer, path, base):
            if place is None or (Path(place).is_dir() and not list(Path(place).glob("tokenizer*"))):
                continue
            return AutoTokenizer.from_pretrained(str(place), trust_remote_code=False)
        raise ValueError(f"no tokenizer beside {path}: pass --tokenizer")
