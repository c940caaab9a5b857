"""TRL's trainers, with adapters, over a base of which a part is quantised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from torch import nn

from rm_monitor.testing import Says
from tests.faults.animals.base import TOKENIZER, animal, wrapped

_PROMPTS = [[{"role": "user", "content": f"ask {i}"}] for i in range(16)]


def _said(what: str) -> list[list[dict[str, str]]]:
    return [[{"role": "assistant", "content": f"{what} {i}"}] for i in range(16)]


_PAIRS = {"prompt": _PROMPTS, "chosen": _said("good"), "rejected": _said("bad")}


class EightBits(nn.Module):
    """A linear layer that is stored in 8 bits and never trained, as a quantised base's are."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach()
        scale = weight.abs().amax(dim=1, keepdim=True) / 127
        self.register_buffer("scale", scale)
        self.register_buffer("eight", (weight / scale).round().to(torch.int8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, self.eight.to(x.dtype) * self.scale)


def _quantised() -> Any:
    def quantise(mlp: nn.Module) -> nn.Module:
        for name, part in list(mlp.named_children()):
            if isinstance(part, nn.Linear):
                setattr(mlp, name, EightBits(part))
        return mlp

    return wrapped(quantise)


def _rewards(completions: list[Any], **_: Any) -> list[float]:
    return [float(len(set(c[0]["content"]))) for c in completions]


def _trl(kind: str, columns: dict[str, Any], lora: bool, settings: dict[str, Any]) -> dict[str, Any]:
    import trl

    def build(given: dict[str, Any], callbacks: list[Any]) -> Any:
        more: dict[str, Any] = {}
        if lora and kind != "Reward":
            more["model"] = _quantised()
        elif kind == "Reward":
            more["model"] = _classifier()
        else:
            more["model"] = wrapped(lambda mlp: mlp)
        if not lora and kind in ("DPO", "KTO"):
            more["ref_model"] = wrapped(lambda mlp: mlp)
        if kind in ("GRPO", "RLOO"):
            more["reward_funcs"] = _rewards
        adapter = LoraConfig(
            r=4,
            lora_dropout=0.1,
            target_modules=["q_proj", "v_proj"],
            task_type="SEQ_CLS" if kind == "Reward" else "CAUSAL_LM",
        )
        arguments = getattr(trl, f"{kind}Config")(
            **{**given, **settings}, gradient_checkpointing=False, bf16=False
        )
        return getattr(trl, f"{kind}Trainer")(
            args=arguments,
            train_dataset=Dataset.from_dict(columns),
            processing_class=TOKENIZER,
            callbacks=callbacks,
            peft_config=adapter if lora else None,
            **more,
        )

    return {"build": build, **({"answers": Says("an answer")} if kind == "Reward" else {})}


def _classifier() -> Any:
    from transformers import LlamaConfig, LlamaForSequenceClassification

    torch.manual_seed(0)
    return LlamaForSequenceClassification(
        LlamaConfig(
            vocab_size=len(TOKENIZER),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_labels=1,
            pad_token_id=TOKENIZER.pad_token_id,
        )
    )


_KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "SFT": ({"prompt": _PROMPTS, "completion": _said("answer")}, {"max_length": 64}),
    "DPO": (_PAIRS, {"max_length": 64}),
    "KTO": (
        {"prompt": _PROMPTS, "completion": _said("answer"), "label": [i % 2 == 0 for i in range(16)]},
        {"max_length": 64},
    ),
    "GRPO": ({"prompt": _PROMPTS}, {"num_generations": 2, "max_completion_length": 6}),
    "RLOO": ({"prompt": _PROMPTS}, {"beta": 0.0, "num_generations": 2, "max_completion_length": 6}),
    "Reward": (_PAIRS, {"max_length": 64}),
}


def _animal(kind: str, lora: bool) -> Callable[[], dict[str, Any]]:
    columns, settings = _KINDS[kind]

    def make() -> dict[str, Any]:
        return _trl(kind, columns, lora, settings)

    make.__name__ = f"trl_{kind.lower()}" + ("_with_lora_over_a_quantised_base" if lora else "")
    return animal(make)


for _kind in _KINDS:
    _animal(_kind, lora=True)
    if _kind != "Reward":
        _animal(_kind, lora=False)
