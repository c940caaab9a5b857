"""Rows of every layout with a marker in one field of the question: what is asked must hold it."""

import copy
import json

from rm_monitor.prompts.layouts import LAYOUTS

MARKER = "zyxmarker"


def paths(value, at=()):
    """Where the texts of a value stand; roles and speakers are no text."""
    if isinstance(value, str):
        yield at
    elif isinstance(value, dict):
        for name, item in value.items():
            if name not in ("role", "from", "type"):
                yield from paths(item, (*at, name))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            if not (i == len(value) - 1 and isinstance(item, dict) and speaker(item) in ("assistant", "gpt")):
                yield from paths(item, (*at, i))


def speaker(turn):
    return turn.get("role", turn.get("from"))


def put(row, path, change):
    row = copy.deepcopy(row)
    inner = row
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = change(inner[path[-1]])
    return row


def marked_rows():
    """``(layout, path, row)`` for every field of the question that a layout's example has."""
    beside = ("system", "system_prompt", "tools", "documents", "history")
    for layout in LAYOUTS:
        example = json.loads(json.dumps(layout.example))
        for name in (*layout.asked, *beside):
            if name not in example:
                continue
            for path in paths(example[name], (name,)):
                if layout.name.startswith("HH") or layout.name == "TRL implicit prompt as text":
                    row = example | {
                        n: f"{before(example[n])} {MARKER}{after(example[n])}" for n in layout.asked
                    }
                elif set(layout.asked) >= {"chosen"} or "conversation_a" in layout.asked:
                    row = example
                    for column in layout.asked:
                        row = put(row, (column, *path[1:]), lambda text: f"{text} {MARKER}")
                elif layout.name.startswith("no_robots") and path == ("messages", 1, "content"):
                    row = put(put(example, path, _more), ("prompt",), _more)
                elif layout.name == "Inspect log":
                    row = put(
                        put(example, ("input",), lambda text: f"{text} {MARKER}"),
                        path,
                        lambda t: f"{t} {MARKER}",
                    )
                    row = (
                        row
                        if path != ("input",)
                        else put(row, ("messages", 0, "content"), lambda t: f"{t} {MARKER}")
                    )
                else:
                    row = put(
                        example,
                        path,
                        lambda text: (
                            f"{MARKER} {text}" if "Human:" not in text else text.replace("?", f" {MARKER}?")
                        ),
                    )
                yield layout, path, row


def _more(text):
    return f"{text} {MARKER}"


def before(text):
    return text[: text.index(" tide") + 5]


def after(text):
    return text[text.index(" tide") + 5 :]


# Further columns that belong to a question, as published sets name them.
EXTRA = (
    *(
        "context",
        "input",
        "passage",
        "document",
        "article",
        "background",
        "choices",
        "options",
        "image",
        "images",
    ),
    *(
        "system",
        "system_prompt",
        "tools",
        "documents",
        "history",
        "question",
        "instruction",
        "hint",
        "schema",
    ),
    *("Reference Context", "answer_choices", "inputText", "source_document", "few_shots", "premise", "table"),
)

_TOOL = {"name": f"{MARKER}_of", "description": "Looks.", "parameters": {"type": "object", "properties": {}}}
_BESIDE = {
    "system": f"Be {MARKER}.",
    "System Prompt": f"Be {MARKER}.",
    "tools": [{"type": "function", "function": _TOOL}],
    "functions": json.dumps([_TOOL]),
    "documents": [{"title": "Sea", "text": f"A {MARKER}."}],
    "history": [[f"What is a {MARKER}?", "A soap."]],
}
_CHATML = "<|im_start|>system\n{}<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"


def beside_rows():
    """``(layout, column, row)``: a marker in each column that goes with any layout."""
    for layout in LAYOUTS:
        for name, value in _BESIDE.items():
            if name not in layout.example:
                yield layout, name, {**json.loads(json.dumps(layout.example)), name: value}


def rendered_rows():
    """``(what, row)``: prompts that are rendered already, and one whose answer is begun."""
    yield "rendered system", {"prompt": _CHATML.format(f"Be {MARKER}.", "Hi")}
    yield "rendered question", {"prompt": _CHATML.format("Be.", f"Hi {MARKER}")}
    yield "rendered, begun", {"prompt": _CHATML.format("Be.", f"Hi {MARKER}") + "Sure, "}
