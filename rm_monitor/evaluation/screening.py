"""Prompts that a judge cannot score, found before anything is answered."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from rm_monitor.errors import ScorerError
from rm_monitor.types import PreferenceScorer, Prompt, Scorer, Screens

__all__ = ["screen"]

log = logging.getLogger("rm_monitor")

_SHOWN = 3


def screen(scorers: Mapping[str, Scorer | PreferenceScorer], prompts: Sequence[Prompt]) -> None:
    """Say which prompts a judge leaves out of every evaluation, and of which it does not read everything.

    Args:
        scorers: Name -> scorer; those that cannot tell are not asked.
        prompts: The prompts of the run.

    Raises:
        ScorerError: If one of them can score none of the prompts.
    """
    for name, scorer in scorers.items():
        if not isinstance(scorer, Screens):
            continue
        found = scorer.screen(prompts)
        if prompts and all(prompt.id in found.unscorable for prompt in prompts):
            raise ScorerError(
                f"reward model {name!r} can score none of the {len(prompts)} prompts: "
                f"{_listed(found.unscorable, prompts)}"
            )
        if found.unscorable:
            log.warning(
                "rm_monitor: reward model %r cannot score %d of %d prompts; they are left out of its "
                "numbers: %s",
                name,
                len(found.unscorable),
                len(prompts),
                _listed(found.unscorable, prompts),
            )
        if found.incomplete:
            log.warning(
                "rm_monitor: reward model %r does not read all of %d of %d prompts (flag `dropped`): %s",
                name,
                len(found.incomplete),
                len(prompts),
                _listed(found.incomplete, prompts),
            )


def _listed(reasons: Mapping[str, str], prompts: Sequence[Prompt]) -> str:
    """The first few by row and first words, each with its reason."""
    labels = {prompt.id: prompt.label for prompt in prompts}
    shown = [f"{labels.get(id_, id_)}: {reason}" for id_, reason in list(reasons.items())[:_SHOWN]]
    more = len(reasons) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")
