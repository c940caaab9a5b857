"""How far the policy has moved from the one it started as: KL(policy || initial policy), a token.

At each generated position the whole next-token distributions are compared, not only the token that was
drawn: the value is exact for its context, never negative, and far less noisy than the log-ratio of drawn
tokens (the k1 estimator). Contexts are the answers of this evaluation, so sampling settings matter. It
costs two forward passes over prompt and answer.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rm_monitor.generators.initial_adapter import keep, kept
from rm_monitor.packed.precision import one_precision
from rm_monitor.prompts.rendering import prompt_ids
from rm_monitor.training.unwrap import unwrap
from rm_monitor.types import Completion, Prompt

__all__ = ["InitialPolicy", "divergence"]

log = logging.getLogger("rm_monitor")

_AT_ONCE = 2**25  # logits in memory at once, a model


class InitialPolicy:
    """The policy that training began with.

    Args:
        source: True: what the model is at the first evaluation, if that is step 0. Of a PEFT model a copy of
            what is trained is kept (as TRL's "ref" adapter), of another model the whole (as much memory as
            the model). A folder or hub id, or a loaded model: that one.
        folder: Of the run, where the copy of what a PEFT model trains is kept for a resumed run and for a
            second process; None: nowhere.
    """

    def __init__(self, source: Any, folder: Path | None = None) -> None:
        if not (source is True or isinstance(source, (str, Path)) or hasattr(source, "forward")):
            raise ValueError(
                "`kl` is True, or the initial policy as a folder, a hub id or a loaded model, got "
                f"{type(source).__name__}"
            )
        self._source, self._folder = source, folder
        self._model: Any = None
        self._trained: dict[str, Tensor] | None = None  # what a PEFT model trains, as it was at step 0
        self._warned = False

    def measured(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[Completion],
        *,
        model: Any,
        tokenizer: Any,
        step: int,
    ) -> list[Completion]:
        """The completions with their ``kl``; nan where the generator kept no tokens.

        To be called inside `rm_monitor.training.undisturbed`: what is trained is exchanged and put back.

        Args:
            prompts: ``n`` prompts; row i is answered by completion i.
            completions: ``n`` completions.
            model: The model being trained.
            tokenizer: Its tokenizer.
            step: Optimizer step; only at 0 can a copy be the initial policy.
        """
        policy = unwrap(model)
        if not self._ready(policy, step):
            return list(completions)
        measured = list(completions)
        said = {i: list(c.tokens) for i, c in enumerate(completions) if c.tokens}
        asked = {i: prompt_ids(prompts[i], tokenizer) for i in said}
        with one_precision(policy):
            for batch in self._batches(policy, {i: len(asked[i]) + len(said[i]) for i in said}):
                found = self._of(policy, [(asked[i], said[i]) for i in batch])
                for i, value in zip(batch, found, strict=True):
                    measured[i] = replace(completions[i], kl=value)
        return measured

    def _batches(self, policy: Any, lengths: Mapping[int, int]) -> Iterator[list[int]]:
        """Rows of like length, as many as their logits leave room for."""
        parameter = next(policy.parameters())
        most = _AT_ONCE if parameter.device.type == "cpu" else 8 * _AT_ONCE
        words = policy.config.get_text_config().vocab_size
        batch: list[int] = []
        for i in sorted(lengths, key=lambda i: -lengths[i]):
            if batch and (len(batch) + 1) * lengths[batch[0]] * words > most:
                yield batch
                batch = []
            batch.append(i)
        if batch:
            yield batch

    def _of(self, policy: Any, rows: Sequence[tuple[list[int], list[int]]]) -> list[float]:
        """Mean KL a token of each prompt and answer."""
        now = _logits(policy, rows)
        with self._initial(policy) as initial:
            before = _logits(initial, rows)
        found = []
        for p, q in zip(now, before, strict=True):
            size = max(1, _AT_ONCE // p.shape[-1])
            parts = [divergence(p[i : i + size], q[i : i + size]).sum() for i in range(0, len(p), size)]
            found.append(torch.stack(parts).sum() / len(p))
        values: list[float] = torch.stack(found).tolist()
        return values

    @contextmanager
    def _initial(self, policy: Any) -> Iterator[Any]:
        if self._model is not None:
            yield self._model
        elif self._trained is None:
            with policy.disable_adapter():
                yield policy
        else:
            with _with_values(policy, self._trained):
                yield policy

    def _ready(self, policy: Any, step: int) -> bool:
        if self._model is not None or self._trained is not None:
            return True
        if self._source is True and _has_adapters(policy):
            self._trained = self._adapters(policy, step)
            return True
        if self._source is True:
            if step != 0:
                self._warn(
                    "kl=True keeps a copy of a model without adapters at step 0, and this is step %d: the KL "
                    "is unknown. Pass the initial policy: RewardMonitor(..., kl='folder or hub id').",
                    step,
                )
                return False
            self._model = copy.deepcopy(policy)
        elif isinstance(self._source, (str, Path)):
            from transformers import AutoModelForCausalLM  # noqa: PLC0415

            like = next(policy.parameters())
            loaded = AutoModelForCausalLM.from_pretrained(
                str(self._source), dtype=like.dtype, use_safetensors=True, trust_remote_code=False
            )
            self._model = loaded.to(like.device)
        else:
            self._model = unwrap(self._source)
        self._model.eval().requires_grad_(False)
        return True

    def _adapters(self, policy: Any, step: int) -> dict[str, Tensor] | None:
        """What the model trains, as it was at step 0; None: what was there is not known."""
        if step == 0:
            now = {name: p.detach().clone() for name, p in policy.named_parameters() if p.requires_grad}
            if self._folder is not None:
                keep(self._folder, now)
            return now
        values = None if self._folder is None else kept(self._folder, policy)
        if values is None:
            self._warn(
                "kl=True keeps a copy of the adapters at step 0, and this is step %d: the KL is to the "
                "model with its adapters off, the initial policy only if training began with new ones. "
                "Else pass the initial policy: RewardMonitor(..., kl='folder or hub id').",
                step,
            )
        return values

    def _warn(self, message: str, *arguments: Any) -> None:
        if not self._warned:
            log.warning("rm_monitor: " + message, *arguments)
        self._warned = True


@contextmanager
def _with_values(policy: Any, values: Mapping[str, Tensor]) -> Iterator[None]:
    """Other values in these parameters; the very same tensors are back afterwards."""
    parameters = {name: p for name, p in policy.named_parameters() if name in values}
    own = {name: p.data for name, p in parameters.items()}
    try:
        for name, parameter in parameters.items():
            parameter.data = values[name].to(parameter.device)
        torch.clear_autocast_cache()  # it keeps what it cast of a parameter, whatever lies in it now
        yield
    finally:
        for name, parameter in parameters.items():
            parameter.data = own[name]
        torch.clear_autocast_cache()


def divergence(now: Tensor, before: Tensor) -> Tensor:
    """KL(now || before) of rows of logits, in nats.

    Example:
        >>> now, before = torch.tensor([[0.0, 0.0]]), torch.log(torch.tensor([[0.25, 0.75]]))
        >>> round(float(divergence(now, before)), 4)  # .5 log(.5/.25) + .5 log(.5/.75)
        0.1438
    """
    p, q = now.float().log_softmax(-1), before.float().log_softmax(-1)
    return torch.where(p > -torch.inf, p.exp() * (p - q), 0.0).sum(-1).clamp_min(0.0)


def _logits(model: Any, rows: Sequence[tuple[list[int], list[int]]]) -> list[Tensor]:
    """``(tokens, vocabulary)`` of each row: what the model says of each generated position."""
    given = [prompt + answer[:-1] for prompt, answer in rows]
    longest = max(map(len, given))
    device = next(model.parameters()).device
    # Padding comes last: no token sees it, whatever the architecture.
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in given], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in given], device=device)
    logits: Tensor = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    ends = zip(given, rows, strict=True)
    return [logits[i, len(row) - len(answer) : len(row)] for i, (row, (_, answer)) in enumerate(ends)]


def _has_adapters(model: Any) -> bool:
    return bool(getattr(model, "peft_config", None)) and hasattr(model, "disable_adapter")
