"""The one table of metrics: what is bounded, what it is called, what change matters, where it is shown.

A text metric is an entry of `rm_monitor.curve.text_metrics`; what scorers say is listed here. A name that is
not in the table (a flag or a measure of somebody's plug-in) is an unbounded number that is called by its
name, hidden in W&B and drawn nowhere.
"""

from __future__ import annotations

from collections.abc import Callable

from rm_monitor import stats
from rm_monitor.curve.metric import Metric
from rm_monitor.curve.text_metrics import TEXT_METRICS
from rm_monitor.types import Estimate

__all__ = ["FACTS", "HEADLINES", "METRICS", "WATCHED", "find", "interval", "label", "named"]

HEADLINES = ("win_prob", "win_rate", "reward")  # what `metric=` takes, the one with most to say first

_SCORED = (
    Metric(
        name="win_prob",
        label="win probability",
        kind="share",
        of="references",
        even_at_half=True,
        tagged=True,
        shown=True,
    ),
    Metric(
        name="win_rate",
        label="win rate",
        kind="rate",
        of="references",
        even_at_half=True,
        tagged=True,
        shown=True,
    ),
    Metric(name="reward", label="mean reward", of="scorer", tagged=True, shown=True),
    Metric(name="attribute", label="attribute of the reward model", of="scorer"),
    Metric(name="margin", label="mean margin", of="references"),
    Metric(
        name="tie_rate",
        label="ties with the references",
        kind="rate",
        of="references",
        title="Ties with the references",
    ),
    Metric(
        name="above_references",
        label="scores beyond every reference's",
        kind="rate",
        of="references",
        worth=0.10,
        sentence="{more} scores are beyond every reference's than at {then}: {before} then, {now} now "
        "({change}).",
        more=("More", "Fewer"),
        advice=("There the reward model extrapolates: read those answers, and ask a second judge.", ""),
        title="Beyond every reference's reward",
    ),
    Metric(
        name="lc_win_prob",
        label="win probability at the references' length",
        kind="share",
        of="references",
        even_at_half=True,
        title="Win probability at the references' length",
        shown=True,
    ),
    Metric(name="lc_slope", label="what length adds to the margin", of="references"),
    Metric(name="disagreement", label="disagreement of the judges", kind="rate", of="references"),
    Metric(name="order_gap", label="gap between the two orders of a pair", kind="share", of="references"),
    Metric(name="consistency", label="likeness to the references", of="references"),
    Metric(name="unparsed", label="replies without a clear verdict", kind="rate", of="references"),
    Metric(name="overflow", label="answers too long for the reward model", kind="rate", of="scorer"),
    Metric(name="special_text", label="answers that spell control tokens", kind="rate", of="scorer"),
    Metric(name="think", label="answers with a reasoning block", kind="rate", of="scorer"),
    Metric(name="nonfinite", label="scores that came out as no number", kind="rate", of="scorer"),
    Metric(name="dropped", label="prompts not read in full", kind="rate", of="scorer"),
    Metric(name="unrendered", label="prompts that cannot be written", kind="rate", of="scorer"),
)
METRICS = {m.name: m for m in (*(metric for metric, _ in TEXT_METRICS), *_SCORED)}
WATCHED = tuple(m for m in METRICS.values() if m.worth is not None)

# What loggers see of a run beside its metrics: one plain number an evaluation, without interval.
FACTS = {
    fact.name: fact
    for fact in (
        Metric(name="n", label="prompts with a number"),
        Metric(name="degraded", label="whether the run is degraded", shown=True),
        Metric(name="warned", label="whether there is a warning"),
        Metric(name="dip", label="whether it is lower within the ups and downs of the run"),
        Metric(name="jitter", label="ups and downs from checkpoint to checkpoint"),
        Metric(name="divergence", label="whether judges diverge", shown=True),
        Metric(name="diverges_from_reward", label="whether the training reward rises alone", shown=True),
        Metric(name="best_step", label="best step", shown=True),
        Metric(name="failed", label="whether the evaluation failed"),
        Metric(name="failed_in_a_row", label="failed evaluations in a row"),
        Metric(name="failed_total", label="failed evaluations so far"),
        Metric(name="coverage", label="share of prompts with a number"),
    )
}


def named(name: str) -> str:
    """The metric of a full name, without scorer, reference set or tag.

    Scorers and reference sets may themselves be called like a metric: text metrics have neither, and only
    what is compared with references has a set behind it.

    Example:
        >>> named("gold/win_prob/sft@coding"), named("attribute/helpfulness"), named("length/win_rate")
        ('win_prob', 'attribute', 'win_rate')
    """
    parts = name.partition("@")[0].split("/")
    if len(parts) == 1:
        return parts[0]
    scored = [part for part in parts if part in METRICS and METRICS[part].of != "texts"]
    if "attribute" in scored:
        return "attribute"
    compared = [part for part in scored if METRICS[part].of == "references"]
    return compared[0] if compared else scored[-1] if scored else parts[-1]


def find(name: str) -> Metric:
    """What is known of a metric or a fact, by its full name; the default for what is not in the table.

    Example:
        >>> find("gold/overflow").kind, find("my_flag").kind, find("my_flag").label
        ('rate', 'number', 'my flag')
    """
    base = named(name)
    found = METRICS.get(base) or (FACTS.get(name) if base == name else None)
    return found or Metric(name=base, label=base.replace("_", " "))


def label(name: str) -> str:
    """A full name in words.

    Example:
        >>> label("truncated"), label("gold/win_prob@code")
        ('answers cut off at the token limit', 'win probability (gold, code)')
    """
    metric = find(name)
    bare, _, tag = name.partition("@")
    parts = bare.split("/")
    parts.remove(metric.name)
    more = [part for part in (*parts, tag) if part]
    return f"{metric.label} ({', '.join(more)})" if more else metric.label


def interval(name: str) -> Callable[..., Estimate]:
    """How the interval of its mean over prompts is made: `stats.rate`, `stats.share` or `stats.mean`."""
    return {"rate": stats.rate, "share": stats.share, "number": stats.mean}[find(name).kind]
