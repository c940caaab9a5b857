"""What the doctor found: a page for people, and the same for programs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rm_monitor.doctor.checks import Finding
from rm_monitor.doctor.pairs import Agreement
from rm_monitor.files.strict_json import plain
from rm_monitor.stats import Calibration, Reliability

__all__ = ["Report"]

MARKS = {"fine": "ok  ", "look": "LOOK", "bad": "BAD "}
VERDICTS = ("fine", "suspicious: look at the lines marked LOOK", "unusable: see the lines marked BAD")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found; ``str()`` is the page.

    Attributes:
        description: What was detected; its text has one fact a line.
        findings: What the checks say, in order.
        agreements: With labelled pairs, one a file.
        has_probability: Whether its comparisons have a probability without a fitted temperature.
    """

    description: Any
    findings: tuple[Finding, ...]
    agreements: tuple[Agreement, ...] = ()
    has_probability: bool = False

    @property
    def exit_code(self) -> int:
        """0 fine, 1 suspicious, 2 unusable."""
        levels = {finding.level for finding in self.findings}
        return 2 if "bad" in levels else 1 if "look" in levels else 0

    def __str__(self) -> str:
        found = [f"{MARKS[finding.level]}  {finding.text}" for finding in self.findings]
        pairs = [line for one in self.agreements for line in ("", *self._agreement(one))]
        return "\n".join(
            [str(self.description), "", *found, *pairs, "", f"verdict: {VERDICTS[self.exit_code]}"]
        )

    def as_dict(self) -> dict[str, Any]:
        """The same for a program; unknown is None."""
        described = self.description
        found = {
            "verdict": ("fine", "suspicious", "unusable")[self.exit_code],
            "exit_code": self.exit_code,
            "description": dataclasses.asdict(described)
            if dataclasses.is_dataclass(described) and not isinstance(described, type)
            else str(described),
            "findings": [finding._asdict() for finding in self.findings],
            "agreements": [plain(dataclasses.asdict(one)) for one in self.agreements],
        }
        return found

    def _agreement(self, one: Agreement) -> Iterator[str]:
        flags = "".join(f", {count} {name}" for name, count in one.flags.items())
        unscored = f", {one.pairs - one.rate.n} unscored{flags}" if one.pairs > one.rate.n else flags
        yield f"labelled pairs {one.name}".rstrip() + f": {one.pairs}{unscored}"
        yield f"  agrees with people on        {_share(one.rate)}"
        yield f'  "the longer answer wins" on  {_share(one.longer_wins)}'
        yield f"  prefers the longer answer in {_share(one.prefers_longer)}"
        yield from self._calibration(one.calibration)

    def _calibration(self, found: Calibration) -> Iterator[str]:
        t = found.temperature
        if not math.isfinite(t.value):
            yield "  no temperature fits: its rewards contradict these labels mostly, or never"
            return
        if not (t.low > 0 and math.isfinite(t.high)):
            yield f"  fitted temperature           {t.value:.3g}, but these pairs are too few to tell"
            return
        fits = f"{t.value:.3g} (95 % {t.low:.3g} to {t.high:.3g})"
        yield f"  fitted temperature           {fits}: `load_scorer(..., temperature={t.value:.2g})`"
        if self.has_probability:
            yield f"  its probabilities as it is   {_truth(found.before)}"
        yield f"  with that temperature        {_truth(found.after)} (pairs it was not fitted on)"


def _share(e: Any) -> str:
    return f"{e.value:.3f} (95 % {e.low:.3f} to {e.high:.3f}), n {e.n}"


def _truth(r: Reliability) -> str:
    return f"off by {r.error:.3f} on average, Brier {r.brier:.3f} (a coin: 0.250)"
