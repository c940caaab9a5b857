"""RM-R1 (arXiv 2505.02387): writes a rubric or a solution of its own, then which chatbot is better.

Its authors' prompts and layout of conversations: ``demo/demo.ipynb`` and
``rm_r1/dataset/mix_data/mix_data.py`` of github.com/RM-R1-UIUC/RM-R1 (d4c2542); the verdict as
``eval/reward-bench`` there reads it. A system turn, which they do not have, stands before the first
question.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rm_monitor.scorers.judge.published import digest_of, fill, prompts_of
from rm_monitor.scorers.judge.replies import double_brackets
from rm_monitor.scorers.judge.voices import Turns
from rm_monitor.scorers.options import Options
from rm_monitor.types import Prompt

__all__ = ["OPTIONS", "RMR1Question", "question"]

OPTIONS = frozenset({"judge_prompt"})
WHERE = "demo/demo.ipynb of github.com/RM-R1-UIUC/RM-R1"
LONGEST = 8192  # tokens of a reply, as in the demo
PROMPTS = {
    "rm_r1_instruct": {
        "INSTRUCT_SYSTEM_PROMPT": "283659c847f75c59",
        "INSTRUCT_SINGLE_USER_PROMPT_TEMPLATE": "ea45a0f30cb68b34",
        "INSTRUCT_MULTI_USER_PROMPT_TEMPLATE": "29880ee131b67706",
    },
    "rm_r1_reasoning": {
        "REASONING_SINGLE_PROMPT_TEMPLATE": "b1a328dfff08133c",
        "REASONING_MULTI_PROMPT_TEMPLATE": "9387ad03055476af",
    },
}


@dataclass(frozen=True, slots=True)
class RMR1Question:
    """What RM-R1 is asked.

    Attributes:
        kind: ``rm_r1_instruct``, with a system turn; ``rm_r1_reasoning``, the distilled models, without.
        single: For one question; holds ``{question}``, ``{answer_a}``, ``{answer_b}``.
        several: For a conversation; holds ``{conversation_1}``, ``{conversation_2}``.
        system: The system turn; empty for the reasoning models.
        max_tokens: Longest reply.
    """

    kind: str
    single: str
    several: str
    system: str = ""
    max_tokens: int = LONGEST
    markers: tuple[str, ...] = (
        "[The End of Chatbot A's Response]",
        "[The End of Chatbot B's Response]",
        "[The Start of Chatbot B's Response]",
        "[The End of the Conversation between Chatbot A and the Client]",
        "[The End of the Conversation between Chatbot B and the Client]",
    )

    @property
    def identity(self) -> Mapping[str, str]:
        """The texts by their digests."""
        texts = {"single": self.single, "several": self.several, "system": self.system}
        return {
            "kind": self.kind,
            "max_tokens": str(self.max_tokens),
            **{name: digest_of(text) for name, text in texts.items()},
        }

    def ask(self, prompt: Prompt, first: str, second: str) -> Turns:
        """One question, or two conversations that differ in their last turn."""
        told = "".join(f"{m['content']}\n\n" for m in prompt.messages if m["role"] == "system")
        turns = [m for m in prompt.messages if m["role"] != "system"]
        plain = len(turns) == 1 and prompt.text == prompt.messages[-1]["content"]
        if len(turns) == 1 and (plain or len(prompt.messages) == 2):
            question = told + (turns[0]["content"] if not _more(prompt) else prompt.text)
            user = fill(self.single, question=question, answer_a=first, answer_b=second)
        else:
            user = fill(
                self.several,
                conversation_1=_conversation(prompt, told, "Chatbot A", first),
                conversation_2=_conversation(prompt, told, "Chatbot B", second),
            )
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": user}]

    def read(self, choice: Mapping[str, Any], *, logprobs: bool = False) -> float:
        """1 for ``[[A]]``, 0 for ``[[B]]``, nan for neither and for both."""
        return double_brackets(choice)


def question(kind: str, options: Options) -> RMR1Question:
    """The authors' prompt, from their notebook, checked to the last character."""
    names = PROMPTS[kind]
    texts = prompts_of(options.judge_prompt, list(names), where=WHERE, digests=list(names.values()))
    longest = options.max_tokens or LONGEST
    if kind == "rm_r1_instruct":
        system, single, several = texts
        return RMR1Question(kind, single, several, system, max_tokens=longest)
    single, several = texts
    return RMR1Question(kind, single, several, max_tokens=longest)


def _more(prompt: Prompt) -> bool:
    """Whether something is asked beside the turns' texts."""
    keys = {key for message in prompt.messages for key in message}
    return bool(prompt.tools or prompt.documents or keys - {"role", "content"})


def _conversation(prompt: Prompt, told: str, name: str, answer: str) -> str:
    """``User: ...`` and ``Chatbot A: ...`` lines; what is no plain text of such a turn stays in view."""
    if _more(prompt):
        return f"{prompt.text}\n{name}: {answer}"
    speakers = {"user": "User", "assistant": name}
    lines = [
        f"{speakers.get(m['role'], m['role'])}: {m['content']}"
        for m in prompt.messages
        if m["role"] != "system"
    ]
    return told + "\n".join([*lines, f"{name}: {answer}"])
