"""A monitor's settings tried before a run: all is loaded, two rows are rendered, answered and scored.

What cannot work raises here, as it would when training begins; what would be cut or cost is told.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rm_monitor.errors import ScorerError
from rm_monitor.messages import planning
from rm_monitor.monitor.config import MonitorConfig
from rm_monitor.monitor.foresight import Foresight, foresee
from rm_monitor.monitor.monitor import RewardMonitor
from rm_monitor.runs.planning import two_answers
from rm_monitor.types import Completion, Describes, PreferenceScorer, Prompt, Scores

__all__ = ["Checked", "check_settings"]

_SAFE = {"use_safetensors": True, "trust_remote_code": False}  # nothing that is read can run code
TRIED = 2  # rows that are rendered, answered and scored


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a monitor with these settings will do.

    Attributes:
        facts: Name -> what was found, in words, in the order of an evaluation.
        asked: The ids of the first prompts as the policy is asked them, decoded; empty without a policy.
        rewards: Judge -> its scores of the rows that were tried; a preference model's probabilities.
        seconds: What one evaluation will take, by the rows that were tried; nan without a policy.
    """

    facts: Mapping[str, str]
    asked: tuple[str, ...] = ()
    rewards: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    seconds: float = float("nan")

    def __str__(self) -> str:
        wide = max(len(name) for name in self.facts)
        lines = [f"{name:<{wide}}  {text}" for name, text in self.facts.items()]
        lines += [f"asked {i}: {text}" for i, text in enumerate(self.asked, 1)]
        return "\n".join(lines)


def check_settings(
    config: str | Path | Mapping[str, Any], *, policy: str | Path | None = None, measure: bool = False
) -> Checked:
    """Try the settings of a monitor.

    Args:
        config: A YAML file, or a mapping of settings.
        policy: The model that will be trained, a folder or hub id: two prompts are answered with it. None:
            answers of a few words are scored instead.
        measure: All prompts are answered twice with it: what an evaluation costs and how much two answers to
            a prompt differ is then measured, and the plan reckons with it.

    Raises:
        ValueError: If a setting breaks a rule, a prompt leaves no room for an answer, or nothing can work.
        ScorerError: If a judge cannot be loaded, or gives the rows that were tried no score.
    """
    settings = MonitorConfig.of(config)
    monitor = RewardMonitor.from_config(settings)
    given = monitor.settings
    parts = monitor._parts
    parts.load_judges()
    prompts = list(given.prompts)[:TRIED]
    facts = {"prompts": f"{len(given.prompts)} from {given.prompts.source or 'memory'}"}
    facts["references"] = ", ".join(f"{r.name} ({len(r.completions)})" for r in given.references)
    facts["references"] = facts["references"] or "the initial policy's own answers, made at step 0"
    answers = [Completion(prompt_id=p.id, text="Yes, of course.") for p in prompts]
    asked: tuple[str, ...] = ()
    seconds = float("nan")
    spread = None
    if measure and policy is None:
        raise ValueError("`measure` answers all prompts twice with the policy: say which, with `policy`")
    if policy is not None:
        model, tokenizer = _loaded(str(policy))
        asked, answers, seconds, told = _answered(monitor, model, tokenizer, prompts)
        facts |= {"policy": f"{policy}, {told.pop('size')}", **told}
        if measure:
            spread, seconds = two_answers(monitor, model, tokenizer)
    rewards: dict[str, tuple[float, ...]] = {}
    for name, scorer in parts.evaluator.scorer_set.scorers.items():
        began = time.monotonic()
        rewards[name] = _scored(name, scorer, prompts, answers)
        took = time.monotonic() - began
        said = ", ".join(f"{x:.3f}" for x in rewards[name])
        facts[f"judge {name}"] = f"{_described(scorer)}; two rows: {said} in {took:.2g} s"
    facts["headline"] = parts.metric
    facts |= _foreseen(foresee(given.prompts, given.alarm, spread=spread), seconds, measured=measure)
    return Checked(facts=facts, asked=asked, rewards=rewards, seconds=seconds)


def _foreseen(told: Foresight, seconds: float, *, measured: bool) -> dict[str, str]:
    """What the run will see, what that costs, and whether more prompts would help."""
    line = planning.foreseen(
        told.plan, n=told.prompts, units=told.units, is_guess=told.is_guess, knows_jitter=told.knows_jitter
    )
    found = {"what it will see": line}
    if told.spread is not None:
        found["spread"] = planning.spread_shown(told.spread, where="Two answers to a prompt")
    if told.plan is not None:
        found["more prompts"] = planning.enough_prompts(told.plan, told.enough)
        if measured:
            found["one evaluation"] = planning.cost(seconds, told.plan.evaluations)
    return found


def _loaded(policy: str) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415  heavy

    model = AutoModelForCausalLM.from_pretrained(policy, **_SAFE).eval()
    return model, AutoTokenizer.from_pretrained(policy, trust_remote_code=False)


def _answered(
    monitor: RewardMonitor, model: Any, tokenizer: Any, prompts: Sequence[Prompt]
) -> tuple[tuple[str, ...], list[Completion], float, dict[str, str]]:
    """What a policy is asked and says, the seconds of a whole evaluation, and its cost in words."""
    from rm_monitor.generators import load_generator  # noqa: PLC0415  needs torch
    from rm_monitor.prompts.rendering import prompt_ids  # noqa: PLC0415

    given = monitor.settings
    monitor._parts.check(model, tokenizer)
    as_asked = given.prompt_format.ask(list(given.prompts))
    lengths = [len(prompt_ids(p, given.prompt_format.tokenizer(tokenizer))) for p in as_asked]
    asked = tuple(
        tokenizer.decode(prompt_ids(p, given.prompt_format.tokenizer(tokenizer)))
        for p in as_asked[: len(prompts)]
    )
    generator = given.generator or load_generator()
    began = time.monotonic()
    answers = generator.generate(
        as_asked[: len(prompts)], given.sampling, seed=given.seed, model=model, tokenizer=tokenizer
    )
    seconds = (time.monotonic() - began) * len(lengths) / max(len(prompts), 1)
    first = [answers[i * given.sampling.samples_per_prompt] for i in range(len(prompts))]
    cut = sum(answer.finish_reason == "length" for answer in answers)
    size = sum(p.numel() * p.element_size() for p in model.parameters()) / 1e6
    cost = {
        "size": f"{size:,.0f} MB of weights",
        "lengths": f"prompts of {int(np.median(lengths))} tokens (at most {max(lengths)}), answers of up to "
        f"{given.sampling.max_new_tokens}; {cut} of {len(answers)} tried were cut off there",
        "one evaluation": f"at most about {seconds:.3g} s here (many prompts at once take less each)",
    }
    return asked, first, seconds, cost


def _scored(
    name: str, scorer: Any, prompts: Sequence[Prompt], answers: Sequence[Completion]
) -> tuple[float, ...]:
    """Scores of a few rows, none of them unknown."""
    if isinstance(scorer, PreferenceScorer):
        said: Any = scorer.prefer(prompts, answers, answers)
        said = getattr(said, "probability", said)
    else:
        said = scorer.score(prompts, answers)
        said = said.reward if isinstance(said, Scores) else said
    values = tuple(float(x) for x in np.asarray(said, dtype=np.float64).ravel())
    if len(values) != len(prompts):
        raise ScorerError(f"reward model {name!r} gave {len(values)} scores for {len(prompts)} answers")
    if all(np.isnan(values)):
        raise ScorerError(
            f"reward model {name!r} gave no score for {', '.join(p.label for p in prompts)}: see "
            "`rm-monitor doctor`"
        )
    return values


def _described(scorer: Any) -> str:
    """The first line of what a judge says of itself."""
    return str(scorer.describe()).split("\n")[0] if isinstance(scorer, Describes) else type(scorer).__name__
