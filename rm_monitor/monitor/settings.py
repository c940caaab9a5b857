"""`Settings`: what the user gave, checked before anything is trained.

Everything that can be wrong with an argument is refused here, at construction, with a message that names the
argument, the rule, the value and the way out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rm_monitor.curve.metrics import HEADLINES
from rm_monitor.generators import load_generator
from rm_monitor.monitor.schedule import Schedule, as_schedule
from rm_monitor.prompts import PromptSet, load_prompts
from rm_monitor.prompts.format import PromptFormat
from rm_monitor.prompts.references import resolve_references
from rm_monitor.types import Alarm, Generator, ReferenceSet, Sampling, Sink
from rm_monitor.types.checks import build, did_you_mean, one_of, whole
from rm_monitor.verdict.fresh import check_fresh

__all__ = ["FOLDER", "Settings", "check"]

FOLDER = "_rm_monitor"  # the underscore keeps the Trainer's Hub push from publishing completions
ON_ERROR = ("warn", "raise", "start-anyway")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_SHARDED = ("gather", "keep")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The arguments of `RewardMonitor`, checked and resolved; see there for what they mean.

    Attributes:
        scorers: Name -> what the user gave for it; loaded where it is needed, on rank 0.
        prompts: The fixed prompts.
        references: Named reference sets; empty: the initial policy's own answers.
        schedule: When evaluations are due, and what they may cost.
        sampling: How completions are drawn.
        metric: The headline that was asked for.
        alarm: By what the curve is judged.
        fresh_prompts: Held-out prompts that settle warnings; None: there are none.
        keep_best: Candidates for the best that stay on disk.
        output_dir: Where `folder_in` is put; None: where the Trainer writes.
        report_to: Where evaluations are shown; None: where the Trainer reports to.
        name: Of this monitor, where a trainer has several; empty: it is the only one.
        prompt_format: How prompts become what the policy is asked.
        generator: How completions are made; None: in this process with the model being trained.
        keep_sharded: A sharded model answers as it is, instead of with gathered weights.
        kl: The initial policy for the divergence; None or False: none is measured.
        overlap: False; or True, or the device, of a second process that evaluates.
        seed: Of sampling and of every bootstrap.
        on_error: What a failed evaluation does.
    """

    scorers: Mapping[str, Any]
    prompts: PromptSet
    references: tuple[ReferenceSet, ...]
    schedule: Schedule
    sampling: Sampling
    metric: str
    alarm: Alarm
    fresh_prompts: PromptSet | None
    keep_best: int
    output_dir: Path | None
    report_to: str | Sequence[str | Sink] | Sink | None
    name: str
    prompt_format: PromptFormat
    generator: Generator | None
    keep_sharded: bool
    kl: Any
    overlap: bool | str
    seed: int
    on_error: str

    def folder_in(self, output_dir: str | Path | None) -> Path:
        """Where our files lie: the user's own choice first, else this one.

        Raises:
            ValueError: If there is neither.
        """
        chosen = self.output_dir if self.output_dir is not None else output_dir
        if chosen is None:
            raise ValueError(
                "`output_dir` is needed outside a Trainer: RewardMonitor(..., output_dir='out') puts "
                "files into out/_rm_monitor/"
            )
        return Path(chosen) / (f"{FOLDER}-{self.name}" if self.name else FOLDER)


def check(
    reward_model: Any,
    prompts: Any,
    references: Any,
    *,
    every: Any,
    sampling: Any,
    metric: Any,
    alarm: Any,
    keep_best: Any,
    output_dir: Any,
    report_to: Any,
    name: Any,
    prompt_format: Any,
    generator: Any,
    kl: Any,
    overlap: Any,
    seed: Any,
    on_error: Any,
) -> Settings:
    """Validate all, load prompts and references, name the scorers.

    Raises:
        ValueError: If a value breaks a rule.
        TypeError: If a thing is of a kind that cannot be used.
    """
    one_of("metric", metric, HEADLINES, "the headline metric")
    one_of("on_error", on_error, ON_ERROR, "what a failed evaluation does")
    whole("keep_best", keep_best, "how many candidates stay on disk, at least 1", at_least=1)
    whole("seed", seed, "a whole number from 0 on", at_least=0)
    if not isinstance(name, str) or (name and not _NAME.fullmatch(name)):
        raise ValueError(f"`name` is letters, digits, '-', '_' and '.', such as 'math', got {name!r}")
    if not (isinstance(overlap, (bool, str))):
        raise ValueError(f"`overlap` is False, True or a device such as 'cuda:1', got {overlap!r}")
    if output_dir is not None and not isinstance(output_dir, (str, Path)):
        raise ValueError(f"`output_dir` is a folder's path, got {output_dir!r}")
    alarm, sampling = build(Alarm, "alarm", alarm), build(Sampling, "sampling", sampling)
    prompt_set = prompts if isinstance(prompts, PromptSet) else load_prompts(prompts)
    keep_sharded, generator = _generator(generator)
    fresh = alarm.confirm_on_warn
    if fresh is not None:
        fresh = check_fresh(fresh if isinstance(fresh, PromptSet) else load_prompts(fresh), prompt_set)
    return Settings(
        scorers=named_scorers(reward_model),
        prompts=prompt_set,
        references=resolve_references(references, prompt_set),
        schedule=as_schedule(every),
        sampling=sampling,
        metric=metric,
        alarm=alarm,
        fresh_prompts=fresh,
        keep_best=int(keep_best),
        output_dir=None if output_dir is None else Path(output_dir),
        report_to=report_to,
        name=name,
        prompt_format=as_format(prompt_format),
        generator=generator,
        keep_sharded=keep_sharded,
        kl=kl,
        overlap=overlap,
        seed=int(seed),
        on_error=on_error,
    )


def as_format(given: Any) -> PromptFormat:
    """What ``prompt_format`` stands for: a name, a template, a `PromptFormat`, or a mapping with ``format``.

    Raises:
        ValueError: If a mapping has other keys than ``format`` and the arguments of `PromptFormat.of`.
    """
    if not isinstance(given, Mapping):
        return PromptFormat.of(given)
    known = ["format", "chat_template_kwargs", "tools", "system"]
    for key in given:
        if key not in known:
            raise ValueError(
                f"`prompt_format` has no setting {key!r}{did_you_mean(key, known)}; it has {', '.join(known)}"
            )
    options = {key: value for key, value in given.items() if key != "format"}
    return PromptFormat.of(given.get("format"), **options)


def _generator(spec: Any) -> tuple[bool, Generator | None]:
    """Whether sharded weights stay sharded, and what answers."""
    if isinstance(spec, Mapping) and "sharded_weights" in spec:
        if set(spec) != {"sharded_weights"}:
            raise ValueError(
                f"`generator` has `sharded_weights`, of the model being trained, beside {sorted(spec)}: a "
                "server has no shards; leave one of them out"
            )
        one_of("sharded_weights", spec["sharded_weights"], _SHARDED, "how FSDP or ZeRO-3 weights answer")
        return spec["sharded_weights"] == "keep", None
    return False, None if spec is None else load_generator(spec)


def named_scorers(reward_model: Any) -> Mapping[str, Any]:
    """Name -> source of every judge, the primary first.

    Raises:
        ValueError: If there is none, or a name cannot be part of a metric's name.
    """
    if reward_model is None:
        raise ValueError(
            "`reward_model` is needed: a hub id, a folder, a loaded model, a function f(prompts, "
            "completions), or {name: any of these}"
        )
    several = isinstance(reward_model, Mapping) and not is_one_judge(reward_model)
    scorers = reward_model if several else {_name(reward_model): reward_model}
    if not scorers:
        raise ValueError("`reward_model` is an empty mapping: name at least one scorer, the primary first")
    for name in scorers:
        if not isinstance(name, str) or not name or set(name) & set("/@ "):
            raise ValueError(f"a scorer's name must be text without '/', '@' or blanks, got {name!r}")
    return dict(scorers)


def is_one_judge(given: Any) -> bool:
    """Whether a mapping holds `load_scorer`'s options for one judge, rather than judges by name."""
    return isinstance(given, Mapping) and ("source" in given or "path" in given)


def _name(reward_model: Any) -> str:
    """A short name of a reward model for people and for metric prefixes."""
    if is_one_judge(reward_model):
        reward_model = reward_model.get("name") or reward_model.get("source") or reward_model.get("path")
    for attribute in ("name", "name_or_path", "__name__"):
        found = getattr(reward_model, attribute, None)
        if isinstance(found, str) and found:
            reward_model = "function" if found == "<lambda>" else found
            break
    text = str(reward_model) if isinstance(reward_model, (str, Path)) else type(reward_model).__name__
    short = text.rstrip("/").rsplit("/", 1)[-1]
    return "".join(c if c.isalnum() or c in "-._" else "-" for c in short) or "reward"
