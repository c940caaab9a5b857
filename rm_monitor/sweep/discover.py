"""Which checkpoints lie in a folder, and how to load one."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rm_monitor.checkpoints.dcp import into, is_dcp
from rm_monitor.checkpoints.disk import problem
from rm_monitor.sweep.layouts import PATTERN, Layout, find

__all__ = ["PATTERN", "Found", "Source"]

_NO_CONFIG = "config.json is not there"
_SAFE = {"use_safetensors": True, "trust_remote_code": False}  # nothing that is read can run code


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A checkpoint on disk.

    Attributes:
        step: From the folder's name.
        path: The folder that holds the weights.
        problem: Why it cannot be judged yet (or at all); None if it is complete.
        folder: The checkpoint, which may hold the weights in a folder of its own.
    """

    step: int
    path: Path
    problem: str | None
    folder: Path = Path()


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where checkpoints come from, and what is needed to load one. Plain values: it travels to workers.

    Attributes:
        folder: A Trainer's ``output_dir``, or any folder of folders.
        base: The model before training: judged as step 0, and the base of adapters.
        tokenizer: Where the tokenizer lies; None: beside the weights, else with the base.
        pattern: Regular expression for a folder's whole name; its first group is the step. None: by layout.
        inside: Folder inside each checkpoint that holds the weights, such as verl's ``actor/huggingface``;
            empty: by layout.
        layout: Name of one of `rm_monitor.sweep.layouts.LAYOUTS`; None: found by looking.
        model_config: Where the configuration of the model lies, for trainers that write weights alone: a
            folder or hub id; None: the base.

    Raises:
        ValueError: If the pattern has no group, or there is no such layout.

    Example:
        >>> Source(folder=Path("out"), pattern="step_([0-9]+)_hf", inside="actor").inside
        'actor'
    """

    folder: Path
    base: str | None = None
    tokenizer: str | None = None
    pattern: str | None = None
    inside: str = ""
    layout: str | None = None
    model_config: str | None = None

    def __post_init__(self) -> None:
        if self.layout is not None:
            find(self.folder, self.layout)
        if self.pattern is not None and re.compile(self.pattern).groups < 1:
            raise ValueError(
                f"`pattern` needs a group for the step, such as {PATTERN!r}, got {self.pattern!r}"
            )

    def discover(self) -> list[Found]:
        """Every checkpoint in the folder, complete or not, in order of step.

        Raises:
            ValueError: If the folder does not exist, two checkpoints have the same step, or one has step 0,
                which is the base.
        """
        if not self.folder.is_dir():
            raise ValueError(f"no such folder: {self.folder}")
        layout = self.found_layout()
        found: dict[int, Found] = {}
        for place in layout.places(self.folder):
            step, name = place.step, place.folder.name
            if step in found:
                raise ValueError(
                    f"{name} and {found[step].folder.name} are both step {step}: "
                    "pass a `pattern` that matches one of them"
                )
            if step == 0 and self.base is not None:
                raise ValueError(
                    f"{name} is step 0, and so is the base: leave one of them out (no `base`, or a `pattern` "
                    f"that does not match {name})"
                )
            weights = place.folder / self.inside if self.inside else place.weights
            why = problem(place.folder) if weights == place.folder else problem(weights)
            if why is not None and is_dcp(weights):
                told = "it is in torch's distributed format: --model-config BASE says what model it is of"
                why = None if self._config else told + (f" ({layout.hint})" if layout.hint else "")
            elif why == _NO_CONFIG:
                why = None if self._config else f"{why}: --model-config BASE says what model it is of"
            elif why is not None and layout.hint:
                why = f"{why} ({layout.hint})"
            found[step] = Found(step=step, path=weights, problem=why, folder=place.folder)
        return [found[step] for step in sorted(found)]

    def found_layout(self) -> Layout:
        """The layout that is read: of the pattern, the one that was named, or the one that is there."""
        if self.pattern is not None:
            return Layout(name="pattern", pattern=self.pattern)
        return find(self.folder, self.layout)

    @property
    def _config(self) -> str | None:
        """Where the configuration lies that checkpoints may lack."""
        return self.model_config or self.base

    def nothing(self) -> str:
        """Why no checkpoint was found, with what lies there instead."""
        layout = self.found_layout()
        numbered = sorted(
            {
                re.sub(r"\d+", "(\\\\d+)", p.name)
                for p in self.folder.iterdir()
                if re.search(r"\d", p.name) and p.is_dir()
            }
        )
        there = f"; folders there look like {numbered[:5]}: pass one as `pattern`" if numbered else ""
        return f"no checkpoints in {self.folder} whose name matches {layout.pattern!r}{there}"

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
            if (path / "config.json").is_file():
                model = AutoModelForCausalLM.from_pretrained(str(path), **_SAFE)
            elif is_dcp(path):
                model = self._of_dcp(path)
            else:
                model = self._of_another_config(path)
            return model.eval(), self._tokenizer(path, base)
        from peft import PeftModel  # noqa: PLC0415  only for adapters

        base = base or json.loads(adapter.read_text(encoding="utf-8")).get("base_model_name_or_path")
        if not base:
            raise ValueError(f"{path} is an adapter that names no base model: pass --base")
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, **_SAFE), str(path))
        return model.eval(), self._tokenizer(path, base)

    def _of_dcp(self, path: Path) -> Any:
        """The model whose weights torch's distributed checkpointing wrote."""
        from transformers import AutoConfig, AutoModelForCausalLM  # noqa: PLC0415  needs torch

        if self._config is None:
            raise ValueError(f"{path} has no config.json: pass `model_config`, what model it is of")
        config = AutoConfig.from_pretrained(self._config, trust_remote_code=False)
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        into(model, path)
        return model

    def _of_another_config(self, path: Path) -> Any:
        """The model of weights that lie there alone, by the configuration of the base."""
        from tempfile import TemporaryDirectory  # noqa: PLC0415  seldom used

        from transformers import AutoConfig, AutoModelForCausalLM  # noqa: PLC0415  needs torch

        if self._config is None:
            raise ValueError(f"{path} has no config.json: pass `model_config`, what model it is of")
        with TemporaryDirectory(prefix="rm-monitor-") as whole:  # nothing is written into a checkpoint
            AutoConfig.from_pretrained(self._config, trust_remote_code=False).save_pretrained(whole)
            for file in path.glob("*.safetensors*"):
                (Path(whole) / file.name).symlink_to(file.resolve())
            model, said = AutoModelForCausalLM.from_pretrained(
                whole, output_loading_info=True, ignore_mismatched_sizes=True, **_SAFE
            )
        wrong = {name: said[f"{name}_keys"] for name in ("missing", "unexpected", "mismatched")}
        if any(wrong.values()):
            counts = ", ".join(f"{len(keys)} {name}" for name, keys in wrong.items())
            raise ValueError(f"the weights in {path} are not those of {self._config}: {counts}")
        return model

    def _tokenizer(self, path: Path | None, base: str | None) -> Any:
        from transformers import AutoTokenizer  # noqa: PLC0415  needs torch

        for place in (self.tokenizer, path, base, self.model_config):
            if place is None or (Path(place).is_dir() and not list(Path(place).glob("tokenizer*"))):
                continue
            return AutoTokenizer.from_pretrained(str(place), trust_remote_code=False)
        raise ValueError(f"no tokenizer beside {path}: pass --tokenizer")
