"""From a URL to a scorer: which server is this, and what does it serve?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from rm_monitor.errors import ScorerError, ScorerUnavailable
from rm_monitor.http import BadReply, Client, Clock, Limits, Unavailable
from rm_monitor.scorers.options import Options
from rm_monitor.scorers.reads import only, refuse_unread
from rm_monitor.scorers.remote.codecs import CODECS, Codec
from rm_monitor.scorers.remote.polar import RemoteReferenceScorer
from rm_monitor.scorers.remote.render import Messages, Renderer, SteerLM, TokenIds, WholeText
from rm_monitor.scorers.remote.scorer import RemoteScorer
from rm_monitor.scorers.remote.select import HELPSTEER, Selection
from rm_monitor.scorers.run import networks
from rm_monitor.scorers.run.assemble import encoding_for

__all__ = ["load_remote"]

_SERVERS_OWN = ("dtype", "device", "deterministic", "pooling", "reference", "batch_tokens", "idle")
_READ = ("name", "scale", "temperature", "revision", "index", "weights", "strip_think", "tokenizer")
_POLAR = ("name", "revision", "strip_think")
_RENDERING = ("chat_template", "input_format", "bos", "max_length", "on_overflow")
_PATHS = {
    "/pooling": "vllm",
    "/get_reward": "openrlhf",
    "/infer": "nemo",
}


class Served(NamedTuple):
    """What a server says of itself."""

    model: str = ""
    owner: str = ""
    longest: int | None = None
    facts: Mapping[str, str] = {}


def load_remote(
    url: str,
    *,
    kind: str | None = None,
    codec: str | None = None,
    model: str | None = None,
    key_env: str | None = None,
    limits: Limits | None = None,
    plain_http: bool = False,
    batch_size: int = 32,
    concurrency: int = 4,
    clock: Clock | None = None,
    **options: Any,
) -> RemoteScorer | RemoteReferenceScorer:
    """A scorer for a reward model behind a server.

    Args:
        url: ``http://host:8000``; a path that names the endpoint (``/pooling``, ``/get_reward``) is taken
            off and tells the codec.
        kind: Of a reward model the server knows; ``polar`` reads references.
        codec: ``vllm``, ``vllm_classify``, ``sglang``, ``openrlhf`` or ``nemo``; None: asked of the server.
        model: The name it is served under; None: the only one it lists.
        key_env: Environment variable with its key.
        limits: Time-outs, retries and sizes.
        plain_http: Let a key travel over plain http to another machine.
        batch_size: Rows a request.
        concurrency: Requests at a time.
        clock: Time and chance, for tests.
        **options: As for `load_scorer`; ``tokenizer=`` is the reward model's own: with it inputs are
            rendered, checked and measured here.

    Raises:
        ValueError: If an argument is out of range, or is the server's business.
        ScorerUnavailable: If the server is down.
        ScorerError: If it cannot be used; the message says why and what to do.
    """
    given = only(options)
    if kind == "polar":
        refuse_unread(given, _POLAR, "POLAR behind a server")
        base, hint = _endpoint(url)
        client = Client(base, key_env=key_env, limits=limits, plain_http=plain_http, clock=clock)
        try:
            served = _served(client, model)
        except Unavailable as problem:
            raise ScorerUnavailable(str(problem)) from None
        return RemoteReferenceScorer(
            client,
            sglang=(codec or hint or served.owner) == "sglang",
            model=model or served.model,
            batch_size=batch_size,
            concurrency=concurrency,
            **given,
        )
    theirs = sorted(set(given) & set(_SERVERS_OWN) | ({"kind"} if kind is not None else set()))
    if theirs:
        raise ValueError(f"`{theirs[0]}` is decided where the server is started, not here")
    refuse_unread(given, (*_READ, *_RENDERING), "a reward model behind a server")
    chosen = Options(**given)
    base, hint = _endpoint(url)
    client = Client(base, key_env=key_env, limits=limits, plain_http=plain_http, clock=clock)
    try:
        served = _served(client, model)
    except Unavailable as problem:
        raise ScorerUnavailable(str(problem)) from None
    used = _codec(codec or hint, served, client)
    _refuse_unrendered(given, used)
    name = model or served.model or ("reward_model" if used.name == "nemo" else used.name)
    return RemoteScorer(
        client,
        codec=used,
        render=_renderer(used, chosen, served, client),
        select=Selection.of(chosen.index, chosen.weights, HELPSTEER if used.name == "nemo" else ()),
        model=name,
        scale=chosen.scale or used.scale,
        scale_told=chosen.scale is not None,
        temperature=chosen.temperature,
        name=chosen.name or name,
        facts=served.facts,
        revision=chosen.revision,
        batch_size=batch_size,
        concurrency=concurrency,
    )


def _refuse_unrendered(given: Mapping[str, Any], codec: Codec) -> None:
    """What says how inputs are written is read only where they are written here."""
    if "steerlm" in codec.forms:
        unread: tuple[str, ...] = ("tokenizer", *_RENDERING)
        reason = "its format is fixed"
    elif given.get("tokenizer") is None and "messages" in codec.forms:
        unread, reason = _RENDERING, "the server renders unless `tokenizer=` is the reward model's own"
    else:
        return
    found = sorted(set(given) & set(unread))
    if found:
        raise ValueError(f"`{found[0]}` is not read for a {codec.name} server here, for {reason}")


def _endpoint(url: str) -> tuple[str, str | None]:
    """The server's address, and the codec its path names.

    Example:
        >>> _endpoint("http://h:5000/get_reward"), _endpoint("http://h:8000/v1")
        (('http://h:5000', 'openrlhf'), ('http://h:8000', None))
        >>> _endpoint("http://h:8000/v2/models/reward_model/infer")
        ('http://h:8000', 'nemo')
    """
    url = url.rstrip("/")
    for path, codec in _PATHS.items():
        if url.endswith(path):
            return url.removesuffix(path).partition("/v2/models/")[0], codec
    return url.removesuffix("/classify").removesuffix("/v1"), None


def _served(client: Client, wanted: str | None) -> Served:
    """What ``/v1/models`` lists; empty if the server has no such page, as OpenRLHF's and Triton."""
    try:
        listed = client.get("/v1/models")
    except BadReply as problem:
        if problem.status in (401, 403):
            raise ScorerError(str(problem)) from None
        return Served()
    cards = listed.get("data", []) if isinstance(listed, Mapping) else []
    cards = [c for c in cards if isinstance(c, Mapping) and isinstance(c.get("id"), str)]
    found = [c for c in cards if wanted in (None, c["id"])]
    if len(found) != 1:
        names = [c["id"] for c in cards]
        raise ScorerError(
            f"{client.url} serves {names[:8]} and `model` is {wanted!r}: pass the name of one of them"
        )
    (card,) = found
    longest = card.get("max_model_len")
    facts = {"root": str(card["root"])} if card.get("root") else {}
    for path in ("/version", "/get_model_info"):
        facts |= _facts(client, path)
    return Served(
        model=card["id"],
        owner=str(card.get("owned_by", "")),
        longest=longest if isinstance(longest, int) and longest > 0 else None,
        facts=facts,
    )


def _facts(client: Client, path: str) -> dict[str, str]:
    """Version of a vLLM server; model path and version of the weights of an SGLang one."""
    try:
        said = client.get(path)
    except BadReply:
        return {}
    names = ("version", "model_path", "weight_version")
    return {k: str(said[k]) for k in names if isinstance(said, Mapping) and said.get(k) is not None}


def _codec(name: str | None, served: Served, client: Client) -> Codec:
    name = name or {"vllm": "vllm", "sglang": "sglang"}.get(served.owner)
    if name is None and served.owner == "llamacpp":
        raise ScorerError(
            f"{client.url} is llama.cpp's server, which writes the inputs of a reranker itself and not as a "
            "reward model's authors do: serve the model with vLLM or SGLang, or give its .gguf file to "
            "load_scorer, which reads it in this process"
        )
    if name is None:
        raise ScorerError(
            f"{client.url} does not say which kind of server it is (owner {served.owner!r}): pass "
            f"codec=, one of {sorted(CODECS)}"
        )
    if name not in CODECS:
        raise ValueError(f"`codec` must be one of {sorted(CODECS)}, got {name!r}")
    return CODECS[name]


def _renderer(codec: Codec, options: Options, served: Served, client: Client) -> Renderer:
    if "steerlm" in codec.forms:
        return SteerLM(strip_think=options.strip_think)
    if options.tokenizer is None:
        if "messages" in codec.forms:
            return Messages(strip_think=options.strip_think)
        hint = (
            served.facts.get("root") or served.facts.get("model_path") or "<the reward model's folder or id>"
        )
        raise ScorerError(
            f"{client.url} ({codec.name}) reads {codec.forms[0]}, which the reward model's own tokenizer "
            f"makes: pass tokenizer={hint!r}"
        )
    tokenizer = networks.tokenizer_for(options)
    encoding = encoding_for(tokenizer, options, name=served.model or codec.name)
    limits = [x for x in (served.longest, codec.longest if options.max_length is None else None) if x]
    formatter = options.formatter(encoding, limit=min(limits, default=None))
    return TokenIds(formatter) if "ids" in codec.forms else WholeText(formatter)
