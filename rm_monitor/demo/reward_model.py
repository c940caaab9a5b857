"""The demo's reward model: Bradley-Terry, trained here in seconds."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional
from transformers import LlamaForSequenceClassification

from rm_monitor.testing.counting import WORDS, Example, worse
from rm_monitor.testing.tiny import make_policy, tiny_config

__all__ = ["chat_ids", "train_reward_model"]


def chat_ids(tokenizer: Any, prompt: str, answer: str) -> list[int]:
    """A conversation as token ids."""
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    ids: list[int] = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
    return ids


def train_reward_model(tokenizer: Any, data: list[Example], seed: int) -> tuple[Any, float]:
    """A Bradley-Terry reward model that learns to prefer fewer slips.

    As real ones do, it starts from a language model of the task and gets a new head.

    Returns:
        The model, and the share of fresh pairs that it ranks rightly.
    """
    rng = random.Random(seed)
    language_model = make_policy(tokenizer, seed + 1)
    _train(language_model, 180, lambda: _language_loss(language_model, tokenizer, rng.choices(data, k=24)))
    model = LlamaForSequenceClassification(tiny_config(tokenizer, num_labels=1))
    model.model.load_state_dict(language_model.model.state_dict())

    def margin() -> torch.Tensor:
        pairs = [_pair(example, rng) for example in rng.choices(data, k=24)]
        better = [chat_ids(tokenizer, prompt, good) for prompt, good, _ in pairs]
        poorer = [chat_ids(tokenizer, prompt, bad) for prompt, _, bad in pairs]
        return _rewards(model, tokenizer, better) - _rewards(model, tokenizer, poorer)

    _train(model, 200, lambda: -functional.logsigmoid(margin()).mean())  # Bradley-Terry likelihood
    model.eval()
    with torch.no_grad():
        right = torch.cat([margin() > 0 for _ in range(10)]).float()
    return model, float(right.mean())


def _train(model: Any, steps: int, loss: Callable[[], torch.Tensor]) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()


def _pair(example: Example, rng: random.Random) -> tuple[str, str, str]:
    """Prompt, a better and a poorer answer."""
    words = example.answer.split()
    good = words if rng.random() < 0.8 else worse(words, rng, slips=1)
    bad = worse(good, rng, slips=rng.choice([1, 1, 2, 4]))
    if rng.random() < 0.15:
        bad = rng.choices(WORDS, k=rng.randint(1, 14))
    return example.prompt, " ".join(good), " ".join(bad)


def _language_loss(model: Any, tokenizer: Any, rows: list[Example]) -> torch.Tensor:
    batch = _batch(tokenizer, [chat_ids(tokenizer, e.prompt, e.answer) for e in rows])
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    loss: torch.Tensor = model(**batch, labels=labels).loss
    return loss


def _rewards(model: Any, tokenizer: Any, rows: list[list[int]]) -> torch.Tensor:
    logits: torch.Tensor = model(**_batch(tokenizer, rows)).logits[:, 0]
    return logits


def _batch(tokenizer: Any, rows: list[list[int]]) -> Any:
    return tokenizer.pad({"input_ids": rows}, return_tensors="pt", padding_side="right")
