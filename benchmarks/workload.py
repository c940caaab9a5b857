"""What all benchmarks of this folder work on: a random policy whose answers end, prompts, real weights.

The random policy is a Llama of 18.9 M parameters (8 layers of 384, 6 query and 2 key heads, 16,384 words).
Random weights never say that they are done, so this one ends an answer where a hash of its last token and
position says so, once in 55 tokens: lengths have a mean of about 50 and a long tail, they are part of the
model, and every way of decoding meets the same ones.
"""

from __future__ import annotations

import json
import math
import os
import random
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from rm_monitor.types import Prompt

REAL = Path(os.environ.get("RM_MONITOR_REAL", "real/data"))  # texts that are not in the repository
WORDS, PAD, END, USER, ASSISTANT = 16_384, 0, 1, 2, 3
ONE_IN = 55


class Policy(LlamaForCausalLM):
    """A random Llama that ends its answers."""

    def forward(  # noqa: D102
        self, input_ids=None, position_ids=None, logits_to_keep=0, use_cache=None, **others: Any
    ):
        out = super().forward(
            input_ids=input_ids,
            position_ids=position_ids,
            logits_to_keep=logits_to_keep,
            use_cache=use_cache,
            **others,
        )
        if position_ids is None:  # whole rows without a cache
            position_ids = torch.arange(input_ids.shape[1], device=input_ids.device)[None]
        ids, places = input_ids, position_ids.expand_as(input_ids)
        if isinstance(logits_to_keep, torch.Tensor):
            ids, places = ids[:, logits_to_keep], places[:, logits_to_keep]
        elif logits_to_keep:
            ids, places = ids[:, -logits_to_keep:], places[:, -logits_to_keep:]
        done = ((ids * 2654435761 + places * 40503 + 977) >> 7) % ONE_IN == 0
        out.logits[..., END] = torch.where(done, 1e4, -1e4).to(out.logits.dtype)
        return out


def random_policy(*, small: bool = False, dtype: torch.dtype = torch.float32, seed: int = 0) -> Any:
    """The random policy; ``small``: one that tests can afford."""
    torch.manual_seed(seed)
    shape: dict[str, int] = (
        {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
        if small
        else {"hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 8}
    )
    config = LlamaConfig(
        vocab_size=WORDS,
        num_attention_heads=6 if not small else 4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        pad_token_id=PAD,
        eos_token_id=END,
        bos_token_id=None,
        **shape,
    )
    model = Policy(config).eval().to(dtype)
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim == 2:
                p.mul_(2.0)
    return model


def word_tokenizer() -> Any:
    """One token a word, with a chat template of one token before and one after."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"<pad>": PAD, "<end>": END, "<user>": USER, "<assistant>": ASSISTANT, "<unk>": 4}
    vocabulary |= {f"w{i}": i for i in range(5, WORDS)}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="<end>", unk_token="<unk>", padding_side="left"
    )
    tokenizer.chat_template = (
        "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }} {% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    return tokenizer


def random_prompts(n: int, seed: int = 0) -> list[Prompt]:
    """Prompts of 8 to 400 words, lognormal with a median of 55."""
    rng = random.Random(seed)
    prompts = []
    for i in range(n):
        size = min(400, max(8, round(55 * math.exp(0.8 * rng.gauss(0, 1)))))
        text = " ".join(f"w{rng.randrange(5, WORDS)}" for _ in range(size))
        prompts.append(Prompt(id=f"p{i}", messages=({"role": "user", "content": text},)))
    return prompts


def real_policy(folder: str, dtype: torch.dtype = torch.float32) -> tuple[Any, Any]:
    """A model from a folder, and its tokenizer."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    return model, AutoTokenizer.from_pretrained(folder)


def real_prompts(n: int, path: Path = REAL / "prompts.jsonl") -> list[Prompt]:
    """Prompts of a JSONL file."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [Prompt(id=r["id"], messages=({"role": "user", "content": r["prompt"]},)) for r in rows[:n]]


def answerer(
    folder: str | None, n: int, *, small: bool = False, dtype: torch.dtype = torch.float32
) -> tuple[Any, Any, list[Prompt]]:
    """Policy, tokenizer and ``n`` prompts: real ones of a folder, or random ones."""
    if folder:
        return *real_policy(folder, dtype), real_prompts(n)
    return random_policy(small=small, dtype=dtype), word_tokenizer(), random_prompts(n)
