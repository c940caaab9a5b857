"""A push of the Trainer: the card that it is about to write says how the training went.

``on_push_begin`` comes before the Trainer writes its card, which replaces the file. So its own function is
followed by ours, once, and is then as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rm_monitor.curve.curve import Curve
from rm_monitor.files.strict_json import read_object
from rm_monitor.report.facts import facts
from rm_monitor.report.model_card import write_card
from rm_monitor.report.view import RunView

if TYPE_CHECKING:
    from rm_monitor.monitor.run import Run

__all__ = ["add_to_card", "after_the_card"]

_NAME = "create_model_card"


def after_the_card(trainer: Any, then: Callable[[], Any]) -> None:
    """Call something when the Trainer has written its model card the next time.

    Args:
        trainer: Its ``create_model_card`` is wrapped until then.
        then: Called after it.
    """
    if _NAME in vars(trainer):  # wrapped already, by us or by somebody else
        return
    original = getattr(trainer, _NAME)

    @wraps(original)
    def with_ours(*args: Any, **kwargs: Any) -> Any:
        delattr(trainer, _NAME)
        done = original(*args, **kwargs)
        then()
        return done

    setattr(trainer, _NAME, with_ours)


def add_to_card(run: Run, folder: Path) -> None:
    """Write the section of a run into the card of a folder.

    Args:
        run: Its curve, verdict and best are what is said.
        folder: The Trainer's ``output_dir``.
    """
    settings = run.parts.settings
    references = settings.references
    view = RunView(
        name=folder.resolve().name,
        metric=run.metric,
        curve=Curve(run.curve),
        verdict=run.verdict,
        best=run.best,
        prompts=tuple(settings.prompts),
        references=references[0] if references else None,
        facts=_facts(run.folder),
    )
    write_card(view, folder)


def _facts(folder: Path) -> dict[str, str]:
    try:
        return facts(read_object(folder / "manifest.json"))
    except (OSError, ValueError):
        return {}
