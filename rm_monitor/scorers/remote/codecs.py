"""How each kind of server is asked for scores, and where in its reply they stand.

Checked against the servers' sources: vLLM ``entrypoints/pooling`` (main, 2026), SGLang
``entrypoints/http_server.py`` and ``managers/io_struct.py``, OpenRLHF ``cli/serve_rm.py``, NeMo-Aligner
``servers/server_callables.py`` and ``steerlm/attribute_annotate.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np

from rm_monitor.errors import ScorerError
from rm_monitor.types import BoolArray, FloatArray, Scale

__all__ = ["CODECS", "Codec", "Form", "Question", "Row", "Said"]

Form: TypeAlias = Literal["ids", "text", "messages", "steerlm"]
Row: TypeAlias = "Sequence[int] | str | Sequence[Mapping[str, str]]"


class Question(NamedTuple):
    """What is posted where."""

    path: str
    body: Mapping[str, Any]


class Said(NamedTuple):
    """What a reply holds.

    Attributes:
        columns: ``(n, c)`` numbers, one row an input.
        overflow: ``(n,)``, where the server says the input was too long; None if it never says.
    """

    columns: FloatArray
    overflow: BoolArray | None = None


class Codec(Protocol):
    """One kind of server."""

    @property
    def name(self) -> str:
        """As the user writes it."""

    @property
    def forms(self) -> tuple[Form, ...]:
        """What it can be given, the safest first."""

    @property
    def scale(self) -> Scale:
        """What its numbers usually are."""

    @property
    def longest(self) -> int | None:
        """Tokens it reads by default, if it cuts longer inputs without a word."""

    def ask(self, rows: Sequence[Row], form: Form, model: str) -> Question:
        """The request for these rows."""

    def read(self, reply: Any, n: int) -> Said:
        """The numbers of ``n`` rows.

        Raises:
            ScorerError: If the reply has another shape.
        """


@dataclass(frozen=True, slots=True)
class VLLM:
    """``vllm serve MODEL --runner pooling``.

    Scores are asked for without activation: the server's default is a sigmoid for one label. Ids are given
    with ``add_special_tokens`` off, for its default would add a second beginning-of-sequence token.
    """

    name: str = "vllm"
    path: str = "/pooling"
    field: str = "data"
    forms: tuple[Form, ...] = ("ids", "messages")
    scale: Scale = "logit"
    longest: int | None = None

    def ask(self, rows: Sequence[Row], form: Form, model: str) -> Question:
        """See `Codec`; a conversation has a request of its own."""
        body: dict[str, Any] = {"model": model, "use_activation": False, "add_special_tokens": False}
        if self.path == "/pooling":
            body |= {"task": "classify", "encoding_format": "float"}
        if form == "messages":
            (messages,) = rows
            return Question(self.path, {**body, "messages": messages, "add_generation_prompt": False})
        return Question(self.path, {**body, "input": [list(row) for row in rows]})

    def read(self, reply: Any, n: int) -> Said:
        """See `Codec`."""
        items = _items(reply, "data", n)
        if all(isinstance(item, Mapping) and isinstance(item.get("index"), int) for item in items):
            items = sorted(items, key=lambda item: item["index"])
            if [item["index"] for item in items] != list(range(n)):
                raise ScorerError("its reply numbers the rows in another way than they were asked")
        rows = [_field(item, self.field) for item in items]
        if rows and all(isinstance(row, list) and row and isinstance(row[0], list) for row in rows):
            if any(len(row) > 1 for row in rows):
                raise ScorerError(
                    'it gives a score for every token: start it with --pooler-config \'{"task": "classify"}\''
                )
            rows = [row[0] for row in rows]
        return Said(_matrix(rows, n))


@dataclass(frozen=True, slots=True)
class SGLang:
    """``sglang.launch_server --is-embedding``, its native ``/classify`` (``/v1/classify`` has a softmax)."""

    name: str = "sglang"
    forms: tuple[Form, ...] = ("ids",)
    scale: Scale = "logit"
    longest: int | None = None

    def ask(self, rows: Sequence[Row], form: Form, model: str) -> Question:
        """See `Codec`."""
        return Question("/classify", {"input_ids": [list(row) for row in rows]})

    def read(self, reply: Any, n: int) -> Said:
        """See `Codec`."""
        return Said(_matrix([_field(item, "embedding") for item in _items(reply, None, n)], n))


@dataclass(frozen=True, slots=True)
class OpenRLHF:
    """``openrlhf.cli.serve_rm``: whole texts, cut on the right at ``--max_len`` (2048) without a word.

    Versions before 0.6 strip characters from both ends of a text; they are not served right by anybody.
    """

    name: str = "openrlhf"
    forms: tuple[Form, ...] = ("text",)
    scale: Scale = "logit"
    longest: int | None = 2048

    def ask(self, rows: Sequence[Row], form: Form, model: str) -> Question:
        """See `Codec`."""
        return Question(
            "/get_reward", {"query": list(rows), "prompts": [""] * len(rows), "labels": [""] * len(rows)}
        )

    def read(self, reply: Any, n: int) -> Said:
        """See `Codec`."""
        return Said(_matrix([[x] if not isinstance(x, list) else x for x in _items(reply, "rewards", n)], n))


@dataclass(frozen=True, slots=True)
class NeMo:
    """NeMo-Aligner's reward model on Triton, by its HTTP port; attributes as HelpSteer orders them."""

    name: str = "nemo"
    forms: tuple[Form, ...] = ("steerlm",)
    scale: Scale = "rating"
    longest: int | None = None

    def ask(self, rows: Sequence[Row], form: Form, model: str) -> Question:
        """See `Codec`."""
        n = len(rows)
        sentences = {"name": "sentences", "shape": [n, 1], "datatype": "BYTES", "data": list(rows)}
        end = {"name": "add_EOS", "shape": [n, 1], "datatype": "BOOL", "data": [False] * n}
        return Question(f"/v2/models/{model}/infer", {"inputs": [sentences, end]})

    def read(self, reply: Any, n: int) -> Said:
        """See `Codec`."""
        outputs = {o.get("name"): o for o in _field(reply, "outputs") if isinstance(o, Mapping)}
        rewards = outputs.get("rewards")
        if rewards is None:
            raise ScorerError(f"its reply has no output `rewards`; it has {sorted(map(str, outputs))}")
        flat = _field(rewards, "data")
        if not flat or len(flat) % max(n, 1):
            raise ScorerError(f"its reply holds {len(flat)} rewards for {n} rows")
        width = len(flat) // n
        overflow: BoolArray | None = None
        if "exceeded" in outputs:
            said = _field(outputs["exceeded"], "data")
            if len(said) != n:
                raise ScorerError(f"its reply says of {len(said)} rows whether they are too long, not of {n}")
            overflow = np.array([bool(x) for x in said], dtype=bool)
        return Said(_matrix([flat[i * width : (i + 1) * width] for i in range(n)], n), overflow)


CODECS: Mapping[str, Codec] = {
    codec.name: codec
    for codec in (
        VLLM(),
        VLLM(name="vllm_classify", path="/classify", field="probs"),
        SGLang(),
        OpenRLHF(),
        NeMo(),
    )
}


def _items(reply: Any, key: str | None, n: int) -> list[Any]:
    """The list of ``n`` answers in a reply: a reply that is one too short must never be spread over rows."""
    items = reply if key is None else _field(reply, key)
    if not isinstance(items, list):
        raise ScorerError(f"its reply is {type(items).__name__} where a list of scores belongs")
    if len(items) != n:
        raise ScorerError(f"its reply has {len(items)} scores for {n} rows")
    return items


def _field(item: Any, key: str) -> Any:
    if not isinstance(item, Mapping) or key not in item:
        has = sorted(map(str, item))[:8] if isinstance(item, Mapping) else type(item).__name__
        raise ScorerError(f"its reply has no {key!r} where one belongs; it has {has}")
    return item[key]


def _matrix(rows: Sequence[Any], n: int) -> FloatArray:
    """``(n, c)`` float64; numbers only, every row as long as the first."""
    widths = {len(row) if isinstance(row, list) else -1 for row in rows}
    if n and (len(widths) != 1 or min(widths) < 1):
        raise ScorerError("its rows do not all have the same count of scores")
    if any(
        isinstance(x, bool) or not (isinstance(x, (int, float)) or x is None) for row in rows for x in row
    ):
        raise ScorerError("its reply holds something that is no number where a score belongs")
    values = [[np.nan if x is None else float(x) for x in row] for row in rows]
    return np.array(values, dtype=np.float64).reshape(n, -1)
