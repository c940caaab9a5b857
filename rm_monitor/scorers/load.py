"""`load_scorer`: whatever names a reward model -> a scorer."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from rm_monitor.errors import ScorerError
from rm_monitor.files.plugins import bring, brought
from rm_monitor.scorers.checkpoint import open_checkpoint
from rm_monitor.scorers.detect import JUDGES, detect
from rm_monitor.scorers.reads import only, refuse_unread
from rm_monitor.types import Calibrated, Describes, PreferenceScorer, Scale, Scorer

__all__ = ["load_scorer"]

GROUP = "rm_monitor.scorers"  # of entry points

_FUNCTION = ("fingerprint", "name", "scale", "temperature", "time_limit")


def load_scorer(
    source: Any,
    *,
    kind: str | None = None,
    index: int | None = None,
    weights: Sequence[float] | Mapping[str, float] | None = None,
    dtype: Any = None,
    device: Any = None,
    revision: str | None = None,
    max_length: int | None = None,
    on_overflow: str = "skip",
    tokenizer: Any = None,
    name: str | None = None,
    batch_tokens: int | None = None,
    strip_think: bool = True,
    scale: Scale | None = None,
    temperature: float | None = None,
    show: bool = True,
    **more: Any,
) -> Scorer | PreferenceScorer:
    """A scorer for a reward model.

    What it is is read from ``config.json`` and the headers of its safetensors files; no code that comes
    with a model is ever run. ``scorer.describe()`` tells what was found.

    Args:
        source: A hub id or local folder; a loaded ``*ForSequenceClassification`` model (with
            ``tokenizer=``); a function ``f(prompts, completions) -> scores``; the URL of a server; a name
            that another package brings (entry points ``rm_monitor.scorers``), which is called with the
            options that are given; or a Scorer or PreferenceScorer, returned as it is. An option that a
            source does not read is refused.
        kind: The family, where files do not tell (``nemotron``, ``pair_preference``, ``implicit``) or are
            wrong.
        index: Which label of a multi-label head is the reward.
        weights: Or their weighted sum: one a label, or by name.
        dtype: Of the network; None: float32 for encoders and on a CPU (but bfloat16 where it is stored so and
            the CPU has AVX512-BF16 or AMX), else as stored. Heads are float32 always.
        device: None: the current accelerator, else the CPU; ``"auto"`` spreads it over several.
        revision: Commit of a hub model.
        max_length: Longest input in tokens; None: what the model and its tokenizer say.
        on_overflow: A longer input is unscored (``skip``), raises (``error``), or loses the middle of its
            prompt (``truncate_prompt_middle``). It is flagged and counted in every case; the answer is
            never cut.
        tokenizer: The reward model's own, where its folder has none; a path or an object, which is copied.
        name: For people.
        batch_tokens: Tokens a forward, padding included; halved for good when memory runs out. None: 1,024 on
            a CPU, 16,384 on an accelerator, which fewer leave idle.
        strip_think: Leave out reasoning blocks, in answers and references alike.
        scale: What a difference of two rewards means, where you know better than the family's default.
        temperature: Divides differences of rewards, so that their sigmoid is a probability: fitted on
            labelled pairs by ``rm-monitor doctor --pairs``.
        show: Print what was found, to stderr.
        **more: ``fingerprint=`` names the version of a function, without which its scores are not kept, and
            ``time_limit=`` the seconds a call of it may take;
            ``deterministic=True`` scores one row a forward; ``idle="cpu"`` keeps the weights in main
            memory and puts them on the device only while they score, ``idle="unload"`` reads them from
            their files for each scoring; ``chat_template=``, ``input_format=``
            (``chat``, ``text_pair``, ``plain``) and ``bos=`` (``template``, ``one``, ``none``) set the
            input format; families and servers have their own (docs/reward-models.md).

    Raises:
        ValueError: If an argument is out of range.
        ScorerError: If the model cannot be used; the message says why and what to do.
        TypeError: If ``source`` is nothing that can score.

    """
    options = {
        **more,
        "index": index,
        "weights": weights,
        "dtype": dtype,
        "device": device,
        "revision": revision,
        "max_length": max_length,
        "on_overflow": on_overflow,
        "tokenizer": tokenizer,
        "name": name,
        "batch_tokens": batch_tokens,
        "strip_think": strip_think,
        "scale": scale,
        "temperature": temperature,
    }
    scorer = _load(source, kind, only(options))
    if scorer is not source and hasattr(scorer, "__dict__"):  # another process can make it again
        vars(scorer)["made_by"] = partial(load_scorer, source, kind=kind, **options)
    if show and scorer is not source and isinstance(scorer, Describes):
        print(scorer.describe(), file=sys.stderr, flush=True)
    return scorer


def _load(source: Any, kind: str | None, given: dict[str, Any]) -> Scorer | PreferenceScorer:
    named = given if kind is None else {**given, "kind": kind}
    if isinstance(source, str) and not Path(source).exists() and source in (others := brought(GROUP)):
        theirs: Scorer | PreferenceScorer = bring(others[source], **named)
        _check_temperature(theirs)
        return theirs
    if isinstance(source, (str, Path)):
        if str(source).startswith(("http://", "https://")):
            served: Scorer | PreferenceScorer
            if kind in JUDGES:
                served = _call("judge.load", "judge_behind", str(source), kind, given)
            else:
                served = _call("remote", "load_remote", str(source), kind=kind, **given)
            return served
        return _from_files(source, kind, given)
    if hasattr(source, "state_dict") and hasattr(source, "forward"):
        loaded = import_module("rm_monitor.scorers.loaded")
        refuse_unread(named, loaded.READS, "a model that is loaded already")
        return _placed(loaded.build(source, _options(given)), given)
    if isinstance(source, (Scorer, PreferenceScorer)):
        refuse_unread(named, (), "a scorer that is ready")
        _check_temperature(source)
        return source
    if callable(source):
        refuse_unread(named, _FUNCTION, "a function")
        function: Scorer = _call("function", "FunctionScorer", source, **given)
        return function
    lacks = [name for name in ("fingerprint", "scale", "score") if not hasattr(source, name)]
    several = isinstance(source, (list, tuple))
    raise TypeError(
        "a reward model is a hub id, a folder, a URL, a loaded model, a function of prompts and "
        "completions, or "
        f"an object with `fingerprint`, `scale` and `score`; got {type(source).__name__}"
        + (": give several by name, as {'main': ..., 'gold': ...}" if several else f" without {lacks}")
    )


def _check_temperature(scorer: Any) -> None:
    """A ready scorer's own: divided by 0 there is no probability, and 1 in its place would be a guess."""
    told = scorer.temperature if isinstance(scorer, Calibrated) else None
    if told is not None and not 0 < told < math.inf:
        raise ValueError(
            f"`temperature` of {type(scorer).__name__} divides differences of rewards and must be above 0 or "
            f"None, got {told}"
        )


def _from_files(source: str | Path, kind: str | None, given: dict[str, Any]) -> Scorer | PreferenceScorer:
    checkpoint = open_checkpoint(source, revision=given.get("revision"))
    family = detect(checkpoint, kind=kind)  # the name of its module, which brings its part of transformers
    if family in JUDGES:
        judges = import_module("rm_monitor.scorers.judge.load")
        refuse_unread(given, judges.reads(family), f"a judge of kind {family!r}")
        judge: Scorer | PreferenceScorer = judges.build(family, checkpoint, _options(given))
        return judge
    module = import_module(f"rm_monitor.scorers.families.{family}")
    refuse_unread(given, module.READS, f"a reward model of kind {family!r}")

    def build() -> Any:
        return module.build(checkpoint, _options(given))

    built = build()
    if hasattr(built, "keep_prefixes"):
        built.keep_prefixes()
    return _placed(built, given, again=build)


def _placed(
    built: Any, options: dict[str, Any], *, again: Callable[[], Any] | None = None
) -> Scorer | PreferenceScorer:
    """The scorer, its weights where they are to be between two scorings."""
    if options.get("idle") == "cpu":
        built.rest()
    if options.get("idle") == "unload":
        if again is None:
            raise ScorerError("`idle='unload'` reads files again: give the model's folder or id, not a model")

        def load() -> tuple[Any, Mapping[str, str]]:
            reader = again().reader
            return reader.model, reader.identity

        built.unload(load)
    scorer: Scorer | PreferenceScorer = built
    return scorer


def _options(given: dict[str, Any]) -> Any:
    return import_module("rm_monitor.scorers.options").Options(**given)


def _call(module: str, function: str, *args: Any, **kwargs: Any) -> Any:
    return getattr(import_module(f"rm_monitor.scorers.{module}"), function)(*args, **kwargs)
