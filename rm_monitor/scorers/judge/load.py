"""A published judge by its kind: in this process, or behind a server."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from rm_monitor.scorers.checkpoint import Checkpoint
from rm_monitor.scorers.detect import JUDGES
from rm_monitor.scorers.judge.judge import LLMJudge, server_voice
from rm_monitor.scorers.judge.pairs import PairJudge
from rm_monitor.scorers.judge.rater import RatingJudge
from rm_monitor.scorers.options import Options
from rm_monitor.scorers.reads import PAIRWISE, refuse_unread

__all__ = ["build", "judge_behind", "reads"]

RATING = frozenset({"lmunit", "nemotron_genrm_principle"})
_HERE = (PAIRWISE - {"on_overflow", "deterministic", "idle"}) | {"chat_template", "max_tokens"}
_CLIENT = frozenset({"model", "key_env", "limits", "plain_http", "concurrency", "extra", "clock"})
_SERVER = frozenset({"name", "revision", "strip_think", "max_tokens"}) | _CLIENT


def reads(kind: str, *, server: bool = False) -> frozenset[str]:
    """The options that a judge of this kind reads."""
    own: frozenset[str] = _module(kind).OPTIONS
    return (
        (_SERVER if server else _HERE) | own | (frozenset({"temperature"}) if kind in RATING else frozenset())
    )


def build(kind: str, checkpoint: Checkpoint, options: Options) -> PairJudge | RatingJudge:
    """A judge in this process."""
    from rm_monitor.scorers.judge.local import LocalVoice  # noqa: PLC0415  a judge behind a server needs no torch

    question = _module(kind).question(kind, options)
    voice = LocalVoice(checkpoint, options)
    return _judge(kind, voice, question, options, name=options.name or checkpoint.name)


def judge_behind(url: str, kind: str, given: Mapping[str, Any]) -> PairJudge | RatingJudge:
    """A judge behind an OpenAI-compatible server.

    Args:
        url: The server.
        kind: Of the judge.
        given: The options that were given; ``model`` is its name there, and ``key_env``, ``limits``,
            ``plain_http``, ``concurrency``, ``extra`` and ``clock`` are as for `LLMJudge`.

    Raises:
        ValueError: If an option is not read, or there is no name.
    """
    refuse_unread(given, reads(kind, server=True), f"a {kind} judge behind a server")
    server = {name: value for name, value in given.items() if name in _CLIENT}
    options = Options(**{name: value for name, value in given.items() if name not in _CLIENT})
    model = server.pop("model", None)
    if not model:
        raise ValueError("`model` is the judge's name on the server, and a judge behind one needs it")
    question = _module(kind).question(kind, options)
    if kind in RATING:
        voice = server_voice(url, model, revision=options.revision, **server)
        return _judge(kind, voice, question, options, name=options.name or model)
    return LLMJudge(
        url,
        model,
        prompt=question,
        revision=options.revision,
        strip_think=options.strip_think,
        name=options.name,
        **server,
    )


def _judge(kind: str, voice: Any, question: Any, options: Options, *, name: str) -> PairJudge | RatingJudge:
    common: dict[str, Any] = {"name": name, "strip_think": options.strip_think, "kind": kind}
    if kind in RATING:
        return RatingJudge(voice, question, temperature=options.temperature, **common)
    return PairJudge(voice, question, **common)


def _module(kind: str) -> Any:
    return import_module(f"rm_monitor.scorers.judge.{JUDGES[kind]}")
