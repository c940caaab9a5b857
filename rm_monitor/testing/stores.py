"""The promises every score store keeps, and a fake one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from rm_monitor.testing.promises import BrokenPromise

__all__ = ["DictStore", "ScoreStoreLike", "check_store"]


class ScoreStoreLike(Protocol):
    """Where scores are kept: values by 16-byte key."""

    def get(self, keys: Sequence[bytes]) -> dict[bytes, dict[str, float]]:
        """What is known of these keys."""

    def put(
        self, values: Mapping[bytes, Mapping[str, float]], *, model: Mapping[str, str] | None = None
    ) -> None:
        """Keep these, with the facts of the model that gave them."""

    def drop(self, keys: Sequence[bytes]) -> None:
        """Forget these."""


class DictStore:
    """A store in memory.

    Example:
        >>> store = DictStore()
        >>> store.put({b"k" * 16: {"reward": 1.5}})
        >>> store.get([b"k" * 16, b"?" * 16])
        {b'kkkkkkkkkkkkkkkk': {'reward': 1.5}}
    """

    def __init__(self) -> None:
        self._kept: dict[bytes, dict[str, float]] = {}

    def get(self, keys: Sequence[bytes]) -> dict[bytes, dict[str, float]]:
        """What is known."""
        return {key: dict(self._kept[key]) for key in keys if key in self._kept}

    def put(
        self, values: Mapping[bytes, Mapping[str, float]], *, model: Mapping[str, str] | None = None
    ) -> None:
        """Keep what is new."""
        for key, value in values.items():
            self._kept.setdefault(key, dict(value))

    def drop(self, keys: Sequence[bytes]) -> None:
        """Forget."""
        for key in keys:
            self._kept.pop(key, None)


def check_store(make: Callable[[], ScoreStoreLike]) -> None:
    """A kept score is the score, to the last bit; an unknown key is no error; the first word stays.

    Args:
        make: Opens the store; called again it opens the same one, or an empty one.

    Raises:
        BrokenPromise: The first promise that is not kept.
    """
    store = make()
    keys = [bytes([i % 256, i // 256] * 8) for i in range(1500)]
    values = {key: {"reward": float(i) / 7 - 100, "flag:x": 1.0} for i, key in enumerate(keys)}
    values[keys[0]] = {"reward": 5e-324, "attribute:a": -1.7976931348623157e308}
    _say(store.get(keys[:2]) == {}, "a key that was never put is not known")
    _say(store.get([]) == {}, "no keys, no values")
    store.put({})
    store.put(values, model={"name": "m"})
    _say(
        store.get(keys) == values, "what was put is got, to the last bit, however many keys are asked at once"
    )
    _say(store.get([keys[3], keys[3], b"?" * 16]) == {keys[3]: values[keys[3]]}, "a key may be asked twice")
    store.put({keys[1]: {"reward": 99.0}})
    _say(store.get([keys[1]]) == {keys[1]: values[keys[1]]}, "what was kept first stays")
    got = store.get([keys[2]])
    got[keys[2]]["reward"] = -1.0
    _say(
        store.get([keys[2]]) == {keys[2]: values[keys[2]]},
        "changing what was got changes nothing that is kept",
    )
    store.drop([keys[1], b"?" * 16])
    _say(store.get([keys[1]]) == {}, "what was dropped is forgotten, and an unknown key is no error")
    again = make().get(keys)
    kept = {key: value for key, value in values.items() if key != keys[1]}
    _say(again in (kept, {}), "opened again, it holds the same or nothing")
    _threads(store)


def _threads(store: ScoreStoreLike) -> None:
    found: list[object] = []

    def work() -> None:
        try:
            store.put({b"t" * 16: {"reward": 1.0}})
            found.append(store.get([b"t" * 16]))
        except Exception as problem:
            found.append(problem)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    _say(found == [{b"t" * 16: {"reward": 1.0}}], f"it serves another thread, got {found}")


def _say(kept: bool, promise: str) -> None:
    if not kept:
        raise BrokenPromise(f"promise not kept: {promise}")
