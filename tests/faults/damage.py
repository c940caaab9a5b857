"""Random damage to what lies on disk: nothing damaged is ever taken for a measurement, nothing raises."""

from __future__ import annotations

import logging
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rm_monitor.cache.scores import ScoreStore
from rm_monitor.records.history import History
from rm_monitor.types import Completion, Estimate, EvalPoint, Table
from tests.faults.pinning import FAST

N = 4  # prompts


def point_and_table(step: int, attempt: int = 0) -> tuple[EvalPoint, Table]:
    """An evaluation whose every number tells its step and attempt."""
    values = {"reward": np.array([[step + attempt / 10 + i] for i in range(N)], dtype=np.float64)}
    rows = tuple((Completion(prompt_id=f"p{i}", text=f"answer {step} {i} \ud800"),) for i in range(N))
    table = Table(prompt_ids=tuple(f"p{i}" for i in range(N)), completions=rows, values=values)
    mean = float(values["reward"].mean())
    point = EvalPoint(step=step, metrics={"reward": Estimate(mean, mean - 1, mean + 1, N)}, segment="s")
    return point, table


def write_history(folder: Path) -> None:
    """Two attempts: 0..50, killed, resumed at 30, 40..60."""
    for attempt, (resume, steps) in enumerate([(None, range(0, 60, 10)), (30, range(40, 70, 10))]):
        history = History(folder)
        history.begin(resume)
        for step in steps:
            history.append(*point_and_table(step, attempt))
        history.close()


TRUE = {
    step: point_and_table(step, int(step >= 40)) for step in range(0, 70, 10)
}  # what the disk says, unhurt


def hurt(data: bytes, rng: random.Random) -> bytes:
    """One piece of bad luck."""
    kind = rng.randrange(8)
    at = rng.randrange(max(len(data), 1))
    lines = data.splitlines(keepends=True)
    if kind == 0:  # a bit flips
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    if kind == 1:  # the end is gone
        return data[:at]
    if kind == 2:  # a piece in the middle is gone
        return data[:at] + data[at + rng.randrange(1, 200) :]
    if kind == 3:  # a page of zeros
        return data[:at] + bytes(rng.randrange(1, 600)) + data[at + rng.randrange(0, 600) :]
    if kind == 4:  # garbage in between
        return data[:at] + rng.randbytes(rng.randrange(1, 100)) + data[at:]
    if kind == 5:  # lines come twice
        return b"".join(line for line in lines for _ in range(1 + (rng.random() < 0.3)))
    if kind == 6:  # lines in another order
        rng.shuffle(lines)
        return b"".join(lines)
    return b"".join(line for line in lines if rng.random() > 0.3)  # lines are gone


def history_tries(tries: int, seed: int = 0) -> Counter[str]:
    """Damage a history or its rows, read it, go on with it. Counts ``wrong``, ``raised``, ``tries``."""
    counts: Counter[str] = Counter()
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(dir=FAST) as temporary, quiet():
        whole, folder = Path(temporary) / "whole", Path(temporary) / "hurt"
        write_history(whole)
        for _ in range(tries):
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(whole, folder)
            one = rng.choice(("history.jsonl", "history.jsonl", "attempts.jsonl"))
            files = [folder / one] * 3 + sorted((folder / "rows").iterdir())
            for _ in range(rng.choice((1, 1, 1, 3))):
                file = rng.choice(files)
                file.write_bytes(hurt(file.read_bytes() or b"\n", rng))
            counts["tries"] += 1
            try:
                counts["wrong"] += wrong(History.read(folder))
                counts["wrong"] += sum(wrong_table(folder, step) for step in (10, 40, 60))
                history = History(folder)
                history.begin(60)
                history.append(*point_and_table(70, 1))
                counts["wrong"] += wrong(history.points(), {**TRUE, 70: point_and_table(70, 1)})
                counts["lost"] += 70 not in {p.step for p in history.points()}
                history.close()
            except Exception:
                logging.getLogger("tests").exception("an exception came out")
                counts["raised"] += 1
    return counts


def wrong(points: list[EvalPoint], true: dict[int, tuple[EvalPoint, Table]] = TRUE) -> int:
    """Points that were never measured, or that are not those of the living attempt."""
    count = 0
    for found in points:
        expected, table = true.get(found.step, (None, None))
        fine = expected is not None and found.metrics == expected.metrics and table is not None
        if fine and found.values and table is not None:
            fine = np.array_equal(found.values["reward"], table.values["reward"][:, 0])
        count += not fine
    return count


def wrong_table(folder: Path, step: int) -> int:
    """Whether a table is read that was never written."""
    table = History.read_table(folder, step)
    if table is None:
        return 0
    expected = TRUE[step][1]
    return int(
        repr(table.completions) != repr(expected.completions)
        or not np.array_equal(table.values["reward"], expected.values["reward"])
    )


def cache_tries(tries: int, seed: int = 0) -> Counter[str]:
    """Damage a score cache (and its side files), read it, go on with it."""
    counts: Counter[str] = Counter()
    rng = random.Random(seed)
    keys = [bytes([i % 256, i // 256] * 8) for i in range(600)]
    kept = {key: {"reward": float(i), "flag:x": 0.0} for i, key in enumerate(keys)}
    with tempfile.TemporaryDirectory(dir=FAST) as temporary, quiet():
        whole, folder = Path(temporary) / "whole", Path(temporary) / "hurt"
        store = ScoreStore(whole / "scores.sqlite")
        store.put(kept)
        store.close()
        for _ in range(tries):
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(whole, folder)
            file = folder / "scores.sqlite"
            for _ in range(rng.choice((1, 1, 3, 10))):
                file.write_bytes(hurt(file.read_bytes() or b"\n", rng))
            if rng.random() < 0.1:
                (folder / "scores.sqlite-wal").write_bytes(rng.randbytes(5000))
            counts["tries"] += 1
            try:
                store = ScoreStore(file)
                for _ in range(2):
                    counts["wrong"] += sum(kept[key] != value for key, value in store.get(keys).items())
                    store.put({b"n" * 16: {"reward": 1.0}})
                    counts["wrong"] += store.get([b"n" * 16]) not in ({}, {b"n" * 16: {"reward": 1.0}})
                    store.drop(keys[:3])
                    len(store)
                store.close()
            except Exception:
                logging.getLogger("tests").exception("an exception came out")
                counts["raised"] += 1
    return counts


class quiet:
    """The warnings about damage are not what is looked at here."""

    def __enter__(self) -> None:
        self._level = logging.getLogger("rm_monitor").level
        logging.getLogger("rm_monitor").setLevel(logging.CRITICAL)

    def __exit__(self, *_: object) -> None:
        logging.getLogger("rm_monitor").setLevel(self._level)


def campaign() -> Iterator[tuple[str, str, str]]:
    """3,000 tries."""
    history, cache = history_tries(2000), cache_tries(1000)
    both = history + cache
    got = f"{both['tries']:,} tries, {both['wrong']} wrong rows accepted, {both['raised']} exceptions out"
    reach = "3,000 tries, 0 wrong rows accepted, 0 exceptions out"
    yield "random damage to history and cache", reach, got
