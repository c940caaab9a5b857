"""What a training row says of the format: the ids before an answer, and the answer's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rm_monitor.prompts.training_rows import columns, plain_ids

__all__ = ["Example", "conversation", "examples"]

_MASKS = ("completion_mask", "assistant_masks", "loss_mask")
_PROMPT_IDS = ("prompt_ids", "prompt_input_ids")
_ANSWER_IDS = ("chosen_ids", "completion_ids", "chosen_input_ids", "completion_input_ids")
_ANSWERS = ("completion", "chosen")
_CONVERSATIONS = ("messages", "prompt", "conversations", "conversation")
_LOOKED_AT = 512  # tokens of an answer


class Example(NamedTuple):
    """One training text.

    Attributes:
        before: Ids up to the answer; all of them where it is not known where the answer begins.
        answer: Its first ids and, at the end, what closes it; empty where that is not known.
        known: Whether the row says where the answer begins.
    """

    before: list[int]
    answer: list[int]
    known: bool


def examples(row: Any, tokenizer: Any) -> Iterator[Example]:
    """The texts of a row whose form training sees: token ids, or columns that are tokenised as they stand."""
    cells = columns(row)
    ids = plain_ids(cells.get("input_ids"))
    if ids:
        yield from _of_ids(ids, cells)
        return
    prompt = next((found for name in _PROMPT_IDS if (found := plain_ids(cells.get(name)))), [])
    if prompt:
        answer = next((found for name in _ANSWER_IDS if (found := plain_ids(cells.get(name)))), [])
        yield Example(prompt, answer, known=True)
    elif plain_ids(cells.get("chosen_input_ids")):
        chosen = {"labels": cells.get("chosen_labels")}
        yield from _of_ids(plain_ids(cells["chosen_input_ids"]), chosen)
    elif isinstance(cells.get("prompt"), str):
        said = next((cells[name] for name in _ANSWERS if isinstance(cells.get(name), str)), "")
        yield Example(_open(tokenizer, cells["prompt"]), _ids(tokenizer, said), known=True)
    elif isinstance(cells.get("text"), str):
        yield Example(list(tokenizer(cells["text"])["input_ids"]), [], known=False)


def conversation(row: Any) -> list[Mapping[str, Any]]:
    """The turns of a row that the trainer renders itself, with the tokenizer's chat template; else empty."""
    cells = columns(row)
    if "input_ids" in cells or any(name in cells for name in _PROMPT_IDS):
        return []
    for name in _CONVERSATIONS:
        turns = cells.get(name)
        if isinstance(turns, (list, tuple)) and turns and isinstance(turns[0], Mapping):
            return list(turns)
    return []


def _of_ids(ids: list[int], cells: Mapping[str, Any]) -> Iterator[Example]:
    mask = _mask(ids, cells)
    seen = plain_ids(cells.get("attention_mask"))
    for start, end in _texts(ids, cells):
        if len(seen) == len(ids):  # padding is no text
            start = next((i for i in range(start, end) if seen[i]), end)
            end = next((i for i in range(end, start, -1) if seen[i - 1]), start)
        if mask is None:
            yield Example(ids[start:end], [], known=False)
            continue
        first = next((i for i in range(start, end) if mask[i]), None)
        if first is None:
            continue
        last = next((i for i in range(first, end) if not mask[i]), end)
        if first == start:  # everything is learned: padding alone is masked
            yield Example(ids[start:last], [], known=False)
        else:
            answer = ids[first:last]
            yield Example(ids[start:first], [*answer[:_LOOKED_AT], *answer[_LOOKED_AT:][-8:]], known=True)


def _mask(ids: Sequence[int], cells: Mapping[str, Any]) -> list[bool] | None:
    """Which ids are learned; None: all."""
    labels = plain_ids(cells.get("labels"))
    if len(labels) == len(ids) and -100 in labels:
        return [label != -100 for label in labels]
    for name in _MASKS:
        mask = plain_ids(cells.get(name))
        if len(mask) == len(ids) and any(mask):
            return [bool(learned) for learned in mask]
    return None


def _texts(ids: Sequence[int], cells: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    """Where each text of a packed row begins and ends."""
    starts = [0]
    lengths = plain_ids(cells.get("seq_lengths"))
    places = plain_ids(cells.get("position_ids"))
    if sum(lengths) == len(ids):
        for length in lengths[:-1]:
            starts.append(starts[-1] + length)
    elif len(places) == len(ids):
        starts = [0, *(i for i in range(1, len(ids)) if places[i] == 0)]
    yield from zip(starts, [*starts[1:], len(ids)], strict=True)


def _open(tokenizer: Any, text: str) -> list[int]:
    """Ids of a text that goes on: without the end token that some tokenizers put after every text."""
    ids = list(tokenizer(text)["input_ids"])
    while len(ids) > 1 and ids[-1] == tokenizer.eos_token_id:
        ids.pop()
    return ids


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
