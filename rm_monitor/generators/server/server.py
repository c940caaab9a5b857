"""`ServerGenerator`: one request a completion, each with its own seed."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rm_monitor.errors import GenerationError
from rm_monitor.generators.reasoning import delimiters, opening
from rm_monitor.generators.server import dialects
from rm_monitor.generators.server.weights import Weights, in_words, unavailable, written
from rm_monitor.http import Client, Clock, HTTPFailure, Limits, in_order
from rm_monitor.prompts.rendering import prompt_ids
from rm_monitor.text.waiting import Waiting
from rm_monitor.types import Completion, Progress, Prompt, Sampling

__all__ = ["ServerGenerator"]

log = logging.getLogger("rm_monitor")

PATIENT = Limits(read=600.0, total=1800.0)  # an answer comes in one piece, after all of it was generated


class _Row(NamedTuple):
    prompt: Prompt
    sample: int


class ServerGenerator:
    """Answers from a server that has the checkpoint's weights.

    Args:
        url: The server, without ``/v1``.
        weights: How the server gets the weights: ``"lora"`` (`LoraHotLoad`), ``"disk"`` (`ReloadFromDisk`),
            a command with ``{checkpoint}`` in it (`RunCommand`), one of these objects, or ``"synced"`` where
            the trainer keeps them current (TRL's GRPO with a vLLM server). None: the server is asked as it
            is, and a model in training is refused: the curve would be of other weights.
        model: The name to ask for; None: the one the server lists, or the adapter that was loaded.
        render: Who turns a prompt into tokens. ``client``: the policy's tokenizer here, as in this process;
            ``server``: the server's chat template; ``auto``: the client where a tokenizer is at hand and the
            server is of a kind that takes token ids (vLLM, SGLang, llama.cpp).
        tokenizer: The policy's, as an object or a folder, where no trainer gives one (`rm-monitor sweep`).
        key_env: Environment variable with the server's key.
        concurrency: Requests at a time.
        spool: Folder for weights on their way to the server, which must see it; None: the system's.
        extra: Further fields of each request; None as a value leaves a field out.
        limits: Time-outs, retries and sizes.
        plain_http: Let the key travel over plain http to another machine.
        clock: Time and chance, for tests.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        url: str,
        *,
        weights: Weights | str | None = None,
        model: str | None = None,
        render: Literal["auto", "client", "server"] = "auto",
        tokenizer: Any = None,
        key_env: str | None = None,
        concurrency: int = 16,
        spool: str | Path | None = None,
        extra: Mapping[str, Any] | None = None,
        limits: Limits = PATIENT,
        plain_http: bool = False,
        clock: Clock | None = None,
    ) -> None:
        if concurrency < 1:
            raise ValueError(f"`concurrency` must be at least 1, got {concurrency}")
        if render not in ("auto", "client", "server"):
            raise ValueError(f"`render` must be 'auto', 'client' or 'server', got {render!r}")
        base = url.rstrip("/").removesuffix("/v1")
        self.client = Client(base, key_env=key_env, limits=limits, plain_http=plain_http, clock=clock)
        self.weights = in_words(weights) if isinstance(weights, str) else weights
        self.synced = weights == "synced"
        self.render = render
        self._model = model
        self._known: dialects.Served | None = None  # of a model that is named
        self._loaded: str | None = None
        self._tokenizer = tokenizer
        self._concurrency = concurrency
        self._spool = None if spool is None else str(spool)
        self._extra = dict(extra or {})
        self._on_the_way: tempfile.TemporaryDirectory[str] | None = None
        self._by_checkpoint = False

    def __repr__(self) -> str:
        return f"ServerGenerator({self.client.url!r}, weights={self.weights!r})"

    def load_checkpoint(self, checkpoint: str | Path | None, *, base: str | None = None) -> None:
        """Let the server load a checkpoint from disk; the answers after this are that checkpoint's.

        Args:
            checkpoint: A folder; None: the model before training.
            base: The model before training, where it is known.

        Raises:
            GenerationError: If the server cannot be given weights, or did not take them.
        """
        if self.weights is None:
            raise GenerationError(
                f"{self.client.url} has no way to load {checkpoint or base}: pass weights= (LoraHotLoad, "
                "ReloadFromDisk or RunCommand)"
            )
        try:
            self._loaded = self.weights.load(
                self.client, None if checkpoint is None else Path(checkpoint), base
            )
        except HTTPFailure as problem:
            raise unavailable(problem) from None
        self._by_checkpoint = True

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        *,
        seed: int = 0,
        model: Any = None,
        tokenizer: Any = None,
        progress: Progress | None = None,
    ) -> list[Completion]:
        """See `rm_monitor.Generator`.

        Raises:
            GenerationError: If the server has other weights, is down, or does not answer with text.
        """
        if not prompts:
            return []
        if model is not None:
            self._give(model)
        tokenizer = tokenizer if tokenizer is not None else self._own_tokenizer()
        rows = [_Row(prompt, sample) for prompt in prompts for sample in range(sampling.samples_per_prompt)]
        try:
            served = self._served()
            name = self._name(served)
            bodies = self._bodies(rows, sampling, seed, tokenizer, served.owner, name)
            with Waiting(f"training waits for answers from {self.client.url}"):
                replies = in_order(
                    lambda question: self.client.post(*question),
                    bodies,
                    concurrency=self._concurrency,
                    done=None if progress is None else lambda done: progress(done, len(rows)),
                )
        except HTTPFailure as problem:
            raise unavailable(problem) from None
        return [
            dialects.read(reply, row.prompt, row.sample, **self._before(row.prompt, tokenizer, served.owner))
            for reply, row in zip(replies, rows, strict=True)
        ]

    # ------------------------------------------------------------------ weights

    def _give(self, model: Any) -> None:
        """Bring the weights of the model in training to the server."""
        if self.synced:
            return
        if self.weights is None:
            raise GenerationError(
                f"{self.client.url} does not have the weights of the model in training: pass weights= "
                "(LoraHotLoad() for LoRA, RunCommand(...)), or weights='synced' if the trainer keeps the "
                "server's weights current"
            )
        folder, holder = written(model, self._spool)
        self.load_checkpoint(folder)
        if self._on_the_way is not None:
            self._on_the_way.cleanup()  # the one before: the server is done with it
        self._on_the_way = holder

    def _served(self) -> dialects.Served:
        """What the server lists; of a model that is named a hint, which may fail in any way.

        It tells who renders prompts, so it is asked once: a page that comes and goes (`transformers serve`
        lists nothing before its cache has a model) must not change how a run is asked.
        """
        if self._model is None:
            return dialects.served(self.client.get("/v1/models"))
        if self._known is None:
            try:
                self._known = dialects.served(self.client.hint("/v1/models"))
            except GenerationError:
                self._known = dialects.Served((), "")
        return self._known

    def _name(self, served: dialects.Served) -> str:
        wanted = self._loaded or self._model
        if wanted is not None:  # not every server lists all that it serves; one that lacks it says so itself
            return wanted
        if len(served.models) == 1 or self._by_checkpoint:
            return served.models[0]  # vLLM lists the base model before its adapters
        raise GenerationError(f"{self.client.url} serves {list(served.models[:8])}: pass model=, one of them")

    # ------------------------------------------------------------------ requests

    def _own_tokenizer(self) -> Any:
        if isinstance(self._tokenizer, (str, Path)):
            from transformers import AutoTokenizer  # noqa: PLC0415  needs torch

            self._tokenizer = AutoTokenizer.from_pretrained(str(self._tokenizer), trust_remote_code=False)
        return self._tokenizer

    def _bodies(
        self, rows: Sequence[_Row], sampling: Sampling, seed: int, tokenizer: Any, owner: str, name: str
    ) -> list[tuple[str, dict[str, Any]]]:
        here = self._renders(tokenizer, owner)
        if here and tokenizer is None:
            raise GenerationError("render='client' needs the policy's tokenizer: pass tokenizer=")
        common = {"model": name, **dialects.fields(sampling, owner)}
        inputs = {row.prompt.id: self._input(row.prompt, tokenizer if here else None) for row in rows}
        made = []
        for row in rows:
            path, given = inputs[row.prompt.id]
            own = {"seed": dialects.seed_of(seed, row.prompt.id, row.sample)}
            body = {**common, **own, **given, **self._extra}
            made.append((path, {k: v for k, v in body.items() if v is not None}))
        return made

    def _renders(self, tokenizer: Any, owner: str) -> bool:
        takes_ids = tokenizer is not None and owner in dialects.NEUTRAL
        return self.render == "client" or (self.render == "auto" and takes_ids)

    def _before(self, prompt: Prompt, tokenizer: Any, owner: str) -> dict[str, Any]:
        """What is known, where the prompt was rendered here, of how its answer begins."""
        if not self._renders(tokenizer, owner):
            return {}
        return {"tokenizer": tokenizer, "before": opening(prompt, tokenizer)}

    def _input(self, prompt: Prompt, tokenizer: Any) -> tuple[str, dict[str, Any]]:
        """Where a prompt is sent, and as what: our tokens, raw text, or turns for the server's template."""
        if tokenizer is not None:
            body: dict[str, Any] = {"prompt": prompt_ids(prompt, tokenizer)}
            if any(delimiters(tokenizer)):  # they are control tokens in many models, and cut from text first
                body["skip_special_tokens"] = False
            return "/v1/completions", body
        if prompt.raw:
            return "/v1/completions", {"prompt": prompt.rendered or prompt.text}
        beside = {
            "tools": list(prompt.tools),
            "documents": list(prompt.documents),
            "chat_template_kwargs": dict(prompt.template_kwargs),
        }
        given = {name: value for name, value in beside.items() if value}
        return "/v1/chat/completions", {"messages": list(prompt.messages), **given}
