"""A reward model in this process: format, batch, read, apply the head; whatever the family."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from threading import RLock
from typing import Any, cast

import numpy as np
import torch

from rm_monitor.packed.memory import free_memory
from rm_monitor.packed.scope import why_not_packed
from rm_monitor.scorers.describe import ANSWER, EXAMPLE, Description, describe_input, unread
from rm_monitor.scorers.run.batching import Batcher, Row
from rm_monitor.scorers.run.frozen import frozen, library_versions
from rm_monitor.scorers.run.keys import SCHEMA, device_name, digest
from rm_monitor.scorers.run.lean import PackedReader, run_packed, why_not
from rm_monitor.scorers.run.parts import Head, Reader, Readout
from rm_monitor.scorers.run.prefix_cache import PrefixCache
from rm_monitor.scorers.run.resting import Resting, Rests, Unloaded
from rm_monitor.scorers.run.rounding import rounding
from rm_monitor.scorers.text.formatting import FLAGS, SELDOM, Formatter, Rendered
from rm_monitor.types import BoolArray, FloatArray, Prompt, Scale, Scores, Screened

__all__ = ["InProcessScorer"]

log = logging.getLogger("rm_monitor")

# Scoring hangs things into a model and takes them out again, and two scorers may share a model.
_one_at_a_time = RLock()


class InProcessScorer:
    """What pointwise and pairwise reward models in this process share.

    Scores depend on the model and its input; not on neighbours (beyond float noise of about 1e-5 of the
    score's size in float32), nor on training mode, autocast or global random state, none of which is
    touched.

    Args:
        name: For people.
        kind: The family, as in `rm_monitor.scorers.detect.KINDS`.
        formatter: Conversation -> ids.
        reader: ids -> features.
        head: Features -> reward.
        batcher: How many rows at once.
        device: Where the network is.
        temperature: Divides differences of rewards, from labelled pairs; None: as the scale says.
        notes: What a person should know, from loading.
    """

    answers = 1  # an input holds

    def __init__(
        self,
        *,
        name: str,
        kind: str,
        formatter: Formatter,
        reader: Reader,
        head: Head,
        batcher: Batcher,
        device: torch.device,
        temperature: float | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.kind = kind
        self.formatter = formatter
        self.reader = reader
        self.head = head
        self.batcher = batcher
        self.device = device
        self.temperature = temperature
        self.notes = (*notes, *unread(formatter, answers=self.answers))
        self.tokens_read = 0  # so far, each distinct input once
        self._prefixes: PrefixCache | None = None
        self._resting: Rests | None = None
        self._padded: dict[str, str] = {}

    @property
    def scale(self) -> Scale:
        """What a difference of two rewards means."""
        return self.head.scale

    @property
    def model_identity(self) -> dict[str, str]:
        """What a score depends on beside its ids: the fields behind the score cache's keys."""
        return {
            "schema": str(SCHEMA),
            "kind": self.kind,
            "device": device_name(self.device),
            "batches": self.batcher.policy,
            **{f"model.{k}": v for k, v in self.reader.identity.items()},
            **{f"head.{k}": v for k, v in self.head.identity.items()},
            **library_versions(self.device),
        }

    @property
    def fingerprint(self) -> str:
        """Everything a score depends on: weights, template, dtype, longest input, versions."""
        given = {f"input.{k}": v for k, v in self.formatter.identity.items()}
        return digest({**self.model_identity, **given, "temperature": str(self.temperature)}).hex()

    def to(self, device: torch.device | str) -> InProcessScorer:
        """Move the weights, and score there from now on. The fingerprint tells a CPU from a GPU."""
        self.device = torch.device(device)
        if self._prefixes is not None:
            self.keep_prefixes()  # those are on the other device
        if self._resting is None and not getattr(self.reader.model, "hf_device_map", None):
            self.reader.model.to(self.device)
        self.head.to(self.device)
        return self

    def keep_prefixes(self) -> None:
        """From now on prompts are not computed again: for weights that nobody else holds and may change."""
        self._prefixes = PrefixCache(free_memory(self.device) // 4)

    def rest(self) -> None:
        """Keep the network in main memory from now on, except while it scores; scores stay the same.

        Raises:
            ScorerError: If its weights cannot be moved.
        """
        self._resting = self._resting or Resting(self.reader.model)

    def unload(self, load: Callable[[], tuple[Any, Mapping[str, str]]]) -> None:
        """Keep the weights nowhere from now on, and load them for each scoring; scores stay the same.

        Args:
            load: The same network and what its numbers depend on, from its files.

        Raises:
            ScorerError: If its weights cannot be replaced.
        """
        self._prefixes = None  # it is to take no memory
        _ = self.padded  # tried while the weights are here
        self._resting = Unloaded(self.reader.model, self.reader.identity, load)

    def describe(self) -> Description:
        """What was detected and how inputs are built: the first thing to read when a score looks wrong."""
        return Description(
            name=self.name,
            kind=self.kind,
            scale=self.scale,
            temperature=self.temperature,
            reward=self.head.identity["reward"],
            head={k: v for k, v in self.head.identity.items() if k != "reward"},
            network=_network(self.reader.model),
            model=dict(self.reader.identity),
            device=device_name(self.device),
            batches=f"padded: {self.padded}" if self.padded else "packed, the last layer where it is read",
            input=describe_input(self.formatter, answers=self.answers),
            attributes=self.head.attributes,
            notes=self.notes,
        )

    @property
    def padded(self) -> str:
        """Why inputs are run in padded batches; empty if they are packed into one row.

        Tried once on each device, on four short inputs: packed they must say what they say alone.
        """
        if self.batcher.single:
            return "scores are to repeat to the last bit"
        with _one_at_a_time:
            place = str(self.device)
            if place not in self._padded:
                with self._working():
                    reason = why_not(self.reader, self._trial(), self.batcher, self.device)
                self._padded[place] = reason
                log.debug("%s: %s", self.name, f"padded batches: {reason}" if reason else "packed rows")
            return self._padded[place] or why_not_packed(self.reader.model)  # hooks may have come since

    def _trial(self) -> list[Row]:
        """Inputs of which some begin alike and some do not."""
        texts = [(ANSWER + " ") * n for n in (12, 14, 17)]
        trial = [self.formatter.render(EXAMPLE, *[text] * self.answers) for text in texts]
        other = Prompt(id="other", messages=({"role": "user", "content": texts[0]},))
        trial.append(self.formatter.render(other, *[ANSWER] * self.answers))
        return [self._row(one) for one in trial if one.usable]

    def _row(self, one: Rendered) -> Row:
        return Row(one.ids, one.encoded.types, self.positions(one))

    def positions(self, one: Rendered) -> tuple[int, ...]:
        """Which tokens of an input are read."""
        return self.head.positions(one.encoded) if one.usable else ()

    @cached_property
    def noise(self) -> float:
        """How much batches, padding and rounding change a score, measured: smaller differences are ties.

        About 1e-6 of a score in float32, a few hundredths of the spread of scores in bfloat16; 0 where each
        row is run alone. Eight answers of similar lengths are scored together, as many are, and alone; in
        half precision on a CPU, where float32 is the other choice, also in float32.
        """
        if self.batcher.single:
            return 0.0
        texts = [f"{i}. " + (ANSWER + " ") * (12 + i) for i in range(8)]  # what begins alike is computed once
        rows = [self.formatter.render(EXAMPLE, *[text] * self.answers) for text in texts]
        together = self.read(rows, many=True).reward
        one_by_one = Batcher(tokens=self.batcher.tokens, single=True)
        alone = self.read(rows, batcher=one_by_one).reward
        batches = float(np.nanmax(np.abs(together - alone), initial=0.0))
        if self.device.type != "cpu":
            return batches
        with _one_at_a_time:
            again = lambda: self.read(rows, batcher=one_by_one).reward  # noqa: E731
            return max(batches, rounding(self.reader.model, alone, again, name=self.name))

    def screen(self, prompts: Sequence[Prompt]) -> Screened:
        """Which prompts it cannot read, or not all of, whatever is answered."""
        return self.formatter.screen(prompts, answers=self.answers)

    def counts(self) -> dict[str, int]:
        """Tokens read so far, each distinct input once."""
        return {"tokens": self.tokens_read}

    @property
    def memory(self) -> int:
        """Bytes of weights."""
        parameters = [*self.reader.model.parameters(), *self.reader.model.buffers()]
        return sum(p.numel() * p.element_size() for p in parameters)

    def read(
        self, rendered: Sequence[Rendered], *, batcher: Batcher | None = None, many: bool = False
    ) -> Scores:
        """Rewards of inputs, each distinct one run once, so that equal inputs have exactly equal rewards.

        Args:
            rendered: ``n`` inputs; one that is not usable is unscored.
            batcher: How many at once; None: the scorer's own.
            many: Run them as though they were many, with what pays only then.
        """
        unique: dict[Row, int] = {}
        place = np.full(len(rendered), -1)
        for i, one in enumerate(rendered):
            if one.usable:
                place[i] = unique.setdefault(self._row(one), len(unique))
        scored = place >= 0
        self.tokens_read += sum(len(row.ids) for row in unique)
        said = self._run(list(unique), batcher or self.batcher, many) if unique else Readout(torch.empty(0))

        def spread(values: torch.Tensor) -> FloatArray:
            column = np.full(len(rendered), np.nan)
            column[scored] = values.detach().float().cpu().numpy()[place[scored]]
            return column

        reward = spread(said.reward)
        flags: dict[str, BoolArray] = {
            flag: np.array([flag in one.flags for one in rendered], dtype=bool) for flag in FLAGS
        }
        for flag in SELDOM:
            if any(flag in one.flags for one in rendered):
                flags[flag] = np.array([flag in one.flags for one in rendered], dtype=bool)
        flags["nonfinite"] = scored & ~np.isfinite(reward)
        reward[flags["nonfinite"]] = np.nan
        attributes = {name: spread(values) for name, values in said.attributes.items()}
        return Scores(reward=reward, attributes=attributes, flags=flags)

    def _run(self, rows: list[Row], batcher: Batcher, many: bool = False) -> Readout:
        with _one_at_a_time:
            packed = not (batcher.single or self.padded)
            with self._working():
                if packed:
                    reader = cast(PackedReader, self.reader)  # or it would be padded
                    keeps = None if many or batcher is not self.batcher else self._prefixes
                    read = run_packed(reader, rows, batcher, device=self.device, many=many, prefixes=keeps)
                else:
                    read = batcher.run(rows, self.reader, device=self.device)
                return self.head(read.to(self.device))

    @contextmanager
    def _working(self) -> Iterator[None]:
        """The weights are on their device, and nothing but the input decides a number."""
        resting = self._resting
        here = nullcontext() if resting is None else resting.at_work(self.device)
        with here, frozen(self.reader.model, self.head, device=self.device):
            yield


def _network(model: Any) -> str:
    """Class and size of a network, or of several."""
    parts = list(model) if isinstance(model, torch.nn.ModuleList) else [model]
    names = " and ".join(type(part).__name__ for part in parts)
    count = sum(p.numel() for p in model.parameters())
    return f"{names}, {count / 1e9:.2f} B" if count >= 1e9 else f"{names}, {count / 1e6:.3g} M parameters"
