"""What is asked where it does not stand in a column of its own, but inside of a value or of another row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rm_monitor.prompts.asking import Asked, Fields, if_text, said, text_of
from rm_monitor.prompts.cells import opened
from rm_monitor.prompts.turns import turns

__all__ = [
    "beside_its_turns",
    "follows_a_system_text",
    "inspect_sample",
    "lm_eval_sample",
    "oasst_tree",
    "openai_preference",
    "unwrapped",
    "verl_row",
    "webgpt",
]


def unwrapped(row: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """The row that another one wraps: OpenAI's batches, rows of the hub's viewer, LangSmith's runs.

    Example:
        >>> unwrapped({"custom_id": "1", "body": {"messages": [], "model": "m"}})
        {'custom_id': '1', 'messages': [], 'model': 'm'}
    """
    inner = opened(row.get("row"))
    if "row_idx" in row and isinstance(inner, Mapping):
        return inner
    for names, key in ((("body",), "messages"), (("inputs", "outputs"), None)):
        parts = [opened(row.get(name)) for name in names if row.get(name) is not None]
        if not parts or not all(isinstance(part, Mapping) for part in parts):
            continue
        flat = {name: value for name, value in row.items() if name not in names}
        found = [name for part in parts for name in part]
        if (key is None or key in parts[0]) and len({*flat, *found}) == len(flat) + len(found):
            return flat | {name: value for part in parts for name, value in part.items()}
    return row


def inspect_sample(fields: Fields) -> Asked:
    """Ask what the model was asked by an Inspect log; its answer is ``output``, the goal ``target``."""
    log = fields.get("messages")
    name = "messages" if log else "input"
    asked = said(log or fields["input"], name, ends_with_answer=True)
    answers = dict(zip(["output"], asked.answers.values(), strict=False))
    output = fields.get("output")
    if isinstance(output, Mapping) and isinstance(output.get("completion"), str):
        answers["output"] = output["completion"]
    target = fields.get("target")
    target = target[0] if isinstance(target, (list, tuple)) and target else target
    return Asked(messages=asked.messages, form=asked.form, answers=answers | if_text("target", target))


def lm_eval_sample(fields: Fields) -> Asked:
    """Ask the text that lm-eval gave to the model; its answer is ``resps``, the goal ``target``."""
    given = fields["arguments"]
    calls = list(given.values()) if isinstance(given, Mapping) else list(given)
    contexts = [call.get("arg_0") if isinstance(call, Mapping) else call[0] for call in calls]
    if len({str(context) for context in contexts}) != 1:
        raise ValueError("`arguments` holds several contexts for one document: there is no one prompt to ask")
    asked = said(contexts[0], "arguments")
    form = "rendered" if asked.form == "text" else asked.form  # it is what the model was given, word for word
    answer = fields.get("resps")
    while isinstance(answer, (list, tuple)) and answer:
        answer = answer[0]
    answers = if_text("resps", answer) | if_text("target", fields.get("target"))
    return Asked(messages=asked.messages, form=form, answers=answers)


def openai_preference(fields: Fields) -> Asked:
    """Ask ``input.messages`` of OpenAI's preference format."""
    asked = said(fields["input"]["messages"], "input")
    answers = {n: text_of(fields[n], ()) for n in ("preferred_output", "non_preferred_output") if n in fields}
    return Asked(messages=asked.messages, answers={n: t for n, t in answers.items() if t})


def verl_row(fields: Fields) -> Asked:
    """Ask ``prompt``; the rule's ``ground_truth`` is the reference."""
    asked = said(fields["prompt"], "prompt")
    goal = fields["reward_model"].get("ground_truth")
    return Asked(messages=asked.messages, form=asked.form, answers=if_text("ground_truth", goal))


def beside_its_turns(fields: Fields) -> Asked:
    """Ask the turns of ``messages`` up to the one that ``prompt`` repeats, with the system text before it."""
    found = turns(opened(fields["messages"]))
    n = next(i for i, turn in enumerate(found) if turn["content"] == fields["prompt"]) + 1
    answers = if_text("messages", found[n]["content"] if len(found) > n else None)
    return Asked(messages=found[:n], answers=answers)


def follows_a_system_text(fields: Fields) -> bool:
    """Whether ``messages`` begin with a system text, and the prompt comes next (no_robots)."""
    try:
        found = turns(opened(fields["messages"]))
    except (ValueError, TypeError):
        return False
    return len(found) > 1 and found[0]["role"] == "system" and found[1]["content"] == fields["prompt"]


def oasst_tree(fields: Fields) -> Asked:
    """Ask the root of a tree; the reply that people ranked first is the reference."""
    root = fields["prompt"]
    replies = [reply for reply in root.get("replies") or () if isinstance(reply, Mapping)]
    first = min(replies, key=lambda r: r["rank"] if r.get("rank") is not None else len(replies), default={})
    asked = said(root["text"], "prompt")
    return Asked(messages=asked.messages, form=asked.form, answers=if_text("reply", first.get("text")))


def webgpt(fields: Fields) -> Asked:
    """Ask the question of a comparison."""
    asked = said(fields["question"]["full_text"], "question")
    return Asked(messages=asked.messages, form=asked.form)
