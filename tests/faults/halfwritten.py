"""Half-written checkpoints are offered: none is taken. Whole ones are."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from rm_monitor.checkpoints.disk import problem
from rm_monitor.checkpoints.keeper import Keeper
from rm_monitor.sweep.discover import Source
from tests.faults.pinning import FAST

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def whole(folder: Path, kind: str) -> Path:
    """A checkpoint as the Trainer leaves it: one file, shards, or an adapter."""
    path = folder / "checkpoint-10"
    path.mkdir(parents=True)
    tensors = {f"layer.{i}": np.full((3, 5), i, dtype=np.float32) for i in range(4)}
    if kind == "shards":
        for j, name in enumerate(SHARDS):
            save_file({k: v for i, (k, v) in enumerate(tensors.items()) if i % 2 == j}, path / name)
        where = {key: SHARDS[i % 2] for i, key in enumerate(tensors)}
        (path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    else:
        save_file(tensors, path / ("adapter_model.safetensors" if kind == "adapter" else "model.safetensors"))
    name = "adapter_config.json" if kind == "adapter" else "config.json"
    (path / name).write_text(json.dumps({"model_type": "llama"}))
    (path / "optimizer.pt").write_bytes(b"x" * 100)
    (path / "trainer_state.json").write_text(json.dumps({"global_step": 10}))
    return path


def weights(path: Path) -> list[Path]:
    """The weight files."""
    return sorted(path.glob("*.safetensors"))


def config(path: Path) -> Path:
    """The configuration."""
    return next(p for p in (path / "config.json", path / "adapter_config.json") if p.exists())


def rewrite(path: Path, data: bytes) -> None:
    """Put other bytes in a file's place."""
    path.write_bytes(data)


def header(path: Path, change: Callable[[dict[str, dict[str, object]]], None]) -> None:
    """Change the header of a safetensors file, its tensors staying as they are."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    said = json.loads(data[8 : 8 + length])
    change(said)
    new = json.dumps(said).encode()
    path.write_bytes(len(new).to_bytes(8, "little") + new + data[8 + length :])


def index_of(path: Path) -> Path | None:
    """The index of shards, if there is one."""
    found = path / "model.safetensors.index.json"
    return found if found.exists() else None


Damage = Callable[[Path, random.Random], object]
DAMAGES: dict[str, Damage] = {
    "weights cut short": lambda p, r: _cut(r.choice(weights(p)), r),
    "weights empty": lambda p, r: rewrite(r.choice(weights(p)), b""),
    "weights longer than said": lambda p, r: _longer(r.choice(weights(p))),
    "weights under a temporary name": lambda p, r: _rename(r.choice(weights(p)), ".tmp"),
    "weights missing": lambda p, r: r.choice(weights(p)).unlink(),
    "header says a length beyond the file": lambda p, r: rewrite(weights(p)[0], b"\xff" * 8 + b"{}"),
    "header is no JSON": lambda p, r: rewrite(weights(p)[0], (4).to_bytes(8, "little") + b"{{{{"),
    "header is a list": lambda p, r: rewrite(weights(p)[0], (2).to_bytes(8, "little") + b"[]"),
    "header nests without end": lambda p, r: rewrite(
        weights(p)[0], (90000).to_bytes(8, "little") + b'{"a":' + b"[" * 89995
    ),
    "tensors overlap": lambda p, r: header(weights(p)[0], _overlap),
    "a tensor of another shape": lambda p, r: header(weights(p)[0], _reshape),
    "config empty": lambda p, r: rewrite(config(p), b""),
    "config cut short": lambda p, r: rewrite(config(p), b'{"model_type": "lla'),
    "config zeros": lambda p, r: rewrite(config(p), bytes(30)),
    "config a list": lambda p, r: rewrite(config(p), b"[]"),
    "config missing": lambda p, r: config(p).unlink(),
    "trainer_state missing": lambda p, r: (p / "trainer_state.json").unlink(),
    "trainer_state cut short": lambda p, r: rewrite(p / "trainer_state.json", b'{"global_st'),
    "trainer_state empty": lambda p, r: rewrite(p / "trainer_state.json", b""),
    "trainer_state of another step": lambda p, r: rewrite(p / "trainer_state.json", b'{"global_step": 9}'),
    "only the optimizer is there": lambda p, r: [f.unlink() for f in p.iterdir() if f.name != "optimizer.pt"],
    "an empty folder": lambda p, r: [f.unlink() for f in p.iterdir()],
    "only a pickle": lambda p, r: [_rename(f, ".bin") for f in weights(p)],
}
SHARDED: dict[str, Damage] = {
    "index empty": lambda p, r: rewrite(p / "model.safetensors.index.json", b""),
    "index cut short": lambda p, r: rewrite(p / "model.safetensors.index.json", b'{"weight_map": {"a'),
    "index names nothing": lambda p, r: _index(p, {}),
    "index names a file elsewhere": lambda p, r: _index(p, {"layer.0": "../checkpoint-9/model.safetensors"}),
    "index names an absolute path": lambda p, r: _index(p, {"layer.0": "/etc/passwd"}),
    "index names numbers": lambda p, r: _index(p, {"layer.0": 5}),
    "index names a tensor that is in no shard": lambda p, r: _index(p, {"lost": SHARDS[0]}),
    "index missing": lambda p, r: (p / "model.safetensors.index.json").unlink(),
    "a shard of another run": lambda p, r: shutil.copy(p / SHARDS[0], p / SHARDS[1]),
}


def _cut(path: Path, rng: random.Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: rng.randrange(len(data))])


def _longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def _rename(path: Path, ending: str) -> None:
    path.rename(path.with_name(path.name + ending))


def _overlap(said: dict[str, dict[str, object]]) -> None:
    first, second = [key for key in said if key != "__metadata__"][:2]
    said[second]["data_offsets"] = said[first]["data_offsets"]


def _reshape(said: dict[str, dict[str, object]]) -> None:
    first = next(key for key in said if key != "__metadata__")
    said[first]["shape"] = [3, 4]


def _index(path: Path, where: dict[str, object]) -> None:
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))


def offers(random_cuts: int, seed: int = 0) -> Counter[str]:
    """Offer every kind of half-written checkpoint, and some of which only the first bytes were written.

    Counts ``offered``, ``accepted`` of the broken ones, ``refused`` of the whole ones, and ``raised``.
    """
    counts: Counter[str] = Counter()
    rng = random.Random(seed)
    for kind in ("one file", "shards", "adapter"):
        damages = {**DAMAGES, **(SHARDED if kind == "shards" else {})}
        chosen: list[tuple[str, Damage | None]] = [("whole", None), *damages.items()]
        chosen += [("only the first bytes", _first_bytes)] * random_cuts
        for name, damage in chosen:
            with tempfile.TemporaryDirectory(dir=FAST) as temporary:
                path = whole(Path(temporary), kind)
                if damage is not None:
                    damage(path, rng)
                taken = _taken(path, counts)
                counts["offered" if damage else "whole"] += 1
                counts["accepted"] += taken > 0 and damage is not None
                counts["refused"] += taken < 3 and damage is None
                if taken and damage is not None:
                    counts[f"accepted: {name}, {kind}"] += 1
    for name in ("checkpoint-10.tmp", "tmp-checkpoint-10", "checkpoint-10-incomplete", ".checkpoint-10"):
        with tempfile.TemporaryDirectory(dir=FAST) as temporary:
            whole(Path(temporary), "one file").rename(Path(temporary) / name)
            counts["offered"] += 1
            counts["accepted"] += bool(Source(folder=Path(temporary)).discover())
    return counts


def _first_bytes(path: Path, rng: random.Random) -> None:
    """A writer that was killed: files in the Trainer's order, of which only some bytes are there."""
    order = [*weights(path), *filter(None, [index_of(path)]), config(path), path / "optimizer.pt"]
    order += [path / "trainer_state.json"]  # written last
    at = rng.randrange(sum(f.stat().st_size for f in order) - 2)
    for file in order:
        size = file.stat().st_size
        if at <= 0:
            file.unlink()
        elif at < size:
            file.write_bytes(file.read_bytes()[:at])
        at -= size


def _taken(path: Path, counts: Counter[str]) -> int:
    """By how many of those who could take it: the check, the keeper, the sweep."""
    try:
        found = [f for f in Source(folder=path.parent).discover() if f.problem is None]
        keeper = Keeper(path.parent / "_rm_monitor")
        with suppress(ValueError, OSError):
            keeper.pin(10, path)
        return (problem(path) is None) + bool(keeper.available()) + bool(found)
    except Exception:
        counts["raised"] += 1
        return 0


def campaign() -> Iterator[tuple[str, str, str]]:
    """Every kind, and 300 writers killed."""
    counts = offers(100)
    got = (
        f"{counts['accepted']} accepted, {counts['offered']} offered; {counts['refused']} whole ones refused"
    )
    got += f", {counts['raised']} exceptions" + "".join(f"; {k}" for k in counts if k.startswith("accepted:"))
    yield "half-written checkpoints offered", "0 accepted", got
