"""What a person does with the score cache: look at it, check it, make it smaller."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from rm_monitor.cache.scores import DAY, ScoreStore, checksum
from rm_monitor.files.strict_json import loads

__all__ = ["Contents", "ModelScores", "contents", "matching", "prune", "verify"]

_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelScores:
    """The kept scores of one model.

    Attributes:
        id: Names its facts; a prefix of it is enough for `prune`.
        name: What the user called it.
        facts: All that its scores depend on apart from the text.
        scores: How many are kept.
        first: Day of the oldest, UTC.
        last: Day of the newest.
    """

    id: str
    name: str
    facts: dict[str, str]
    scores: int
    first: date
    last: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What is in a cache.

    Attributes:
        path: The file.
        bytes: Its size on disk, side files included.
        models: Most scores first.
    """

    path: str
    bytes: int
    models: tuple[ModelScores, ...]

    @property
    def scores(self) -> int:
        """Of all models."""
        return sum(model.scores for model in self.models)

    def __str__(self) -> str:
        head = f"{self.path}: {self.scores:,} scores, {self.bytes / 2**20:,.1f} MiB"
        return "\n".join([head, *self._lines()])

    def _lines(self) -> Iterator[str]:
        for model in self.models:
            yield f"{model.id[:8]}  {model.scores:>9,}  {model.first} to {model.last}  {model.name}"
            different = self._what_differs(model)
            if different:
                yield f"          {', '.join(different)}"

    def _what_differs(self, model: ModelScores) -> list[str]:
        """Facts in which models of one name differ: why the scores of one were no hits for the other."""
        alike = [other.facts for other in self.models if other.name == model.name]
        keys = sorted({key for facts in alike for key in facts})
        return [f"{k}={model.facts.get(k, '-')}" for k in keys if len({facts.get(k) for facts in alike}) > 1]


def contents(store: ScoreStore) -> Contents:
    """What is kept, by model."""
    rows = store.open().execute(
        "select s.model, m.facts, count(*), min(s.day), max(s.day) from scores s "
        "left join models m on m.id = s.model group by s.model order by count(*) desc, s.model"
    )
    models = []
    for name, facts, count, first, last in rows:
        known = loads(facts) if facts else {}
        title = known.pop("name", "unknown")
        days = (_EPOCH + timedelta(days=first), _EPOCH + timedelta(days=last))
        models.append(
            ModelScores(
                id=bytes(name).hex(), name=title, facts=known, scores=count, first=days[0], last=days[1]
            )
        )
    return Contents(path=str(store.path), bytes=_size(store.path), models=tuple(models))


def verify(store: ScoreStore) -> tuple[int, int]:
    """Check every row against its checksum and the file against SQLite's own; drop what is damaged.

    Returns:
        Rows checked, rows dropped.

    Raises:
        ValueError: If the file as a whole is damaged.
    """
    connection = store.open()
    try:
        (told,) = connection.execute("pragma integrity_check(1)").fetchone()
        rows = connection.execute("select key, value, crc from scores").fetchall()
    except sqlite3.DatabaseError as problem:
        told, rows = str(problem), []
    if told != "ok":
        raise ValueError(
            f"{store.path} is damaged ({told}). Scores are only kept to save time: delete the file, and it "
            "fills again"
        )
    damaged = [bytes(key) for key, value, crc in rows if checksum(bytes(key), value) != crc]
    store.drop(damaged)
    return len(rows), len(damaged)


def prune(
    store: ScoreStore, *, model: str = "", older_than: int | None = None, everything: bool = False
) -> int:
    """Forget scores, and give the space back; how many.

    Args:
        store: The cache.
        model: Beginning of a model's id; empty: of any.
        older_than: Days; None: of any age.
        everything: Forget all of them; else one of the other two must be given.

    Raises:
        ValueError: If nothing says which, or no model is called so.
    """
    if not (model or older_than is not None or everything):
        raise ValueError("say what to forget: a model, an age in days, or all of it")
    if older_than is not None and older_than < 0:
        raise ValueError(f"`older_than` is days and must be at least 0, got {older_than}")
    before = int(time.time() // DAY) - (older_than if older_than is not None else -1)
    count = store.change(
        "delete from scores where model = ? and day < ?", [(name, before) for name in matching(store, model)]
    )
    store.change("delete from models where id not in (select model from scores)", [()])
    store.open().execute("vacuum")
    return count


def matching(store: ScoreStore, model: str) -> list[bytes]:
    """Full ids of the models whose id begins so; all for an empty beginning."""
    names = [
        bytes(name) for (name,) in store.open().execute("select distinct model from scores order by model")
    ]
    chosen = [name for name in names if name.hex().startswith(model)]
    if model and not chosen:
        raise ValueError(f"no model's id begins with {model!r}: `rm-monitor cache stats` lists them")
    return chosen


def _size(path: Path | str) -> int:
    files = [Path(f"{path}{end}") for end in ("", "-wal", "-shm")]
    return sum(file.stat().st_size for file in files if file.is_file())
