"""A run's evaluations as logs that Inspect reads (`inspect view`, `inspect_ai.analysis`): one file a step.

The format is the JSON form of ``inspect_ai.log.EvalLog``, version 2; the package itself is not needed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rm_monitor import files
from rm_monitor.curve.metrics import label
from rm_monitor.errors import NotFoundError
from rm_monitor.files.digest import digest
from rm_monitor.files.strict_json import dumps, plain
from rm_monitor.runs.read import RecordedRun
from rm_monitor.types import Completion, Estimate, EvalPoint, Prompt, Table

__all__ = ["inspect_log", "write_inspect_logs"]

VERSION = 2  # of Inspect's format
_STOPS = {"stop": "stop", "length": "max_tokens", "unknown": "unknown"}
_ROLES = ("system", "user", "assistant")


def write_inspect_logs(run: RecordedRun, folder: str | Path) -> list[Path]:
    """One log for each evaluation whose answers are on disk.

    Args:
        run: The run.
        folder: Where they go; it is made.

    Returns:
        The files, in order of step.

    Raises:
        NotFoundError: If the run kept no answers.
    """
    folder, written = Path(folder), []
    for point in run.curve:
        table = run.table(point.step) if point.values else None
        if table is not None:
            folder.mkdir(parents=True, exist_ok=True)
            log = inspect_log(run, point, table)
            # Inspect lists only files that are named as it names them: time_task_id.
            when, name = log["eval"]["created"].replace(":", "-"), log["eval"]["eval_id"]
            path = folder / f"{when}_step-{point.step:08d}_{name}.json"
            files.replace(path, dumps(log, indent=1) + "\n")
            written.append(path)
    if not written:
        raise NotFoundError(f"{run.folder} holds no answers: there is nothing for Inspect to show")
    return written


def inspect_log(run: RecordedRun, point: EvalPoint, table: Table) -> dict[str, Any]:
    """One evaluation as an ``EvalLog``: a sample an answer, a score a metric, the estimates as results."""
    created = _created(run.manifest)
    model, count = str(run.manifest.get("model", "policy")), len(table.completions)
    epochs = max((len(row) for row in table.completions), default=1)
    by_id = {prompt.id: prompt for prompt in run.prompts}
    targets = {c.prompt_id: c.text for c in run.references[0].completions} if run.references else {}
    sampling = run.manifest.get("comparable", {}).get("sampling", {})
    ids = [_sample_id(by_id.get(key), key) for key in table.prompt_ids]
    return {
        "version": VERSION,
        "status": "success",
        "eval": {
            "eval_id": digest([str(run.folder), point.step, point.segment])[:22],
            "run_id": digest(str(run.folder))[:22],
            "created": created,
            "task": f"rm_monitor step {point.step}",
            "task_id": digest(["step", point.step])[:22],
            "task_version": 0,
            "dataset": {
                "name": str(run.manifest.get("prompts", {}).get("source", "prompts")),
                "samples": count,
                "sample_ids": ids,
            },
            "model": model,
            "config": {"epochs": epochs},
            "packages": dict(run.manifest.get("versions", {})),
            "metadata": {"step": point.step, "checkpoint": point.checkpoint, "segment": point.segment},
        },
        "plan": {"name": "plan", "steps": [], "config": _generation(sampling)},
        "results": {
            "total_samples": count * epochs,
            "completed_samples": count * epochs,
            "scores": [_result(name, e) for name, e in point.metrics.items() if "@" not in name],
        },
        "stats": {"started_at": created, "completed_at": created, "model_usage": {}},
        "samples": [
            _sample(ids[i], j, by_id.get(key), completion, targets.get(key, ""), model, _scores(table, i, j))
            for i, key in enumerate(table.prompt_ids)
            for j, completion in enumerate(table.completions[i])
        ],
    }


def _sample(
    name: int | str,
    j: int,
    prompt: Prompt | None,
    completion: Completion,
    target: str,
    model: str,
    scores: Mapping[str, float],
) -> dict[str, Any]:
    asked = _messages(prompt)
    answer = {"role": "assistant", "content": completion.text, "source": "generate", "model": model}
    stop = _STOPS.get(completion.finish_reason, "unknown")
    return {
        "id": name,
        "epoch": j + 1,
        "input": asked,
        "target": target,
        "messages": [*asked, answer],
        "output": {"model": model, "choices": [{"message": answer, "stop_reason": stop}]},
        "scores": {metric: {"value": value} for metric, value in scores.items()},
        "metadata": {"prompt_id": completion.prompt_id, "tags": list(prompt.tags) if prompt else []},
    }


def _messages(prompt: Prompt | None) -> list[dict[str, Any]]:
    """Plain turns as they are; what Inspect has no place for (tools, images) as the text that is asked."""
    if prompt is None:
        return []
    turns = list(prompt.messages)
    if all(
        set(t) == {"role", "content"} and t["role"] in _ROLES and isinstance(t["content"], str) for t in turns
    ):
        return [{"role": t["role"], "content": t["content"]} for t in turns]
    return [{"role": "user", "content": prompt.text}]


def _sample_id(prompt: Prompt | None, key: str) -> int | str:
    return prompt.row if prompt is not None and prompt.row else key


def _scores(table: Table, i: int, j: int) -> dict[str, float]:
    found = {name: float(values[i, j]) for name, values in table.values.items()}
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _result(name: str, e: Estimate) -> dict[str, Any]:
    """The mean, and the ends of its interval, as metrics of a score."""
    values = {"mean": e.value, "low": e.low, "high": e.high, "n": e.n}
    known = {key: plain(value) for key, value in values.items() if math.isfinite(value)}
    return {
        "name": name,
        "scorer": name,
        "metrics": {key: {"name": key, "value": value} for key, value in known.items()},
        "metadata": {"label": label(name)},
    }


def _generation(sampling: Mapping[str, Any]) -> dict[str, Any]:
    names = {"temperature": "temperature", "top_p": "top_p", "max_new_tokens": "max_tokens"}
    return {theirs: sampling[ours] for ours, theirs in names.items() if ours in sampling}


def _created(manifest: Mapping[str, Any]) -> str:
    """When the run began; a fixed day where that was not noted, so that one run gives one file."""
    try:
        begun = datetime.strptime(str(manifest["begun"]), "%Y-%m-%d %H:%M UTC")
    except (KeyError, ValueError):
        begun = datetime(1970, 1, 1)
    return begun.replace(tzinfo=timezone.utc).isoformat()
