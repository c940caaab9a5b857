"""LoRA reward models: a base model, an adapter, and a head that the adapter must bring along.

TRL's ``RewardTrainer`` with PEFT saves the head only with ``modules_to_save=["score"]``; without it the
head would be random each time it is loaded.
"""

from __future__ import annotations

import hashlib
import re
from importlib.util import find_spec
from typing import Any

from rm_monitor.errors import ScorerError
from rm_monitor.scorers.checkpoint import Checkpoint, open_checkpoint
from rm_monitor.scorers.families.bradley_terry import LinearHead, skipped_token
from rm_monitor.scorers.heads.columns import choose, scale_of
from rm_monitor.scorers.options import Options
from rm_monitor.scorers.reads import CHAT, COMMON, LABELS
from rm_monitor.scorers.run import networks
from rm_monitor.scorers.run.assemble import encoding_for, put_together
from rm_monitor.scorers.run.pointwise import PointwiseScorer
from rm_monitor.scorers.run.readers import HiddenReader

__all__ = ["READS", "build"]

READS = COMMON | CHAT | LABELS | {"pooling"}

HEAD = re.compile(r"(base_model\.model\.)?score(\.modules_to_save)?(\.default)?\.weight")


def build(checkpoint: Checkpoint, options: Options) -> PointwiseScorer:
    """A decoder with ``score.weight`` whose adapter is merged into its weights.

    Raises:
        ScorerError: If PEFT is not installed, or neither adapter nor base has a head.
    """
    base = open_checkpoint(_base_of(checkpoint))
    source, head_name = _head_of(checkpoint, base)
    weight = source.read([head_name])[head_name]
    columns = choose(source, options, len(weight))
    own_tokenizer = (checkpoint.folder / "tokenizer_config.json").is_file()
    tokenizer = networks.tokenizer_for(options, checkpoint if own_tokenizer else base)
    encoding = encoding_for(tokenizer, options, name=checkpoint.name)
    skip, notes = skipped_token(encoding, networks.pad_token_of(base), options)
    model = _merged(checkpoint, base, options, labels=len(weight))
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
        head=LinearHead(weight, columns=columns, scale=scale_of(columns, options), skip=skip),
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
        'would be random: train with `modules_to_save=["score"]` (or task_type SEQ_CLS) and save again'
    )


def _merged(adapter: Checkpoint, base: Checkpoint, options: Options, *, labels: int) -> Any:
    """The base's decoder with the adapter merged into it; PEFT knows every variant of doing so."""
    if find_spec("peft") is None:
        raise ScorerError(f"{adapter.name!r} is a PEFT adapter: install peft")
    from peft import PeftModel  # noqa: PLC0415  only adapters need it

    whole = networks.classifier_without_head(base, options, labels=labels)
    merged = PeftModel.from_pretrained(whole, adapter.folder).merge_and_unload()
    return getattr(merged, merged.base_model_prefix).requires_grad_(False).eval()
