"""What the name of a column says: part of the question, an answer, or neither."""

from __future__ import annotations

import re
from typing import Literal

__all__ = ["kind_of", "normal"]

Kind = Literal["question", "answer", "fact", "unknown"]

_QUESTION = """
prompt prompts instruction instructions question questions query queries input inputs context contexts ctx
system sys passage passages document documents doc docs article articles background history conversation
conversations messages dialog dialogue dialogs dialogues turns choices options image images picture video
videos audio audios speech tools functions hint hints premise hypothesis story paragraph table tables schema
knowledge shots fewshot demonstrations persona problem user evidence facts excerpt content request task
scenario situation attachment attachments files post utterance utterances memory profile material draft
"""
_SEEN = "image images picture video videos audio audios speech"
_ANSWER = """
answer answers completion completions response responses reply output outputs chosen rejected reference
references target targets label labels solution solutions rationale explanation gold truth generated
generation generations prediction predictions preferred nonpreferred winner correct incorrect best worst
summary assistant gpt
"""
_FACT = """
id ids uid uuid idx index name source category tag tags type kind lang language model score scores rank
rating len length tokens count num url link split subset dataset generator hash level difficulty topic
domain quality license author ability date time timestamp created style format version title key weight
epoch config configs setting settings sha path md5 embedding mask toxicity redacted flag
"""
_KINDS: dict[Kind, frozenset[str]] = {
    "answer": frozenset(_ANSWER.split()),
    "fact": frozenset(_FACT.split()),
    "question": frozenset(_QUESTION.split()),
}
_COUNTS = {"num", "n", "has", "is", "len", "count"}


def normal(name: str) -> str:
    """A column's name in lower case with ``_`` between its words.

    Example:
        >>> normal("System Prompt"), normal("systemPrompt")
        ('system_prompt', 'system_prompt')
    """
    return "_".join(re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())) or name


def kind_of(name: str) -> Kind:
    """By the words of a column's name; the last one that is known settles it.

    Example:
        >>> [kind_of(name) for name in ("system_message", "prompt_id", "answer", "answer_choices", "zeta")]
        ['question', 'fact', 'answer', 'question', 'unknown']
    """
    words = [re.sub(r"\d+$", "", word) or word for word in normal(name).split("_")]
    if set(_SEEN.split()) & set(words):
        return "question"
    if words[0] in _COUNTS:
        return "fact"
    for word in reversed(words):
        for kind, known in _KINDS.items():
            if word in known:
                return kind
    return "unknown"
