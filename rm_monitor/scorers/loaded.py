"""A reward model the user has already loaded."""

from __future__ import annotations

from typing import Any

import torch

from rm_monitor.errors import ScorerError
from rm_monitor.scorers.detect import PROCESS, rates_steps
from rm_monitor.scorers.families.bradley_terry import LinearHead, skipped_token
from rm_monitor.scorers.families.text_pair import LabelHead
from rm_monitor.scorers.heads.columns import Columns, label_names, scale_of
from rm_monitor.scorers.options import Options
from rm_monitor.scorers.reads import CHAT, COMMON, LABELS
from rm_monitor.scorers.run import networks
from rm_monitor.scorers.run.assemble import encoding_for, put_together
from rm_monitor.scorers.run.parts import Head, Reader
from rm_monitor.scorers.run.pointwise import PointwiseScorer
from rm_monitor.scorers.run.readers import HiddenReader, LogitsReader

__all__ = ["READS", "build"]

READS = (COMMON - {"dtype", "device", "revision"}) | CHAT | LABELS | {"pooling"}


def build(model: Any, options: Options) -> PointwiseScorer:
    """A scorer around a loaded ``*ForSequenceClassification`` model, PEFT-wrapped or not.

    The model is not copied, and its weights are named once, now: a model that is still being trained is not
    a frozen judge.

    Raises:
        ValueError: If no tokenizer is given.
        ScorerError: If it has no reward head.
    """
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    name = options.name or str(getattr(inner, "name_or_path", "") or type(inner).__name__)
    config = getattr(inner, "config", None)
    if config is None:
        raise ScorerError(
            f"{name!r} is a module without a transformers config: give a function or a Scorer instead"
        )
    if rates_steps({"architectures": [type(inner).__name__]}):
        raise ScorerError(f"{name!r} cannot be scored here: {PROCESS}")
    tokenizer = networks.tokenizer_for(options)
    identity = networks.identity_of(inner, networks.state_digest(inner.state_dict()), type(inner).__name__)
    head = _linear(getattr(inner, "score", None))
    encoder = head is None and hasattr(inner, "classifier")
    if head is None and not encoder:
        raise ScorerError(
            f"{name!r} ({type(inner).__name__}) has no `score` or `classifier` head: pass the model's "
            "folder or id, so that "
            "its kind can be detected, or a function"
        )
    if encoder and options.pooling != "auto":
        raise ValueError("`pooling` says which token of a decoder is read, and this model is an encoder")
    count = len(head.weight) if head is not None else int(config.num_labels)
    columns = Columns.choose(
        count,
        names=label_names({"id2label": config.id2label}, count),
        index=options.index,
        weights=options.weights,
        model=repr(name),
    )
    scale = scale_of(columns, options)
    encoding = encoding_for(tokenizer, options, default="text_pair" if encoder else "chat", name=name)
    notes = ["given already loaded: the caller answers for how its head was made"]
    chosen: Head = LabelHead(columns=columns, scale=scale)
    reader: Reader = LogitsReader(inner, identity)
    if head is not None:
        skip, more = skipped_token(encoding, config.get_text_config().pad_token_id, options)
        notes += more
        chosen = LinearHead(head.weight, head.bias, columns=columns, scale=scale, skip=skip)
        reader = HiddenReader(getattr(inner, inner.base_model_prefix), identity)
    return put_together(
        PointwiseScorer,
        name=name,
        kind="text_pair" if encoder else "bradley_terry",
        options=options,
        encoding=encoding,
        reader=reader,
        head=chosen,
        limit=networks.longest_input(inner.config, tokenizer),
        notes=notes,
    )


def _linear(module: Any) -> torch.nn.Linear | None:
    """The linear layer of a decoder's head, out of PEFT's wrapper around it."""
    saved = getattr(module, "modules_to_save", None)
    if saved is not None:
        module = saved[
            module.active_adapter if isinstance(module.active_adapter, str) else module.active_adapter[0]
        ]
    return module if isinstance(module, torch.nn.Linear) else None
