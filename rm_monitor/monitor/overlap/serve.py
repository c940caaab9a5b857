"""The second process: takes weights, answers and scores, says what it found.

``python -m rm_monitor.monitor.overlap.serve``; started by `rm_monitor.monitor.overlap.worker`. What it
works with comes on standard input, what it is to do through a pipe. It ends with its trainer, however
that ends.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

__all__ = ["main"]


def main(pipe: int, memory: int, size: int, trainer: int) -> None:
    """Serve until the trainer lets go of the pipe."""
    threading.Thread(target=_end_with, args=(trainer,), daemon=True).start()
    connection = Connection(pipe)
    try:
        try:
            measure, save = _prepare(memory, size)
        except Exception as problem:
            traceback.print_exc()
            connection.send(("unable", f"{type(problem).__name__}: {problem}"))
            return
        while True:
            what, given = connection.recv()
            if what == "measure":
                connection.send(("measured", measure(given, lambda: connection.send(("taken", None)))))
            elif what == "save":
                connection.send(("saved", save(Path(given))))
    except (EOFError, BrokenPipeError):
        return


def _prepare(memory: int, size: int) -> tuple[Callable[..., Any], Callable[[Path], str]]:
    """What measures the weights in the slot, and what writes those that were measured last."""
    path, *rest = pickle.load(sys.stdin.buffer)
    sys.path[:] = path  # what the trainer can import
    from rm_monitor.curve.measured import Measured  # noqa: PLC0415
    from rm_monitor.evaluation.evaluator import Evaluator  # noqa: PLC0415
    from rm_monitor.evaluation.scorer_set import ScorerSet  # noqa: PLC0415
    from rm_monitor.monitor.judges import load_judges  # noqa: PLC0415  needs torch, and the trainer's path
    from rm_monitor.monitor.overlap.settings import take_over  # noqa: PLC0415
    from rm_monitor.monitor.overlap.slot import Slot, weights  # noqa: PLC0415
    from rm_monitor.monitor.overlap.structure import unpack  # noqa: PLC0415
    from rm_monitor.training.ranks import Ranks  # noqa: PLC0415

    recipe, references, settings, structure, device = (pickle.loads(part) for part in rest)
    take_over(settings, device)
    scorer_set = ScorerSet(load_judges(recipe.scorers), tuple(recipe.prompts))
    slot = Slot(size, memory)
    model, tokenizer = unpack(structure, device)
    evaluator = Evaluator(
        recipe.prompts,
        references,
        scorer_set,
        sampling=recipe.sampling,
        seed=recipe.seed,
        generator=None,
        kl=recipe.kl,
        prompt_format=recipe.prompt_format,
    )
    evaluator.begin(Ranks.alone(), Path(recipe.folder) if recipe.folder else None, resumes=True)

    def measure(step: int, taken: Callable[[], None]) -> Measured:
        slot.read(weights(model))
        taken()
        try:
            measured = evaluator.measure(model, tokenizer, step=step)
        except Exception as problem:
            measured = Measured(table=None, error=problem)
        if measured.error is None:
            return measured
        traceback.print_exception(measured.error)
        return replace(measured, error=_sendable(measured.error))

    return measure, lambda folder: _save(model, tokenizer, folder)


def _sendable(error: Exception) -> Exception:
    """One that any process can read: an exception of a library need not survive the way."""
    from rm_monitor.errors import GenerationError  # noqa: PLC0415

    return GenerationError(f"in the second process: {type(error).__name__}: {error}")


def _save(model: Any, tokenizer: Any, folder: Path) -> str:
    """Write the weights of the last evaluation; why it failed, if it did."""
    try:
        model.save_pretrained(folder)
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
    except Exception as problem:
        traceback.print_exc()
        return f"{type(problem).__name__}: {problem}"
    return ""


def _end_with(trainer: int) -> None:
    """A trainer that is killed says nothing, and an evaluation can take long."""
    while os.getppid() == trainer:
        time.sleep(1)
    os._exit(1)


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
