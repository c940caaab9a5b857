"""A pointwise scorer from a checkpoint, put together the same way for every decoder family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from rm_monitor.errors import ScorerError
from rm_monitor.scorers.checkpoint import Checkpoint
from rm_monitor.scorers.describe import EXAMPLE
from rm_monitor.scorers.options import Options
from rm_monitor.scorers.run import networks
from rm_monitor.scorers.run.parts import Head, Reader
from rm_monitor.scorers.run.pointwise import PointwiseScorer
from rm_monitor.scorers.run.readers import HiddenReader
from rm_monitor.scorers.text.encodings import ChatEncoding, Encoding, PairEncoding, TextEncoding
from rm_monitor.types import Message

__all__ = ["chat_encoding", "decoder_scorer", "encoding_for", "put_together"]


S = TypeVar("S")


def decoder_scorer(
    checkpoint: Checkpoint,
    options: Options,
    *,
    kind: str,
    encoding: Encoding,
    head: Head,
    notes: Sequence[str] = (),
) -> PointwiseScorer:
    """A decoder read at some tokens by a head of ours.

    Args:
        checkpoint: Where the weights are.
        options: What the user said.
        kind: The family.
        encoding: Its input format.
        head: What reads the score.
        notes: What a person should know.
    """
    model = networks.decoder(checkpoint, options)
    identity = networks.identity_of(model, checkpoint.weights_digest(), checkpoint.config_digest())
    return put_together(
        PointwiseScorer,
        name=options.name or checkpoint.name,
        kind=kind,
        options=options,
        encoding=encoding,
        reader=HiddenReader(model, identity),
        head=head,
        limit=networks.longest_input(model.config, encoding.tokenizer),
        notes=notes,
    )


def chat_encoding(checkpoint: Checkpoint, options: Options) -> Encoding:
    """The chat template of the reward model's own tokenizer, or the input format the user names."""
    return encoding_for(networks.tokenizer_for(options, checkpoint), options, name=checkpoint.name)


def encoding_for(
    tokenizer: Any, options: Options, *, default: str = "chat", name: str = "the reward model"
) -> Encoding:
    """The input format the user names, else the family's default."""
    wanted = options.input_format or default
    if wanted != "chat" and (options.chat_template is not None or options.bos != "template"):
        option = "chat_template" if options.chat_template is not None else "bos"
        raise ValueError(
            f"`{option}` is read with input_format='chat' only; the input format of {name!r} is {wanted!r}"
        )
    match wanted:
        case "text_pair":
            return PairEncoding(tokenizer)
        case "plain":
            return TextEncoding(tokenizer, write=running_text, name="plain")
        case _:
            return ChatEncoding.of(tokenizer, template=options.chat_template, bos=options.bos, name=name)


def put_together(
    scorer: Callable[..., S],
    *,
    options: Options,
    encoding: Encoding,
    reader: Reader,
    head: Head,
    limit: int | None,
    answers: int = 1,
    **parts: Any,
) -> S:
    """The scorer, on the device its network is on.

    Args:
        scorer: Its class.
        options: What the user said.
        encoding: Its input format.
        reader: Its network.
        head: What reads the score.
        limit: The most tokens it reads; None: no limit is known.
        answers: How many an input holds.
        **parts: Name, kind and notes.
    """
    device = next(reader.model.parameters()).device
    head.to(device)
    vocabulary = networks.vocabulary_size(reader.model)
    formatter = options.formatter(encoding, limit=limit, vocabulary=vocabulary)
    if refused := formatter.refuses(EXAMPLE, answers=answers):
        raise ScorerError(f"{parts.get('name', 'the reward model')!r} cannot be given any input: {refused}")
    return scorer(
        formatter=formatter,
        reader=reader,
        head=head,
        batcher=options.batcher(
            encoding.tokenizer, vocabulary=vocabulary, switch=networks.rope_switch(reader.model)
        ),
        device=device,
        temperature=options.temperature,
        **parts,
    )


def running_text(messages: Sequence[Message], answer: str) -> str:
    """Prompt and answer one after the other, as TRL trains on data without conversations.

    Example:
        >>> running_text([{"role": "user", "content": "The sky is"}], " blue.")
        'The sky is blue.'
    """
    return "\n\n".join(m["content"] for m in messages) + answer
