"""How trainers other than transformers' lay out their checkpoints, one row a trainer.

A layout is found by looking: the first of the table whose folders are there. What a trainer must be told so
that it writes something that can be loaded stands beside it, and is said when it did not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rm_monitor.checkpoints.disk import problem

__all__ = ["LAYOUTS", "NAMES", "PATTERN", "Layout", "Place", "find"]

PATTERN = r"(?:checkpoint|step|global_step|iter|epoch)[-_=]?(\d+)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A checkpoint's folder and where in it the weights should lie.

    Attributes:
        step: Optimizer step, or epoch counted from 1.
        folder: The checkpoint.
        weights: The folder of its weights; the checkpoint itself where nothing that fits is inside.
    """

    step: int
    folder: Path
    weights: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where a trainer puts its checkpoints.

    Attributes:
        name: For ``--layout``.
        pattern: Of a checkpoint's name; group 1 is its number.
        inside: Folders in a checkpoint that may hold the weights, the first that is there counts; empty: the
            checkpoint itself.
        under: Folders below the given one that may hold the checkpoints; ``""`` is the given one.
        first: Step of number 0: an epoch that is counted from 0 is over when it is saved, so it is step 1.
        tells: Paths (with wildcards) of which one in some checkpoint says that it is this layout; empty: the
            names of the checkpoints do.
        hint: What the trainer must be told, where its checkpoints hold no weights that can be loaded.
    """

    name: str
    pattern: str
    inside: tuple[str, ...] = ()
    under: tuple[str, ...] = ("",)
    first: int = 0
    tells: tuple[str, ...] = ()
    hint: str = ""

    def places(self, folder: Path) -> Iterator[Place]:
        """Every checkpoint that is there, in order of name; a link to a neighbour is none.

        A checkpoint may itself be a link, to another disk, say.
        """
        names = re.compile(self.pattern)
        for root in (folder / under for under in self.under):
            if not root.is_dir():
                continue
            neighbours = {path.resolve() for path in root.iterdir() if not path.is_symlink()}
            for path in sorted(root.iterdir()):
                match = names.fullmatch(path.name)
                if match is None or not path.is_dir():
                    continue
                if path.is_symlink() and path.resolve() in neighbours:
                    continue
                yield Place(step=int(match.group(1)) + self.first, folder=path, weights=self.weights(path))

    def weights(self, checkpoint: Path) -> Path:
        """The first of the inside folders that is there, a loadable one before one that is not."""
        there = [checkpoint / name for name in self.inside if (checkpoint / name).is_dir()]
        whole = [path for path in (*there, checkpoint) if problem(path) is None]
        return (whole or there or [checkpoint])[0]

    def fits(self, folder: Path) -> bool:
        """Whether some checkpoint there is of this layout."""
        return any(
            not self.tells or any(True for mark in self.tells for _ in place.folder.glob(mark))
            for place in self.places(folder)
        )


LAYOUTS = (
    Layout(
        name="verl",
        pattern=r"global_step_(\d+)",
        inside=("actor/huggingface", "actor/model/huggingface", "huggingface", "model/huggingface"),
        tells=("actor", "huggingface", "data*.pt", "model_world_size_*"),
        hint="verl: checkpoint.save_contents needs hf_model, as in "
        "actor_rollout_ref.actor.checkpoint.save_contents=[model,optimizer,extra,hf_model]",
    ),
    Layout(name="openrlhf", pattern=r"global_step(\d+)_hf"),
    Layout(
        name="openrlhf",
        pattern=r"global_step(\d+)",
        tells=("*_model_states.pt", "mp_rank_*"),
        hint="OpenRLHF: --ckpt.save_hf (--save_hf_ckpt in older versions) writes weights that can be loaded",
    ),
    Layout(
        name="torchtune",
        pattern=r"epoch_(\d+)",
        first=1,
        hint="torchtune: FullModelHFCheckpointer with safe_serialization writes weights that can be loaded",
    ),
    Layout(
        name="torchtitan",
        pattern=r"step-(\d+)",
        under=("", "checkpoint"),
        inside=("pytorch_model_fsdp_0",),
        tells=(".metadata", "*.distcp", "model.safetensors.index.json", "sharded"),
        hint="torchtitan: checkpoint.last_save_in_hf writes weights that can be loaded, its other steps have "
        "names of its own; --model-config BASE says what model they are of",
    ),
    Layout(name="llm-foundry", pattern=r"(?:ep\d+-)?ba(\d+)", under=("", "huggingface")),
    Layout(
        name="nemo-rl",
        pattern=r"step_(\d+)",
        inside=("policy/hf", "policy/weights", "hf"),
        tells=("policy", "training_info.json"),
        hint="NeMo-RL: its converter (examples/converters/convert_dcp_to_hf.py) writes step_N/hf",
    ),
    Layout(name="prime-rl", pattern=r"step_(\d+)", under=("weights",)),
    Layout(name="trainer", pattern=PATTERN, inside=("pytorch_model_fsdp_0",)),  # of FSDP with sharded states
)
NAMES = tuple(dict.fromkeys(layout.name for layout in LAYOUTS))


def find(folder: Path, name: str | None = None) -> Layout:
    """The layout of a folder: the first that fits, one with something to load before one without.

    Args:
        folder: Where the checkpoints should be.
        name: Only layouts of this name; None: all.

    Raises:
        ValueError: If there is no such layout.

    Example:
        >>> find(Path("no such folder")).name
        'trainer'
    """
    if name is not None and name not in NAMES:
        raise ValueError(f"`layout` must be one of {list(NAMES)}, got {name!r}")
    asked = [layout for layout in LAYOUTS if name in (None, layout.name)]
    fitting = [layout for layout in asked if layout.fits(folder)]
    loadable = [x for x in fitting if any(problem(place.weights) is None for place in x.places(folder))]
    return (loadable or fitting or asked[-1:])[0]
