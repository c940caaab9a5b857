"""Is this reward model set up rightly? What was detected, and what checks on real text say.

Exit code 0: fine. 1: something a person should look at. 2: unusable as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rm_monitor.doctor.checks import CHECKS, Finding
from rm_monitor.doctor.pairs import Agreement, Pair, agreement, load_pairs
from rm_monitor.types import PreferenceScorer, Scorer

__all__ = ["Agreement", "Finding", "Pair", "Report", "examine", "load_pairs"]

MARKS = {"fine": "ok  ", "look": "LOOK", "bad": "BAD "}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found; ``str()`` is the page.

    Attributes:
        description: What was detected, one fact a line.
        findings: What the checks say, in order.
        agreement: With labelled pairs; None if there were none.
    """

    description: tuple[str, ...]
    findings: tuple[Finding, ...]
    agreement: Agreement | None = None

    @property
    def exit_code(self) -> int:
        """0 fine, 1 suspicious, 2 unusable."""
        levels = {finding.level for finding in self.findings}
        return 2 if "bad" in levels else 1 if "look" in levels else 0

    @property
    def lines(self) -> tuple[str, ...]:
        """The page, line by line."""
        found = [f"{MARKS[finding.level]}  {finding.text}" for finding in self.findings]
        verdict = ("fine", "suspicious: look at the lines marked LOOK", "unusable: see the lines marked BAD")
        return (*self.description, "", *found, *self._agreement(), "", f"verdict: {verdict[self.exit_code]}")

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def _agreement(self) -> list[str]:
        if self.agreement is None:
            return []
        ours, longer = self.agreement.rate, self.agreement.longer_wins
        unscored = self.agreement.pairs - ours.n
        return [
            "",
            f"agrees with {ours.value:.3f} of {ours.n} labelled pairs (95 % {ours.low:.3f} to {ours.high:.3f}"
            + (f"; {unscored} unscored)" if unscored else ")"),
            f'"the longer answer wins" agrees with {longer.value:.3f} of {longer.n}',
        ]


def examine(scorer: Scorer | PreferenceScorer, pairs: Sequence[Pair] | None = None) -> Report:
    """Check a reward model on built-in text, and on labelled pairs if there are any.

    Args:
        scorer: Any scorer; models in this process are checked more closely.
        pairs: From `load_pairs`.

    Returns:
        The report. A check that raises is a finding, not an exception.
    """
    findings: list[Finding] = []
    for check in CHECKS:
        try:
            findings.extend(check(scorer))
        except Exception as error:  # whatever a scorer raises is what the doctor is asked to find
            name = check.__name__.removeprefix("check_")
            findings.append(Finding("bad", f"the check of {name} failed: {type(error).__name__}: {error}"))
    described = scorer.describe() if hasattr(scorer, "describe") else f"reward model  {type(scorer).__name__}"
    return Report(
        description=tuple(str(described).splitlines()),
        findings=tuple(findings),
        agreement=agreement(scorer, pairs) if pairs else None,
    )
