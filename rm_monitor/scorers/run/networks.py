"""Networks and tokenizers from a checkpoint: weights and config only, no code of its own, dtype stated."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from transformers import (
    CONFIG_MAPPING,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from rm_monitor.errors import ScorerError
from rm_monitor.scorers.checkpoint import Checkpoint
from rm_monitor.scorers.options import Options
from rm_monitor.scorers.run.rounding import computes_bfloat16
from rm_monitor.scorers.text.encodings import own_copy

__all__ = [
    "classifier_without_head",
    "decoder",
    "encoder",
    "first_position",
    "identity_of",
    "language_model",
    "longest_input",
    "pad_token_of",
    "place",
    "rope_switch",
    "state_digest",
    "tokenizer_for",
    "vocabulary_size",
]

_UNBOUNDED = 10**9  # transformers' way to say that a tokenizer knows no limit


def decoder(checkpoint: Checkpoint, options: Options, *, prefix: str = "") -> Any:
    """The network without any head: a head that is not there cannot be random.

    Args:
        checkpoint: Where the weights are.
        options: What the user said.
        prefix: What the names of its tensors begin with, where transformers would not expect it.
    """
    mapping: dict[str, Any] = {"key_mapping": {rf"^{re.escape(prefix)}": ""}} if prefix else {}
    return _load(AutoModel, checkpoint, options, **mapping)


def encoder(checkpoint: Checkpoint, options: Options) -> Any:
    """The network with its own classifier."""
    return _load(AutoModelForSequenceClassification, checkpoint, options)


def language_model(checkpoint: Checkpoint, options: Options) -> Any:
    """The network with its vocabulary head."""
    return _load(AutoModelForCausalLM, checkpoint, options)


def classifier_without_head(checkpoint: Checkpoint, options: Options, *, labels: int) -> Any:
    """The network with an empty ``score`` head, for an adapter that brings its own."""
    return _load(
        AutoModelForSequenceClassification, checkpoint, options, num_labels=labels, headless=("score.weight",)
    )


def tokenizer_for(options: Options, checkpoint: Checkpoint | None = None) -> Any:
    """The reward model's own tokenizer: the given one as a copy, else the one in its folder.

    Raises:
        ScorerError: If there is none.
    """
    given = options.tokenizer
    if given is not None and not isinstance(given, str):
        return own_copy(given)
    source = given or (checkpoint.folder if checkpoint else None)
    if source is None:
        raise ValueError("a loaded model does not know its tokenizer: pass `tokenizer=`")
    try:
        return AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except Exception as error:  # missing files, a missing extra, a class that is code in the repository
        raise ScorerError(
            f"no tokenizer could be loaded from {str(source)!r}: {error}. Pass `tokenizer=`"
        ) from error


def place(options: Options, stored: str, *, small: bool = False) -> tuple[torch.dtype, torch.device]:
    """Where a network goes and in which dtype.

    float32 for encoders, which are small, and on a CPU, but for bfloat16 weights on one that multiplies such
    numbers itself; elsewhere as it is stored; always what the user says.
    """
    if options.device is not None and options.device != "auto":
        device = torch.device(options.device)
    elif torch.accelerator.is_available():
        kind = torch.accelerator.current_accelerator()
        device = torch.device(kind.type if kind else "cpu", torch.accelerator.current_device_index())
    else:
        device = torch.device("cpu")
    dtype = options.dtype
    if dtype is None:
        as_stored = device.type != "cpu" or (stored == "bfloat16" and computes_bfloat16())
        dtype = stored if as_stored and not small else torch.float32
    if isinstance(dtype, str):
        dtype = getattr(torch, dtype.removeprefix("torch."), None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ValueError(f"`dtype` must be a floating point dtype such as 'bfloat16', got {options.dtype!r}")
    return dtype, device


def longest_input(config: Any, tokenizer: Any) -> int | None:
    """The most tokens it reads: the smaller of positions and tokenizer's limit; None if unknown."""
    text = config.get_text_config()
    positions = getattr(text, "max_position_embeddings", None)
    if positions:
        positions -= first_position(text)
    limits = [n for n in (positions, tokenizer.model_max_length) if n is not None and 0 < n < _UNBOUNDED]
    return min(limits, default=None)


def _each(model: Any) -> list[Any]:
    """The network, or each of several."""
    return list(model) if isinstance(model, torch.nn.ModuleList) else [model]


def vocabulary_size(model: Any) -> int | None:
    """How many tokens a network, or each of several, has an embedding for; None if that cannot be told."""
    sizes: list[int] = []
    for one in _each(model):
        table = one.get_input_embeddings() if hasattr(one, "get_input_embeddings") else None
        weight = getattr(table, "weight", None)
        if weight is not None and weight.ndim == 2:
            sizes.append(int(weight.shape[0]))
    return min(sizes, default=None)


def rope_switch(model: Any) -> int | None:
    """The length above which a network rotates all of its positions in another way; None if it never does.

    LongRoPE (Phi-3.5, Phi-4-mini) has frequencies for short and for long inputs, and transformers takes those
    of the longest row of a batch for all of them.
    """
    for one in _each(model):
        config = one.config.get_text_config()
        rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
        for rules in [rope, *rope.values()]:  # of the model, or of each kind of layer
            if isinstance(rules, Mapping) and rules.get("rope_type", rules.get("type")) == "longrope":
                told = rules.get("original_max_position_embeddings") or getattr(
                    config, "original_max_position_embeddings", None
                )
                return int(told) if told else int(config.max_position_embeddings)
    return None


def first_position(config: Any) -> int:
    """The position of a first token: RoBERTa's positions start behind the padding's."""
    behind = config.model_type in ("roberta", "xlm-roberta", "camembert", "longformer")
    return (config.pad_token_id or 0) + 1 if behind else 0


def identity_of(model: Any, weights: str, config: str) -> dict[str, str]:
    """What a network's numbers depend on."""
    quantised = getattr(model.config, "quantization_config", None)
    dtypes = {str(p.dtype).removeprefix("torch.") for p in model.parameters() if p.is_floating_point()}
    return {
        "weights": weights,
        "config": config,
        "dtype": "+".join(sorted(dtypes)),
        "attention": str(getattr(model.config.get_text_config(), "_attn_implementation", "unknown")),
        **({"quantised": str(quantised)} if quantised else {}),
    }


def state_digest(state: Mapping[str, torch.Tensor]) -> str:
    """Names weights that are in memory, by their content."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(state.items()):
        digest.update(f"{name}:{tensor.dtype}:{list(tensor.shape)}".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def pad_token_of(checkpoint: Checkpoint) -> int | None:
    """The padding token as transformers' own pooling reads it: of the text part, defaults filled in."""
    pad: int | None = _config(checkpoint).get_text_config().pad_token_id
    return pad


def _config(checkpoint: Checkpoint) -> Any:
    kind = checkpoint.config.get("model_type")
    if kind not in CONFIG_MAPPING:
        raise ScorerError(
            f"{checkpoint.name!r} is of type {kind!r}, which transformers {transformers.__version__} "
            "does not know. Code "
            "that comes with a model is never run here: serve it and give the URL, or give a function"
        )
    facts = {k: v for k, v in checkpoint.config.items() if k != "auto_map" and not k.startswith("_attn")}
    return CONFIG_MAPPING[kind].from_dict(facts)


def _load(
    auto: Any,
    checkpoint: Checkpoint,
    options: Options,
    *,
    headless: Sequence[str] = (),
    num_labels: int | None = None,
    **more: Any,
) -> Any:
    small = auto is AutoModelForSequenceClassification and not headless
    dtype, device = place(options, checkpoint.dtype, small=small)
    if options.device == "auto":
        more["device_map"] = "auto"
    elif device.type != "cpu":
        more["device_map"] = {"": device}
    config = _config(checkpoint)
    if num_labels is not None:
        config.num_labels = num_labels
    try:
        with _quietly():
            model, info = auto.from_pretrained(
                checkpoint.folder,
                config=config,
                dtype=dtype,
                trust_remote_code=False,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                **more,
            )
    except Exception as error:  # transformers has no common error for what can be wrong with a checkpoint
        raise ScorerError(f"{checkpoint.name!r} could not be loaded: {error}") from error
    absent = sorted(set(info["missing_keys"]) - set(headless))
    absent += sorted(str(key) for key in info.get("mismatched_keys", ()))
    if absent:
        raise ScorerError(
            f"{checkpoint.name!r} lacks {len(absent)} weight(s) its network needs "
            f"({', '.join(absent[:3])}), which would "
            "be random: it is not a complete reward model"
        )
    model.requires_grad_(False)
    return model.eval()


@contextmanager
def _quietly() -> Iterator[None]:
    """Load without warnings for heads we read ourselves, and without drawing random numbers."""
    logging = transformers.utils.logging
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        logging.set_verbosity(before)
