"""What each kind of server must be told so that it draws from the distribution that `Sampling` describes.

Servers have sampling defaults of their own. vLLM and SGLang take ``top_k``, ``min_p`` and
``repetition_penalty`` from the model's ``generation_config.json``, llama.cpp cuts at ``top_k`` 40 and
``min_p`` 0.05: left alone, two servers give two win rates for one checkpoint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from rm_monitor.errors import GenerationError
from rm_monitor.generators.reasoning import split
from rm_monitor.text.reasoning import cut
from rm_monitor.types import Completion, FinishReason, Prompt, Sampling

__all__ = ["NEUTRAL", "Served", "fields", "read", "seed_of", "served"]

_GPU = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
NEUTRAL: Mapping[str, Mapping[str, Any]] = {
    "vllm": _GPU,
    "sglang": _GPU,
    "llamacpp": {"top_k": 0, "min_p": 0.0, "typical_p": 1.0, "repeat_penalty": 1.0, "cache_prompt": False},
}


class Served(NamedTuple):
    """What ``/v1/models`` says.

    Attributes:
        models: Names, adapters included.
        owner: The kind of server, as it calls itself.
    """

    models: tuple[str, ...]
    owner: str


def served(listed: Any) -> Served:
    """Read a model list.

    Raises:
        GenerationError: If it is none.

    Example:
        >>> served({"data": [{"id": "m", "owned_by": "vllm"}]})
        Served(models=('m',), owner='vllm')
    """
    cards = listed.get("data") if isinstance(listed, Mapping) else None
    if not isinstance(cards, list):
        raise GenerationError("the server's /v1/models lists no models: is it OpenAI-compatible?")
    cards = [card for card in cards if isinstance(card, Mapping) and isinstance(card.get("id"), str)]
    if not cards:
        raise GenerationError("the server's /v1/models is empty: no model is loaded")
    return Served(tuple(card["id"] for card in cards), str(cards[0].get("owned_by", "")))


def fields(sampling: Sampling, owner: str) -> dict[str, Any]:
    """The sampling fields of a request, everything else set to no effect.

    Example:
        >>> said = fields(Sampling(temperature=0.7, top_p=0.9, max_new_tokens=8), "llamacpp")
        >>> said["temperature"], said["top_p"], said["max_tokens"], said["top_k"], said["min_p"]
        (0.7, 0.9, 8, 0, 0.0)
    """
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_new_tokens,
        "n": 1,
        "stream": False,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        **NEUTRAL.get(owner, {}),
    }


def seed_of(seed: int, prompt_id: str, sample: int) -> int:
    """A request's seed in ``[0, 2**31)``: of the run's seed, the prompt and the sample, and nothing else.

    Example:
        >>> seed_of(0, "p1", 0) == seed_of(0, "p1", 0) != seed_of(0, "p1", 1)
        True
    """
    text = f"{seed}:{sample}:{prompt_id}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big") >> 1


def read(reply: Any, prompt: Prompt, sample: int, *, tokenizer: Any = None, before: str = "") -> Completion:
    """The completion in a reply of ``/v1/completions`` or ``/v1/chat/completions``, its reasoning apart.

    Args:
        reply: The reply.
        prompt: What was asked.
        sample: Number of the sample.
        tokenizer: The policy's, where it rendered the prompt and the reply's text has its control tokens.
        before: What the template put before the answer, where reasoning may begin.

    Raises:
        GenerationError: If there is no text in it.
    """
    choices = reply.get("choices") if isinstance(reply, Mapping) else None
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], Mapping):
        raise GenerationError(f"the reply to prompt {prompt.label} has no single choice")
    choice = choices[0]
    message = choice.get("message", choice)
    text = message.get("text", message.get("content")) if isinstance(message, Mapping) else None
    thought = (
        message.get("reasoning_content") or message.get("reasoning") if isinstance(message, Mapping) else None
    )
    if text is None and isinstance(thought, str):
        text = ""  # cut off while it was thinking, and the server has taken that out
    if not isinstance(text, str):
        raise GenerationError(f"the reply to prompt {prompt.label} holds no text")
    count = -1
    if isinstance(thought, str):
        answer, thought = text, thought.strip()
    elif tokenizer is None:
        answer, thought = cut(text)
    else:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        answer, thought, count = split(ids, tokenizer, before=before)
    ends: dict[Any, FinishReason] = {"stop": "stop", "length": "length"}
    usage = reply.get("usage")
    tokens = usage.get("completion_tokens") if isinstance(usage, Mapping) else None
    return Completion(
        prompt_id=prompt.id,
        text=answer,
        reasoning=thought,
        reasoning_tokens=count,
        sample=sample,
        finish_reason=ends.get(choice.get("finish_reason"), "unknown"),
        n_tokens=tokens if isinstance(tokens, int) and tokens >= 0 else -1,
    )
