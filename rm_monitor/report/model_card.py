"""A run in a model card: a section of its text, the curve as a picture, and `model-index` results.

Everything is written with huggingface_hub's own classes; what else a card says stays as it is. No text of a
prompt or an answer is in it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from rm_monitor import files, messages
from rm_monitor.report.markdown import markdown
from rm_monitor.report.standalone import standalone
from rm_monitor.report.view import RunView
from rm_monitor.types import Estimate

__all__ = ["PICTURE", "write_card"]

PICTURE = "rm_monitor.svg"
_BEGIN, _END = "<!-- rm_monitor: this section is written by rm_monitor -->", "<!-- /rm_monitor -->"
_SOURCE = "rm_monitor"  # our results, in a card that may hold others'
_SHOWN = ("win_prob", "win_rate", "reward")


def write_card(run: RunView, folder: str | Path) -> Path:
    """Write, or write anew, the section and the results in a model folder's ``README.md``.

    Args:
        run: What the section says.
        folder: Where the card lies, or will; the picture is put beside it.

    Returns:
        The card.
    """
    from huggingface_hub import ModelCard, ModelCardData  # noqa: PLC0415  half a second

    folder = Path(folder)
    path = folder / "README.md"
    if path.is_file():
        card = ModelCard.load(path, ignore_metadata_errors=True)
    else:
        data = ModelCardData(model_name=run.name, tags=["rm_monitor"])
        card = ModelCard(f"---\n{data.to_yaml()}\n---\n\n# {run.name}\n")
    picture = standalone(run)
    if picture:
        files.replace(folder / PICTURE, picture)
    card.text = _with_section(card.text, _section(run, bool(picture)))
    theirs = [r for r in card.data.eval_results or [] if r.source_name != _SOURCE]
    card.data.eval_results = [*theirs, *_results(run)] or None
    if card.data.eval_results and not card.data.model_name:
        card.data.model_name = folder.resolve().name
    files.replace(path, str(card))
    return path


def _section(run: RunView, has_picture: bool) -> str:
    title = "## How the training went"
    picture = f"![{messages.label(run.metric)} while training]({PICTURE})\n" if has_picture else ""
    return "\n".join(part for part in (_BEGIN, title, "", picture, markdown([run]).rstrip(), _END))


def _with_section(text: str, section: str) -> str:
    """The card's text with our section in its place, or at the end."""
    before, found, rest = text.partition(_BEGIN)
    _, ended, after = rest.partition(_END)
    if found and ended:
        return before + section + after
    return f"{text.rstrip()}\n\n{section}\n"


def _results(run: RunView) -> list[Any]:
    """What the best checkpoint reached, by the run's own judge."""
    from huggingface_hub import EvalResult  # noqa: PLC0415

    best = run.best
    point = next((p for p in run.curve if best is not None and p.step == best.step), None)
    if point is None:
        return []
    compared = "the initial policy" if run.references is None else run.references.name
    return [
        EvalResult(
            task_type="text-generation",
            task_name="Text Generation",
            dataset_type="rm_monitor",
            dataset_name=f"{len(run.prompts)} fixed prompts against {compared}",
            dataset_revision=point.segment or None,
            metric_type=name,
            metric_name=f"{messages.label(name)}, judged by {run.judge}",
            metric_value=round(float(point.metrics[name].value), 6),
            metric_args={
                **_ends(point.metrics[name]),
                "n": int(point.metrics[name].n),
                "step": point.step,
            },
            source_name=_SOURCE,
            source_url="https://pypi.org/project/rm_monitor/",
        )
        for name in _SHOWN
        if name in point.metrics and point.metrics[name].value == point.metrics[name].value
    ]


def _ends(e: Estimate) -> dict[str, float]:
    """The interval; nothing where there is none, as of a start that is compared with itself."""
    if not math.isfinite(e.low):
        return {}
    return {"low": round(float(e.low), 6), "high": round(float(e.high), 6)}
