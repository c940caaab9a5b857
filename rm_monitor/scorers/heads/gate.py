"""Where ArmoRM and its descendants read the prompt: the token that closes the last user turn."""

from __future__ import annotations

from collections.abc import Sequence

from rm_monitor.errors import ScorerError
from rm_monitor.scorers.describe import ANSWER, EXAMPLE
from rm_monitor.scorers.text.encodings import Encoding

__all__ = ["gate_pattern", "last_occurrence"]

# The end of a user turn and the header of the answer, in the templates these models are trained with.
# Their line ends are left out: an answer that begins with a line end may merge with them.
OPENINGS = (
    "<|eot_id|><|start_header_id|>assistant<|end_header_id|>",
    "<end_of_turn>\n<start_of_turn>model",
)


def gate_pattern(encoding: Encoding, name: str) -> tuple[int, ...]:
    """The ids before an answer at whose first one the gate is read.

    Raises:
        ScorerError: If the template does not write them before the answer, or writes them after it too.
    """
    ids = encoding(EXAMPLE, ANSWER).ids
    for opening in OPENINGS:
        pattern = tuple(encoding.tokenizer(opening, add_special_tokens=False)["input_ids"])
        found = last_occurrence(ids, pattern)
        if found is None:
            continue
        if not encoding.tokenizer.decode(ids[found + len(pattern) :]).strip():
            raise ScorerError(
                f"the chat template of {name!r} opens a new assistant turn after the answer, and the "
                "gate would be read "
                "there: pass `chat_template=` without it"
            )
        return pattern
    raise ScorerError(
        f"the chat template of {name!r} writes none of the headers its gate is read at "
        f"({' or '.join(map(repr, OPENINGS))}): pass `tokenizer=` or `chat_template=`"
    )


def last_occurrence(ids: Sequence[int], pattern: Sequence[int]) -> int | None:
    """Where the pattern begins for the last time; None if nowhere.

    Example:
        >>> last_occurrence([1, 2, 3, 1, 2], [1, 2]), last_occurrence([1], [1, 2])
        (3, None)
    """
    size = len(pattern)
    for start in range(len(ids) - size, -1, -1):
        if tuple(ids[start : start + size]) == tuple(pattern):
            return start
    return None
