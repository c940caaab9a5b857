"""LoRA reward models: a base model, an adapter, and a head that the adapter must bring along.

TRL's ``RewardTrainer`` with PEFT saves the head only with ``modules_to_save=["score"]``; without it the
head would be random each time it is loaded. LLaMA-Factory saves a value head beside the adapter.
"""

from __future__ import annotations

import hashlib
import re
from importlib.util import find_spec
from typing import Any

from rm_monitor.errors import ScorerError
from rm_monitor.scorers.checkpoint import VALUE_HEAD, Checkpoint, open_checkpoint
from rm_monitor.scorers.families.bradley_terry import LinearHead, skipped_token
from rm_monitor.scorers.families.grm import value_head
from rm_monitor.scorers.heads.columns import choose, scale_of
from rm_monitor.scorers.options import Options
from rm_monitor.scorers.reads import CHAT, COMMON, LABELS
from rm_monitor.scorers.run import networks
from rm_monitor.scorers.run.assemble import encoding_for, put_together
from rm_monitor.scorers.run.parts import Head
from rm_monitor.scorers.run.pointwise import PointwiseScorer
from rm_monitor.scorers.run.readers import HiddenReader

__all__ = ["READS", "build"]

READS = COMMON | CHAT | LABELS | {"pooling"}

SUMMARY = "v_head.summary"  # LLaMA-Factory's head, in a file of its own
HEAD = re.compile(r"(base_model\.model\.)?score(\.modules_to_save)?(\.default)?\.weight")


def build(checkpoint: Checkpoint, options: Options) -> PointwiseScorer:
    """A decoder with ``score.weight`` whose adapter is merged into its weights.

    Raises:
        ScorerError: If PEFT is not installed, or neither adapter nor base has a head.
    """
    base = open_checkpoint(_base_of(checkpoint))
    valued = any(name.startswith(SUMMARY) for name in checkpoint.tensors)
    own_tokenizer = (checkpoint.folder / "tokenizer_config.json").is_file()
    tokenizer = networks.tokenizer_for(options, checkpoint if own_tokenizer else base)
    encoding = encoding_for(tokenizer, options, name=checkpoint.name)
    notes: list[str] = []
    head: Head
    if valued:
        if options.pooling != "auto":
            raise ValueError("`pooling` is for heads of transformers; a value head is read at the last token")
        head, labels = value_head(checkpoint, options, checkpoint.read_starting(SUMMARY)), None
    else:
        source, head_name = _head_of(checkpoint, base)
        weight = source.read([head_name])[head_name]
        columns, labels = choose(source, options, len(weight)), len(weight)
        skip, notes = skipped_token(encoding, networks.pad_token_of(base), options)
        head = LinearHead(weight, columns=columns, scale=scale_of(columns, options), skip=skip)
    model = _merged(checkpoint, base, options, labels=labels)
    digests = f"{base.weights_digest()}+{checkpoint.weights_digest()}+{checkpoint.config_digest()}"
    weights = hashlib.blake2b(digests.encode(), digest_size=16).hexdigest()
    identity = networks.identity_of(model, weights, base.config_digest())
    return put_together(
        PointwiseScorer,
        name=options.name or checkpoint.name,
        kind="lora",
        options=options,
        encoding=encoding,
        reader=HiddenReader(model, {**identity, "adapter": f"{checkpoint.config['peft_type']}, merged"}),
        head=head,
        limit=networks.longest_input(model.config, tokenizer),
        notes=[f"an adapter of {base.name}", *notes],
    )


def _base_of(checkpoint: Checkpoint) -> str:
    name = checkpoint.config.get("base_model_name_or_path")
    if not name:
        raise ScorerError(f"{checkpoint.name!r} is an adapter that does not name its base model")
    return str(name)


def _head_of(adapter: Checkpoint, base: Checkpoint) -> tuple[Checkpoint, str]:
    found = next((name for name in adapter.tensors if HEAD.fullmatch(name)), None)
    if found is not None:
        return adapter, found
    if "score.weight" in base.tensors:
        return base, "score.weight"
    raise ScorerError(
        f"the adapter {adapter.name!r} was saved without its reward head and its base {base.name!r} has "
        "none, so the head "
        'would be random: train with `modules_to_save=["score"]` (or task_type SEQ_CLS) and save again; '
        f"LLaMA-Factory's is in {VALUE_HEAD}, which belongs beside the adapter"
    )


def _merged(adapter: Checkpoint, base: Checkpoint, options: Options, *, labels: int | None) -> Any:
    """The base's decoder with the adapter merged into it; PEFT knows every variant of doing so.

    Args:
        adapter: The adapter.
        base: The model it was trained on.
        options: What the user said.
        labels: Of the classifier it was trained as; None: it was trained as a language model.
    """
    if find_spec("peft") is None:
        raise ScorerError(f"{adapter.name!r} is a PEFT adapter: install peft")
    from peft import PeftModel  # noqa: PLC0415  only adapters need it

    if labels is None:
        whole = networks.language_model(base, options)
    else:
        whole = networks.classifier_without_head(base, options, labels=labels)
    merged = PeftModel.from_pretrained(whole, adapter.folder).merge_and_unload()
    return getattr(merged, merged.base_model_prefix).requires_grad_(False).eval()
