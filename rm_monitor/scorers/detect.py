"""Which kind of reward model a checkpoint is, from its config and the names of its tensors alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from rm_monitor.errors import ScorerError
from rm_monitor.scorers.checkpoint import Checkpoint

__all__ = ["ABOUT", "JUDGES", "KINDS", "PROCESS", "TOLD", "detect", "rates_steps"]

Shapes = Mapping[str, tuple[int, ...]]


class Rule(NamedTuple):
    """How one kind is recognised."""

    kind: str
    matches: Callable[[Mapping[str, Any], Shapes], bool]


def _starts(shapes: Iterable[str], *prefixes: str) -> bool:
    return all(any(name.startswith(prefix) for name in shapes) for prefix in prefixes)


def _is(config: Mapping[str, Any], ending: str) -> bool:
    return any(str(name).endswith(ending) for name in config.get("architectures") or ())


def _is_encoder(config: Mapping[str, Any], shapes: Shapes) -> bool:
    return _is(config, "ForSequenceClassification") and _starts(shapes, "classifier.")


def _is_openrlhf(config: Mapping[str, Any]) -> bool:
    return (
        "value_head_prefix" in config
        or "normalize_reward" in config
        or config.get("architectures") == ["RewardModel"]
    )


# Special heads first: several of them have a tensor that a plainer kind has too.
RULES = (
    Rule("lora", lambda c, s: "peft_type" in c),
    Rule("pairrm", lambda c, s: _is(c, "PairRM") or "source_prefix_id" in c),
    Rule("qrm", lambda c, s: _starts(s, "gating.") and "num_quantiles" in c),
    Rule(
        "armorm", lambda c, s: _starts(s, "gating.", "regression_layer.") and "reward_transform_matrix" in s
    ),
    Rule("ldl", lambda c, s: _starts(s, "gating_layer.") or _is(c, "LDLRewardModel27B")),
    Rule("urm", lambda c, s: _starts(s, "score.", "weights.fc.")),
    Rule("inform", lambda c, s: _starts(s, "score.0.", "score.2.")),
    Rule("grm", lambda c, s: _starts(s, "v_head.summary")),
    Rule("athene", lambda c, s: "v_head.weight" in s and not _is(c, "ForCausalLM")),
    Rule("ultrarm", lambda c, s: "regression_head.weight" in s),
    Rule("beaver", lambda c, s: _is(c, "ForScore") and _starts(s, "score_head.")),
    Rule("openrlhf", lambda c, s: _is_openrlhf(c) and f"{c.get('value_head_prefix', 'score')}.weight" in s),
    Rule("bradley_terry", lambda c, s: "score.weight" in s),
    Rule("text_pair", _is_encoder),
)

#: Kinds a causal checkpoint cannot be told from: the user names them.
TOLD = {
    "nemotron": "the logit of vocabulary entry 0 at the last token (Nemotron *-Reward, *-Reward-HF)",
    "principle": "whether an answer satisfies `principle=`, Yes or No (Nemotron *-Reward-Principle)",
    "pair_preference": "which of two answers is better, A or B (RLHFlow pair-preference models)",
    "polar": "how much an answer is preferred to the reference it is read beside (POLAR)",
    "implicit": "a DPO-trained policy, with `reference=` the model it started from",
}

#: Language models that are published as judges, and the files that know how each is asked and read.
JUDGES = {
    "rm_r1_instruct": "rm_r1",
    "rm_r1_reasoning": "rm_r1",
    "skywork_critic": "skywork_critic",
    "prometheus": "prometheus",
    "deepseek_grm": "deepseek_grm",
    "nemotron_genrm": "nemotron_genrm",
    "nemotron_genrm_principle": "nemotron_principle",
    "lmunit": "lmunit",
}

HINTS = {
    "principle": "reward-principle",
    "nemotron": "nemotron.*reward",
    "pair_preference": "pair.?pref",
    "polar": "(?<![a-z])polar(?![a-z])",
    "implicit": "dpo",
    "rm_r1_reasoning": "rm-r1.*(distill|reason)",
    "rm_r1_instruct": "rm-r1",
    "skywork_critic": "skywork-critic",
    "prometheus": "prometheus",
    "deepseek_grm": "deepseek-grm",
    "nemotron_genrm_principle": "genrm-principle",
    "nemotron_genrm": "genrm",
    "lmunit": "lmunit",
}

KINDS = (*(rule.kind for rule in RULES), *TOLD, *JUDGES)

#: What each kind is, for people.
ABOUT = {
    "lora": "a PEFT adapter of a reward model, merged into its base",
    "pairrm": "PairRM: an encoder that compares two answers, both orders averaged",
    "qrm": "QRM: ratings as distributions, weighted by a gate that reads the prompt",
    "armorm": "ArmoRM: ratings, weighted by a gate that reads the prompt",
    "ldl": "LDL-Reward: the mean of a mixture of distributions over [0, 1]",
    "urm": "URM: attribute means, weighted by a gate",
    "inform": "a Bradley-Terry perceptron on the last token (INF-ORM)",
    "grm": "GRM: a Bradley-Terry value head on the last token",
    "athene": "Athene-RM: a value head read at a class token after the conversation",
    "ultrarm": "UltraRM or Eurus-RM: a Bradley-Terry regression head on the last token",
    "beaver": "safe-rlhf: a normalised score head on the last token; a cost is negated",
    "openrlhf": "a Bradley-Terry head saved by OpenRLHF",
    "bradley_terry": "a linear head on the last token of a decoder",
    "text_pair": "an encoder over the pair of prompt and answer",
    **TOLD,
    "rm_r1_instruct": "RM-R1: a rubric or a solution of its own, then which answer is better",
    "rm_r1_reasoning": "RM-R1, distilled: reasons, then says which answer is better",
    "skywork_critic": "Skywork-Critic: says which answer is better",
    "prometheus": "Prometheus 2: compares two answers by a rubric",
    "deepseek_grm": "DeepSeek-GRM: principles, a critique, and a score for each answer",
    "nemotron_genrm": "Nemotron GenRM: reasons, scores both answers and ranks them",
    "nemotron_genrm_principle": "Nemotron GenRM-Principle: reasons, then Yes or No to a principle",
    "lmunit": "LMUnit: a score for a unit test in words",
}

VALUE_HEAD = (
    "its value head (`v_head`) is what PPO estimates returns with, not a reward; if it was trained on "
    "preferences, name the kind: `kind='grm'`"
)

PROCESS = (
    "it rates the steps of a solution, not answers (a process reward model), and which steps count and how "
    "they make one number is decided outside its files: split answers as it was trained, take the lowest or "
    "last step's score, and give that as a function f(prompts, completions) -> scores"
)

STEPS = ("step_tag_id", "step_token", "step_token_id", "step_separator")  # of a config that rates steps

UNSUPPORTED = {
    "InternLM2ForRewardModel": (
        "its network is not in transformers: serve it (vLLM, SGLang) and give the URL. If it is POLAR, which "
        "reads a reference, say so: load_scorer(URL, kind='polar')"
    ),
    "CausalLMWithValueHead": VALUE_HEAD,
}


def detect(checkpoint: Checkpoint, *, kind: str | None = None) -> str:
    """The kind of a reward model.

    Args:
        checkpoint: A model folder.
        kind: What the user says it is; checked to be a kind there is.

    Raises:
        ValueError: If ``kind`` is not a known kind.
        ScorerError: If it cannot be told, with the choices.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"`kind` must be one of {', '.join(KINDS)}; got {kind!r}")
    if rates_steps(checkpoint.config, "" if kind else checkpoint.name):
        raise ScorerError(f"{checkpoint.name!r} cannot be scored here: {PROCESS}")
    if kind is not None:
        if kind == "nemotron" and re.search(HINTS["principle"], checkpoint.name, re.I):
            raise ScorerError(
                f"{checkpoint.name!r} is trained to read a principle beside the answer, which "
                "kind='nemotron' does not show it: pass kind='principle' and principle='correctness', or "
                "another"
            )
        return kind
    config = checkpoint.config
    if _starts(checkpoint.tensors, "v_head.") and _is(config, "ForCausalLM"):  # TRL saves it beside the LM's
        raise ScorerError(f"{checkpoint.name!r} cannot be scored here: {VALUE_HEAD}")
    shapes = {name: tensor.shape for name, tensor in checkpoint.tensors.items()}
    for name, reason in UNSUPPORTED.items():
        if _is(config, name):
            raise ScorerError(f"{checkpoint.name!r} ({name}) cannot be scored here: {reason}")
    for rule in RULES:
        if rule.matches(config, shapes):
            return rule.kind
    raise ScorerError(_undecided(checkpoint))


def rates_steps(config: Mapping[str, Any], name: str = "") -> bool:
    """Whether a model rates the steps of a solution: its class, its config or its name says so.

    Example:
        >>> rates_steps({"architectures": ["Qwen2ForPrmModel"]}), rates_steps({}, "org/Some-PRM-7B")
        (True, True)
        >>> rates_steps({"architectures": ["DebertaV2PairRM"]}, "org/PairRM-hf")
        False
    """
    classes = [str(one) for one in config.get("architectures") or ()]
    own = re.split(r"[/\\\\]", name.rstrip("/\\"))[-1]
    return (
        any(re.search(r"prm|process|stepreward|ForTokenClassification", one, re.I) for one in classes)
        or re.search(r"(?<![a-z])o?prm(?![a-z])", own, re.I) is not None
        or any(key in config for key in STEPS)
    )


def _undecided(checkpoint: Checkpoint) -> str:
    architecture = ", ".join(checkpoint.config.get("architectures") or ()) or "no architecture named"
    if not _is(checkpoint.config, "ForCausalLM") and not _is(checkpoint.config, "LMHeadModel"):
        return (
            f"{checkpoint.name!r} ({architecture}) has no reward head that is known here. "
            f"Name its kind with `kind=` (one of {', '.join(KINDS)}), or give a function or a Scorer"
        )
    hint = next((kind for kind, name in HINTS.items() if re.search(name, checkpoint.name, re.I)), None)
    choices = "; ".join(f"{kind!r}: {meaning}" for kind, meaning in TOLD.items())
    return (
        f"{checkpoint.name!r} ({architecture}) has no reward head: it is a language model, and its "
        "files do not tell "
        f"how to read a score from it. If it is a reward model, say which with `kind=`: {choices}"
        f". As a judge it is one of {', '.join(JUDGES)}; any other language model judges through LLMJudge"
        + (f". Its name sounds like kind={hint!r}" if hint else "")
    )
