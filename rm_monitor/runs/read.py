"""A run as its folder tells it: curve, verdict, best, prompts, references. Nothing is written or locked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rm_monitor import messages
from rm_monitor.checkpoints.keeper import Keeper
from rm_monitor.curve import tables
from rm_monitor.curve.curve import Curve
from rm_monitor.curve.metrics import HEADLINES
from rm_monitor.errors import NotFoundError
from rm_monitor.files.strict_json import number, read_object
from rm_monitor.monitor.settings import FOLDER
from rm_monitor.records.history import History
from rm_monitor.records.texts import read_texts
from rm_monitor.records.verdicts import read_verdict
from rm_monitor.report.card import card
from rm_monitor.report.facts import facts
from rm_monitor.report.notebook import in_notebook, teach
from rm_monitor.report.view import RunView
from rm_monitor.runs.frames import columns_of_completions, columns_of_curve, kind_of
from rm_monitor.types import Best, Completion, Estimate, EvalPoint, Prompt, ReferenceSet, Table, Verdict
from rm_monitor.verdict.alarm import judge
from rm_monitor.verdict.judging import Rules

__all__ = ["RecordedRun", "folder_of", "load_run"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RecordedRun:
    """What a run's folder holds.

    Attributes:
        folder: ``<output_dir>/_rm_monitor``.
        metric: The headline metric.
        curve: Points in order of step, with the checkpoints that lie on disk now.
        verdict: What the curve says, by the rules of the run.
        best: The best checkpoint on disk; None if none is kept.
        prompts: In prompt order; empty for a run that kept none.
        references: Reference sets; likewise.
        manifest: What the numbers depend on.
    """

    folder: Path
    metric: str
    curve: Curve
    verdict: Verdict
    best: Best | None
    prompts: tuple[Prompt, ...] = ()
    references: tuple[ReferenceSet, ...] = ()
    manifest: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the run: its output directory."""
        return self.folder.resolve().parent.name

    def table(self, step: int) -> Table | None:
        """Completions of an evaluation."""
        return History.read_table(self.folder, step)

    def completions(self, step: int | str | None = None) -> tuple[tuple[Completion, ...], ...]:
        """What the policy answered: one tuple of samples a prompt, in prompt order; empty without a record.

        Args:
            step: Of an evaluation; ``"best"``; None: the latest with answers.

        Raises:
            NotFoundError: If that step has no number, or there is no best.
        """
        if step == "best" and self.verdict.best is None:
            raise NotFoundError(f"no evaluation of {self.name} is called best: {self.verdict.state}")
        judged = [p.step for p in self.curve if p.values]
        if step is None and not judged:
            return ()
        wanted = self.verdict.best.step if step == "best" and self.verdict.best is not None else step
        wanted = judged[-1] if wanted is None else wanted
        if wanted not in judged:
            raise NotFoundError(f"step {wanted} was not judged; the judged steps of {self.name} are {judged}")
        found = self.table(int(wanted))
        return () if found is None else found.completions

    def columns(self, kind: str = "curve") -> dict[str, list[Any]]:
        """As columns of plain values, None where nothing is known.

        Args:
            kind: ``curve``: one row an evaluation, as `columns_of_curve` names its columns; ``completions``:
                one row a completion of any evaluation, as `columns_of_completions` does.

        Raises:
            ValueError: If ``kind`` is neither.
        """
        if kind_of(kind) == "curve":
            return columns_of_curve(self.curve)
        found = {p.step: self.table(p.step) for p in self.curve if p.values}
        whole = {step: table for step, table in found.items() if table is not None}
        return columns_of_completions(whole, self.prompts, self.references)

    def to_pandas(self, kind: str = "curve") -> Any:
        """A ``pandas.DataFrame`` of `columns`."""
        import pandas  # noqa: PLC0415  optional; its own ImportError names it

        return pandas.DataFrame(self.columns(kind))

    def to_arrow(self, kind: str = "curve") -> Any:
        """A ``pyarrow.Table`` of `columns`."""
        import pyarrow  # noqa: PLC0415  optional; its own ImportError names it

        return pyarrow.table(self.columns(kind))

    def view(self, *, name: str | None = None, sides: tuple[int, int] | None = None) -> RunView:
        """As a page shows it.

        Args:
            name: None: the name of its output directory.
            sides: The two steps whose answers are laid side by side; None: the best and the latest.

        Raises:
            NotFoundError: If a step of ``sides`` was not judged.
        """
        for step in sides or ():
            if all(p.step != step or not p.values for p in self.curve):
                judged = [p.step for p in self.curve if p.values]
                raise NotFoundError(
                    f"step {step} was not judged; the judged steps of {self.name} are {judged}"
                )
        steps = sides or self._usual()
        tables = {step: self.table(step) for step in steps}
        return RunView(
            name=name or self.name,
            metric=self.metric,
            curve=self.curve,
            verdict=self.verdict,
            best=self.best,
            prompts=self.prompts,
            references=self.references[0] if self.references else None,
            tables={step: table for step, table in tables.items() if table is not None},
            sides=sides,
            facts=facts(self.manifest),
        )

    def __repr__(self) -> str:
        """Its summary, as a run says it at its end."""
        return messages.summary(
            self.curve, self.verdict, self.best, metric=self.metric, output_dir=str(self.folder)
        )

    def _repr_html_(self) -> str:
        """The card of a notebook."""
        return card(self.curve, self.verdict, self.best, self.metric)

    def _usual(self) -> list[int]:
        """The best and the latest with answers."""
        known = [p.step for p in self.curve if p.values]
        best = [] if self.verdict.best is None else [self.verdict.best.step]
        return sorted({*best, *known[-1:]})


def folder_of(path: str | Path) -> Path:
    """The ``_rm_monitor`` folder of a run's ``output_dir``, or the folder itself."""
    path = Path(path)
    return path if path.name.startswith(FOLDER) else path / FOLDER


def load_run(path: str | Path) -> RecordedRun:
    """Read a run beside which a job may still be writing.

    Args:
        path: Its ``output_dir``, or its ``_rm_monitor`` folder.

    Raises:
        NotFoundError: If there is no run.
    """
    folder = folder_of(path)
    if not (folder / "history.jsonl").is_file():
        raise NotFoundError(f"no run in {path}: {folder / 'history.jsonl'} does not exist")
    if in_notebook():
        teach()
    manifest = read_object(folder / "manifest.json")
    rules = manifest.get("rules", {})
    curve = History.read(folder)
    metric = rules.get("metric") or manifest.get("comparable", {}).get("metric") or _headline(curve)
    prompts, references = read_texts(folder)
    keeper = Keeper(folder)
    available = keeper.available()
    points = tuple(replace(p, checkpoint=str(available[p.step])) if p.step in available else p for p in curve)
    verdict = read_verdict(folder, curve) or _judged(points, metric, prompts, rules)
    return RecordedRun(
        folder=folder,
        metric=metric,
        curve=Curve(points),
        verdict=verdict,
        best=_as_judged(_best(keeper), verdict.best),
        prompts=prompts,
        references=references,
        manifest=manifest,
    )


def _as_judged(kept: Best | None, judged: Best | None) -> Best | None:
    """The best on disk with all that the verdict knows of it; they may be two where one is not on disk."""
    if kept is None or judged is None or kept.step != judged.step:
        return kept
    return replace(judged, checkpoint=kept.checkpoint)


def _judged(
    curve: Sequence[EvalPoint], metric: str, prompts: Sequence[Prompt], rules: Mapping[str, Any]
) -> Verdict:
    """By the rules of the run, for one that was written before verdicts were kept, or stopped half-way."""
    clusters = tables.clusters(prompts) if len(prompts) == _size(curve, metric) else None
    told = Rules.of_dict(rules, metric=metric)
    verdict = judge(
        curve,
        metric=metric,
        alarm=told.alarm,
        temperature=told.temperature,
        seed=told.seed,
        clusters=clusters,
    )
    return replace(verdict, reason=messages.reason(verdict, metric=metric))


def _best(keeper: Keeper) -> Best | None:
    """What ``best.json`` says, as long as its weights are whole."""
    marked, kept = keeper.best(), keeper.facts()
    if marked is None or not {"value", "low", "high", "n"} <= kept.keys():
        return None
    value = Estimate(number(kept["value"]), number(kept["low"]), number(kept["high"]), int(kept["n"]))
    return Best(
        step=marked[0],
        value=value,
        checkpoint=str(marked[1]),
        p_best=number(kept.get("p_best")),
        tied=tuple(kept.get("tied", ())),
    )


def _headline(curve: Sequence[EvalPoint]) -> str:
    """For a run whose manifest is gone."""
    names = {name for point in curve for name in point.metrics}
    return next((m for m in HEADLINES if m in names), HEADLINES[-1])


def _size(curve: Sequence[EvalPoint], metric: str) -> int:
    sizes = [len(p.values[metric]) for p in curve if metric in p.values]
    return sizes[-1] if sizes else 0
