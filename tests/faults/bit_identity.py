"""Training with the monitor leaves, bit for bit, what training without it leaves.

{plain, grad-checkpoint, LoRA + dropout, accumulation, bf16, compile, NEFTune} x {1 process, DDP, FSDP1,
FSDP2 on 2} x
{fine, scorer raises, generator raises}, and TRL's SFT, DPO and GRPO trainers: hashes of weights, optimizer
state,
random states and losses on every rank, of the real Trainer.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.distributed.cells import FAULTS, RECIPES
from tests.distributed.launch import differs, launch
from tests.distributed.trl_cells import TRL
from tests.faults.policy import save_policy


def campaign() -> Iterator[tuple[str, str, str]]:
    """One row for each engine."""
    with tempfile.TemporaryDirectory() as folder:
        policy = save_policy(Path(folder) / "policy")
        for engine, ranks in (("ddp", 1), ("ddp", 2), ("fsdp1", 2), ("fsdp2", 2)):
            recipes = [*RECIPES, *(TRL if engine == "ddp" else ())]
            names = [f"{recipe}:{engine}:{fault}" for recipe in recipes for fault in ("without", *FAULTS)]
            found = launch(policy, Path(folder) / f"{engine}-{ranks}", names, ranks=ranks)
            cells = [name for name in names if not name.endswith(":without")]
            other = {cell: why for cell in cells if (why := differs(found, cell))}
            alike = all(len({seen[cell]["curve"] for seen in found}) == 1 for cell in cells)
            what = "1 process" if ranks == 1 else f"{ranks} ranks {engine}"
            yield (
                f"bit-identity, {what}: equal cells of {len(cells)}, curves equal over ranks",
                f"{len(cells)}, yes",
                f"{len(cells) - len(other)}, {'yes' if alike else 'no'}" + (f" {other}" if other else ""),
            )
