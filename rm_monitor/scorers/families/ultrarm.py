"""UltraRM and Eurus-RM: a linear ``regression_head`` on the last token of a plain text.

UltraRM (a Llama) reads ``Human: ... Assistant: ...``, Eurus-RM (a Mistral) ``[INST] ... [/INST] ...``; both
after a beginning-of-sequence token and without an end token, as on their model cards.
"""

from __future__ import annotations

from collections.abc import Sequence

from rm_monitor.scorers.checkpoint import Checkpoint
from rm_monitor.scorers.families.bradley_terry import LinearHead
from rm_monitor.scorers.heads.columns import choose, scale_of
from rm_monitor.scorers.options import Options
from rm_monitor.scorers.reads import CHAT, COMMON, LABELS
from rm_monitor.scorers.run import networks
from rm_monitor.scorers.run.assemble import decoder_scorer, encoding_for
from rm_monitor.scorers.run.pointwise import PointwiseScorer
from rm_monitor.scorers.text.encodings import Encoding, TextEncoding
from rm_monitor.types import Message

__all__ = ["READS", "build", "eurus_text", "ultrarm_text"]

READS = COMMON | CHAT | LABELS


def ultrarm_text(messages: Sequence[Message], answer: str) -> str:
    r"""UltraRM's format.

    Example:
        >>> ultrarm_text([{"role": "user", "content": "Hi"}], "Hello")
        'Human: Hi\n\nAssistant: Hello'
    """
    names = {"user": "Human: ", "assistant": "Assistant: "}
    turns = [names.get(m["role"], "") + m["content"] for m in messages]
    return "\n\n".join([*turns, f"Assistant: {answer}"])


def eurus_text(messages: Sequence[Message], answer: str) -> str:
    """Eurus-RM's format, that of Mistral-Instruct.

    Example:
        >>> eurus_text([{"role": "user", "content": "Hi"}], "Hello")
        '[INST] Hi [/INST] Hello'
    """
    text = ""
    for m in messages:
        text += f"{m['content']} " if m["role"] == "assistant" else f"[INST] {m['content']} [/INST] "
    return text + answer


def build(checkpoint: Checkpoint, options: Options) -> PointwiseScorer:
    """A scorer of this family."""
    weight = checkpoint.read(["regression_head.weight"])["regression_head.weight"]
    tokenizer = networks.tokenizer_for(options, checkpoint)
    encoding: Encoding
    if options.input_format or options.chat_template or options.bos != "template":
        encoding = encoding_for(tokenizer, options, name=checkpoint.name)
    elif checkpoint.config.get("model_type") == "mistral":
        encoding = TextEncoding(
            tokenizer, write=eurus_text, name="eurus", end=False, template="[INST][/INST]"
        )
    else:
        encoding = TextEncoding(tokenizer, write=ultrarm_text, name="ultrarm", end=False)
    columns = choose(checkpoint, options, len(weight))
    head = LinearHead(weight, columns=columns, scale=scale_of(columns, options))
    return decoder_scorer(checkpoint, options, kind="ultrarm", encoding=encoding, head=head)
