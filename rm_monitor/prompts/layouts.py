"""The one table of layouts: by what a row is recognised, which columns are asked, which answer.

The first layout that matches reads the row. ``docs/inputs.md`` is written from this table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rm_monitor.prompts import asking, nested, pairing
from rm_monitor.prompts.asking import Asked, Fields
from rm_monitor.prompts.cells import opened
from rm_monitor.prompts.pairing import Pairing
from rm_monitor.prompts.turns import are_turns, transcript

__all__ = ["CONVERSATIONS", "LAYOUTS", "Layout", "layout_of"]

CONVERSATIONS = (
    "messages",
    "conversations",
    "conversation",
    "dialogue",
    "dialog",
    "chat",
    "contents",
    "conversation_input",
)

_Q: dict[str, str] = {"role": "user", "content": "What is a tide?"}
_A: dict[str, str] = {"role": "assistant", "content": "The sea, rising."}
_B: dict[str, str] = {"role": "assistant", "content": "A soap."}
_HUMAN, _GPT = {"from": "human", "value": "What is a tide?"}, {"from": "gpt", "value": "The sea, rising."}
_HH = "\n\nHuman: What is a tide?\n\nAssistant:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One way in which data sets write a row.

    Attributes:
        name: For people.
        columns: Columns by which it is recognised; all must be there.
        asked: Columns that go into what is asked, those that may be missing included.
        answers: Columns of answers; each can be a reference.
        ask: Columns -> what is asked.
        example: A row.
        when: A further condition on the values.
        pair: How the row tells which of two answers is preferred; None: it does not.
    """

    name: str
    columns: tuple[str, ...]
    asked: tuple[str, ...]
    answers: tuple[str, ...]
    ask: Callable[[Fields], Asked]
    example: Mapping[str, Any]
    when: Callable[[Fields], bool] = lambda fields: True
    pair: Pairing | None = None


def layout_of(fields: Fields) -> Layout | None:
    """The first layout that a row is in; None if it is in none."""
    return next((x for x in LAYOUTS if fields.keys() >= set(x.columns) and x.when(fields)), None)


def _is(name: str, kind: type | tuple[type, ...]) -> Callable[[Fields], bool]:
    return lambda fields: isinstance(opened(fields[name]), kind)


def _rated(name: str) -> Callable[[Fields], bool]:
    return lambda f: isinstance(f[name], (list, tuple)) and bool(f[name]) and isinstance(f[name][0], Mapping)


def _has_conversation(fields: Fields) -> bool:
    return any(name in fields for name in CONVERSATIONS) and not fields.keys() & {
        "prompt",
        "instruction",
        "question",
    }


def _from_value(fields: Fields) -> bool:
    found = next((opened(fields[n]) for n in CONVERSATIONS if n in fields), None)
    return isinstance(found, list) and _has_conversation(fields) and are_turns(found) and "from" in found[0]


def _both(kind: Callable[[Any], bool]) -> Callable[[Fields], bool]:
    return lambda fields: all(kind(fields[name]) for name in ("chosen", "rejected") if name in fields)


def _layout(
    name: str,
    columns: str,
    asked: str,
    answers: str,
    ask: Callable[[Fields], Asked],
    example: Mapping[str, Any],
    **more: Any,
) -> Layout:
    return Layout(
        name=name, columns=tuple(columns.split()), asked=tuple(asked.split()), answers=tuple(answers.split()),
        ask=ask, example=example, **more,
    )  # fmt: skip


LAYOUTS: tuple[Layout, ...] = (
    _layout(
        "verl", "data_source prompt reward_model", "prompt", "reward_model", nested.verl_row,
        {"data_source": "tides", "prompt": [_Q], "ability": "sea", "reward_model": {"style": "rule", "ground_truth": "The sea"}, "extra_info": {"index": 0}},
        when=_is("reward_model", dict),
    ),
    _layout(
        "Inspect log", "input target", "messages input", "output target scores store events", nested.inspect_sample,
        {"id": 1, "epoch": 1, "input": "What is a tide?", "target": "The sea", "messages": [_Q, _A], "output": {"completion": "The sea, rising."}},
        when=lambda f: are_turns(f.get("messages")) or isinstance(f.get("output"), Mapping),
    ),
    _layout(
        "lm-eval samples", "doc arguments", "arguments", "target resps filtered_resps doc", nested.lm_eval_sample,
        {"doc_id": 0, "doc": {"q": "tide"}, "target": "The sea", "arguments": {"gen_args_0": {"arg_0": "Q: What is a tide?\nA:", "arg_1": {}}}, "resps": [["The sea, rising."]]},
    ),
    _layout(
        "OpenAI preference", "input preferred_output", "input", "preferred_output non_preferred_output", nested.openai_preference,
        {"input": {"messages": [_Q]}, "preferred_output": [_A], "non_preferred_output": [_B]},
        when=_is("input", dict), pair=pairing.columns("preferred_output", "non_preferred_output"),
    ),
    _layout(
        "Arena battles", "conversation_a conversation_b", "conversation_a conversation_b", "winner", asking.common_turns("conversation_a", "conversation_b"),
        {"question_id": "q", "model_a": "x", "model_b": "y", "winner": "model_a", "conversation_a": [_Q, _A], "conversation_b": [_Q, _B], "turn": 1},
        pair=pairing.verdict("conversation_a", "conversation_b"),
    ),
    _layout(
        "JudgeBench, Arena preferences", "response_a response_b", "question prompt", "response_a response_b label winner_model_a winner_model_b winner_tie", asking.conversation("question", "prompt"),
        {"pair_id": "p", "question": "What is a tide?", "response_A": "The sea, rising.", "response_B": "A soap.", "label": "A>B"},
        when=lambda f: "question" in f or "prompt" in f, pair=pairing.verdict("response_a", "response_b"),
    ),
    _layout(
        "MT-Bench, Arena-Hard (one turn)", "turns", "turns", "reference", asking.first_turn,
        {"question_id": 81, "category": "sea", "turns": ["What is a tide?"], "reference": ["The sea, rising."]},
        when=_is("turns", list),
    ),
    _layout(
        "ShareGPT", "", " ".join(CONVERSATIONS), "", asking.conversation(*CONVERSATIONS),
        {"id": "s", "system": "You are a sailor.", "conversations": [_HUMAN, _GPT]}, when=_from_value,
    ),
    _layout(
        "messages (OpenAI, TRL)", "", " ".join(CONVERSATIONS), "", asking.conversation(*CONVERSATIONS),
        {"messages": [{"role": "system", "content": "You are a sailor."}, _Q, _A], "tools": [{"type": "function", "function": {"name": "sea_level"}}]}, when=_has_conversation,
    ),
    _layout(
        "no_robots with a system text", "prompt messages", "messages", "", nested.beside_its_turns,
        {"prompt": "What is a tide?", "prompt_id": "n", "messages": [{"role": "system", "content": "You are a sailor."}, _Q, _A], "category": "Chat"},
        when=lambda f: isinstance(f["prompt"], str) and nested.follows_a_system_text(f),
    ),
    _layout(
        "OASST trees", "prompt", "prompt", "reply", nested.oasst_tree,
        {"message_tree_id": "o", "prompt": {"role": "prompter", "text": "What is a tide?", "replies": [{"role": "assistant", "text": "The sea, rising.", "rank": 0}]}},
        when=lambda f: isinstance(f["prompt"], Mapping) and isinstance(f["prompt"].get("text"), str),
    ),
    _layout(
        "WebGPT", "question answer_0 answer_1", "question", "answer_0 answer_1 quotes_0 quotes_1 score_0 score_1 tokens_0 tokens_1", nested.webgpt,
        {"question": {"full_text": "What is a tide?"}, "answer_0": "The sea, rising.", "answer_1": "A soap.", "score_0": 0.5, "score_1": -0.5},
        when=lambda f: isinstance(f["question"], Mapping) and isinstance(f["question"].get("full_text"), str), pair=pairing.scored("answer_0", "answer_1", "score_0", "score_1"),
    ),
    _layout(
        "SHP", "history human_ref_a human_ref_b", "history", "human_ref_a human_ref_b labels", asking.column("history"),
        {"post_id": "s", "domain": "sea", "history": "What is a tide?", "human_ref_A": "The sea, rising.", "human_ref_B": "A soap.", "labels": 1}, pair=pairing.labelled("human_ref_a", "human_ref_b", "labels"),
    ),
    _layout(
        "UltraFeedback", "instruction completions", "instruction", "completions correct_answers incorrect_answers", asking.column("instruction"),
        {"source": "sea", "instruction": "What is a tide?", "completions": [{"response": "The sea, rising.", "overall_score": 9.0}, {"response": "A soap.", "overall_score": 2.0}]},
        when=_rated("completions"), pair=pairing.best_and_worst("completions", "response", "overall_score"),
    ),
    _layout(
        "Nectar", "prompt answers", "prompt", "answers turns num_responses", asking.column("prompt"),
        {"prompt": _HH, "answers": [{"answer": "The sea, rising.", "rank": 1.0}, {"answer": "A soap.", "rank": 2.0}], "turns": 1},
        when=_rated("answers"), pair=pairing.best_and_worst("answers", "answer", "rank", low_is_best=True),
    ),
    _layout(
        "TRL stepwise supervision", "prompt completions labels", "prompt", "completions labels", asking.column("prompt"),
        {"prompt": "What is a tide?", "completions": ["The sea,", " rising."], "labels": [True, True]},
    ),
    _layout(
        "LLMBar", "input output_1 output_2 label", "input", "output_1 output_2 label", asking.column("input"),
        {"input": "What is a tide?", "output_1": "A soap.", "output_2": "The sea, rising.", "label": 2}, pair=pairing.labelled("output_1", "output_2", "label"),
    ),
    _layout(
        "AlpacaFarm preferences", "instruction output_1 output_2", "instruction input", "output_1 output_2 preference", asking.column("instruction", "input"),
        {"instruction": "Explain.", "input": "A tide.", "output_1": "The sea, rising.", "output_2": "A soap.", "preference": 1}, pair=pairing.labelled("output_1", "output_2", "preference"),
    ),
    _layout(
        "PandaLM", "instruction response1 response2", "instruction input", "response1 response2 annotator1 annotator2 annotator3", asking.column("instruction", "input"),
        {"instruction": "Explain.", "input": "A tide.", "response1": "The sea, rising.", "response2": "A soap.", "annotator1": 1, "annotator2": 1, "annotator3": 2}, pair=pairing.votes,
    ),
    _layout(
        "HelpSteer3", "context response1 response2", "context", "response1 response2 overall_preference individual_preference", asking.conversation("context"),
        {"domain": "sea", "language": "english", "context": [_Q], "response1": "A soap.", "response2": "The sea, rising.", "overall_preference": 2}, pair=pairing.helpsteer3,
    ),
    _layout(
        "Stack Exchange pairs", "question response_j response_k", "question", "response_j response_k", asking.column("question"),
        {"qid": 1, "question": "What is a tide?", "response_j": "The sea, rising.", "response_k": "A soap."}, pair=pairing.columns("response_j", "response_k"),
    ),
    _layout(
        "TRL preference, UltraFeedback binarized, RewardBench", "prompt chosen", "prompt", "chosen rejected", asking.column("prompt"),
        {"prompt": [_Q], "chosen": [_A], "rejected": [_B], "chat_template_kwargs": {"enable_thinking": False}}, pair=pairing.columns(),
    ),
    _layout(
        "TRL unpaired preference", "prompt completion label", "prompt", "completion label", asking.column("prompt"),
        {"prompt": "What is a tide?", "completion": "The sea, rising.", "label": True},
    ),
    _layout(
        "TRL prompt and completion", "prompt completion", "prompt", "completion", asking.column("prompt"),
        {"prompt": [_Q], "completion": [_A]},
    ),
    _layout(
        "TRL implicit prompt", "chosen", "chosen rejected", "", asking.common_turns("chosen", "rejected"),
        {"chosen": [_Q, _A], "rejected": [_Q, _B]}, when=_both(lambda v: are_turns(opened(v))), pair=pairing.columns(),
    ),
    _layout(
        "HH transcripts", "chosen rejected", "chosen rejected", "", asking.common_turns("chosen", "rejected"),
        {"chosen": f"{_HH} The sea, rising.", "rejected": f"{_HH} A soap."}, when=_both(lambda v: isinstance(v, str) and transcript(v) is not None), pair=pairing.columns(),
    ),
    _layout(
        "TRL implicit prompt as text", "chosen rejected", "chosen rejected", "", asking.common_text,
        {"chosen": "A tide is the sea, rising.", "rejected": "A tide is a soap."}, when=_both(lambda v: isinstance(v, str)),
    ),
    _layout(
        "AlpacaEval", "instruction output generator", "instruction input", "output", asking.column("instruction", "input"),
        {"instruction": "What is a tide?", "output": "The sea, rising.", "generator": "gpt4", "dataset": "sea"},
    ),
    _layout(
        "Dolly", "instruction context", "instruction context", "response", asking.column("instruction", "context"),
        {"instruction": "What is it?", "context": "A tide is the sea, rising.", "response": "The sea.", "category": "closed_qa"},
    ),
    _layout(
        "Alpaca", "instruction", "instruction input", "output", asking.column("instruction", "input"),
        {"instruction": "Explain.", "input": "A tide.", "output": "The sea, rising.", "history": [["Hi", "Hello!"]]},
    ),
    _layout(
        "OpenOrca", "system_prompt question", "question", "response", asking.column("question"),
        {"id": "o", "system_prompt": "You are a sailor.", "question": "What is a tide?", "response": "The sea, rising."},
    ),
    _layout(
        "prompt alone, verl-like, no_robots", "prompt", "prompt", "response answer solution ground_truth", asking.column("prompt"),
        {"prompt": "What is a tide?", "answer": "The sea, rising."},
    ),
    _layout(
        "SQuAD", "context question", "question context", "answers", asking.column("question", "context", first=False),
        {"id": "q", "title": "Tides", "context": "A tide is the sea, rising.", "question": "What is it?", "answers": {"text": ["the sea"], "answer_start": [10]}},
    ),
    _layout(
        "question (GSM8K)", "question", "question", "answer", asking.column("question"),
        {"question": "What is a tide?", "answer": "The sea, rising."},
    ),
    _layout(
        "problem (MATH)", "problem", "problem", "solution answer", asking.column("problem"),
        {"problem": "What is a tide?", "solution": "The sea, rising.", "level": "1"},
    ),
    _layout(
        "query", "query", "query", "response answer", asking.column("query"),
        {"query": "What is a tide?", "response": "The sea, rising."},
    ),
    _layout(
        "FLAN, Aya", "inputs targets", "inputs", "targets", asking.conversation("inputs"),
        {"inputs": "What is a tide?", "targets": "The sea, rising.", "language": "English"},
    ),
    _layout(
        "OpenAI evals, Nemotron, Firefly", "input", "input", "ideal output target", asking.conversation("input"),
        {"input": [{"role": "system", "content": "You are a sailor."}, _Q], "ideal": "The sea, rising."}, when=lambda f: bool(f.keys() & {"ideal", "output", "target"}),
    ),
    _layout(
        "transcript as text (Guanaco)", "text", "text", "", asking.conversation("text"),
        {"text": "### Human: What is a tide?### Assistant: The sea, rising."}, when=lambda f: isinstance(f["text"], str) and transcript(f["text"]) is not None,
    ),
)  # fmt: skip
