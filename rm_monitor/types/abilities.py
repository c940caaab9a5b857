"""What a scorer or a generator may offer beside its work: optional Protocols, asked for by ``isinstance``.

None of them is needed. A class that has the members has the ability; there is nothing to register.
`rm_monitor.testing.check_scorer` checks those that a scorer offers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from rm_monitor.types.arrays import FloatArray
from rm_monitor.types.scores import Scores
from rm_monitor.types.texts import Completion, Prompt

__all__ = [
    "Cacheable",
    "Calibrated",
    "Composed",
    "Counts",
    "Describes",
    "Identified",
    "KnowsItsCost",
    "LoadsCheckpoints",
    "NeedsModel",
    "Noisy",
    "Remembers",
    "Renders",
    "Repeatable",
    "ScoresAlone",
    "Screened",
    "Screens",
    "ValueStore",
    "Weighs",
    "Wraps",
]


@runtime_checkable
class Calibrated(Protocol):
    """Its differences become probabilities by a temperature of its own."""

    @property
    def temperature(self) -> float | None:
        """Divides differences of rewards inside the sigmoid; above 0. None: as the scale says."""


@runtime_checkable
class Noisy(Protocol):
    """Knows how far two scores of one text may lie apart."""

    @property
    def noise(self) -> float:
        """In units of the reward, 0 or more: smaller differences are ties."""


@runtime_checkable
class Describes(Protocol):
    """Says what it is."""

    def describe(self) -> object:
        """Its ``str()`` is a page for people, one fact a line."""


@runtime_checkable
class Identified(Protocol):
    """Gives the facts behind its fingerprint."""

    @property
    def model_identity(self) -> Mapping[str, str]:
        """What a score depends on beside its text, by name."""


@runtime_checkable
class Cacheable(Protocol):
    """Its answers may be kept across runs."""

    @property
    def cacheable(self) -> bool:
        """Whether they may, as it was loaded: a server without a revision may change its weights."""

    @property
    def keys(self) -> Callable[..., list[bytes]]:
        """Called as ``score`` or ``prefer`` is: 16 bytes a row that name everything its answer depends on."""


class ValueStore(Protocol):
    """Where values are kept across runs, by 16-byte key."""

    def get(self, keys: Sequence[bytes]) -> dict[bytes, dict[str, float]]:
        """What is known of these keys."""

    def put(self, values: Mapping[bytes, Mapping[str, float]]) -> None:
        """Keep these."""


@runtime_checkable
class Remembers(Protocol):
    """Keeps values across runs that only it understands."""

    def remember(self, memory: ValueStore) -> None:
        """Keep them here from now on."""


@runtime_checkable
class Composed(Protocol):
    """Is made of several scorers."""

    def each(self, change: Callable[[Any], Any]) -> None:
        """Replace every member by ``change(member)``."""


@runtime_checkable
class Wraps(Protocol):
    """Stands before another scorer, as the score cache does."""

    @property
    def scorer(self) -> Any:
        """The scorer behind it."""


@runtime_checkable
class Counts(Protocol):
    """Says what its work has cost so far."""

    def counts(self) -> Mapping[str, int]:
        """Scores that were ``kept`` or ``new``, ``tokens`` read; of all scorers it is made of, together."""


class Screened(NamedTuple):
    """What is wrong with some prompts whatever the answer is, in words by the prompt's id.

    Attributes:
        unscorable: Every answer to it will be nan.
        incomplete: Answers are scored, but not everything that is asked is read.
    """

    unscorable: Mapping[str, str]
    incomplete: Mapping[str, str]


@runtime_checkable
class Screens(Protocol):
    """Can say of prompts, before anything is answered, that it cannot score them."""

    def screen(self, prompts: Sequence[Prompt]) -> Screened:
        """What is wrong with these prompts."""


@runtime_checkable
class ScoresAlone(Protocol):
    """Can score without batches, which its batches are then compared with."""

    def score_alone(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion]
    ) -> Scores | FloatArray:
        """As ``score``, one row at a time and without padding."""


@runtime_checkable
class Renders(Protocol):
    """Shows what the model reads."""

    @property
    def formatter(self) -> Any:
        """Turns a prompt and its answers into ids: ``render(prompt, *texts)``, ``tokenizer``, ``control``."""


@runtime_checkable
class Weighs(Protocol):
    """Says how much memory its weights take."""

    @property
    def memory(self) -> int:
        """Bytes."""


@runtime_checkable
class Repeatable(Protocol):
    """A generator that may say the same again: its answers need not be made twice for the same weights."""

    @property
    def repeats(self) -> bool:
        """Whether the same weights, prompts and seed give the same answers."""


@runtime_checkable
class NeedsModel(Protocol):
    """A generator that says whether a model is handed to it; one that does not say is handed one."""

    @property
    def needs_model(self) -> bool:
        """False where the answers come from elsewhere: from a file, from a server."""


@runtime_checkable
class KnowsItsCost(Protocol):
    """A generator that has counted what its last answering cost."""

    @property
    def measured(self) -> Mapping[str, float]:
        """Name -> number, logged with the evaluation: ``tokens_per_second``, ``row_steps_per_token``, ..."""


@runtime_checkable
class LoadsCheckpoints(Protocol):
    """A generator whose weights lie elsewhere, and which has a checkpoint loaded there by its folder."""

    def load_checkpoint(self, checkpoint: str | Path | None, *, base: str | None = None) -> None:
        """Answer with this checkpoint from now on; None: with the model before training, ``base``."""
