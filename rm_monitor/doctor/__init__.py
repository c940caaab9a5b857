"""Is this reward model set up rightly? What was detected, and what checks on real text say.

Exit code 0: fine. 1: something a person should look at. 2: unusable as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rm_monitor.doctor.checks import CHECKS, Finding, check_agreement
from rm_monitor.doctor.pairs import Agreement, Pair, agreement, fit_temperature, load_pairs
from rm_monitor.doctor.report import Report
from rm_monitor.scorers import load_scorer
from rm_monitor.types import Calibrated, Describes, PreferenceScorer, Scorer

__all__ = ["Agreement", "Finding", "Pair", "Report", "doctor", "examine", "fit_temperature", "load_pairs"]


def doctor(model: Any, pairs: Sequence[str | Path] = (), **options: Any) -> Report:
    """Load a reward model and examine it: what ``rm-monitor doctor`` does.

    Args:
        model: As for `load_scorer`.
        pairs: Files of labelled pairs.
        **options: As for `load_scorer`.

    Raises:
        ScorerError: If it cannot be loaded.
        ValueError: If a file has no labelled pairs.
    """
    labelled = {Path(path).name: load_pairs(path) for path in pairs}  # a mistake here costs no loading
    return examine(load_scorer(model, show=False, **options), labelled)


def examine(
    scorer: Scorer | PreferenceScorer, pairs: Mapping[str, Sequence[Pair]] | Sequence[Pair] = ()
) -> Report:
    """Check a reward model on built-in text, and on labelled pairs if there are any.

    Args:
        scorer: Any scorer; models in this process are checked more closely.
        pairs: From `load_pairs`, perhaps several sets by name.

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
    sets = pairs if isinstance(pairs, Mapping) else {"": pairs}
    agreements = tuple(agreement(scorer, some, name=name) for name, some in sets.items() if some)
    for one in agreements:
        findings.extend(check_agreement(one))
    temperature = scorer.temperature if isinstance(scorer, Calibrated) else None
    return Report(
        description=scorer.describe() if isinstance(scorer, Describes) else type(scorer).__name__,
        findings=tuple(findings),
        agreements=agreements,
        has_probability=isinstance(scorer, PreferenceScorer)
        or scorer.scale == "logit"
        or temperature is not None,
    )
