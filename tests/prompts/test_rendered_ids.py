"""From a row of any layout to ids: every text of the question is asked and judged, or the row is named.

A marker is put into each field of each layout, and into each column that goes with any. Either it is in the
ids, or the row is refused or flagged. Nothing is lost between the reader and the model.
"""

import json
import re
from functools import cache
from importlib.resources import files

import pytest

from rm_monitor.generators.rows import rows_of
from rm_monitor.generators.server import ServerGenerator
from rm_monitor.http import Client
from rm_monitor.prompts.format import PromptFormat
from rm_monitor.prompts.reading import read_row
from rm_monitor.scorers.judge.voices import ServerVoice
from rm_monitor.types import Prompt, Sampling
from tests.byte_level import CHATML, byte_level
from tests.prompts.marked import MARKER, beside_rows, marked_rows, rendered_rows
from tests.scorers.test_coverage import ENCODINGS, PAIRS, formatters
from tests.scorers.test_published_judges import PAIRWISE, RATING

POLICIES = {
    path.name.removesuffix(".jinja"): path.read_text(encoding="utf-8")
    for path in sorted(files("trl").joinpath("chat_templates").iterdir(), key=lambda p: p.name)
    if path.name.endswith(".jinja") and "training" not in path.name
}
POLICIES |= {"chatml": CHATML, "none": None}
FORMATS = {
    "chat": None,
    "raw": "raw",
    "text": "Q: {prompt}\nA:",
    "columns": ["I: {instruction}\nIn: {input}\nR:", "I: {instruction}\nR:"],
    "jinja": "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}",
}
VOICE = ServerVoice(Client("http://127.0.0.1:9"), "m")


@cache
def asked():
    """``(what is marked, prompt)`` for every field of every layout, each question once."""
    rows = [(f"{layout.name}-{'.'.join(map(str, path))}", row) for layout, path, row in marked_rows()]
    rows += rendered_rows()
    rows += [(f"{layout.name} + {name}", row) for layout, name, row in beside_rows()]
    found: dict[str, tuple[str, Prompt]] = {}
    refused: list[str] = []
    for name, row in rows:
        try:
            prompt = read_row(row, 1).prompt
        except ValueError as problem:
            refused.append(str(problem))
            continue
        found.setdefault(json.dumps(prompt.question, sort_keys=True), (name, prompt))
    assert all(re.search("'[a-zA-Z_ ]+'|`[a-z]+`", why) for why in refused)  # by the name of a column
    return tuple(found.values())


def lost(read, refused):
    """Names of the marked fields that are neither read nor refused by name."""
    found = []
    for name, prompt in asked():
        try:
            text = read(prompt)
        except ValueError as problem:
            if not (refused and prompt.label in str(problem)):
                found.append(f"{name}: {problem}")
            continue
        if MARKER not in text:
            found.append(name)
    return found


def test_the_marked_rows_hold_every_kind_of_question():
    prompts = [prompt for _, prompt in asked()]
    assert len(prompts) > 40
    for kind in (
        lambda p: p.raw and p.rendered,
        lambda p: p.raw and not p.rendered,
        lambda p: p.tools,
        lambda p: p.documents,
        lambda p: p.parts,
        lambda p: p.messages[0]["role"] == "system",
        lambda p: len(p.messages) > 2,
    ):
        assert any(kind(p) for p in prompts)


@pytest.mark.parametrize("name", POLICIES)
def test_the_ids_that_a_policy_is_asked_hold_every_text_of_a_row_or_it_is_refused(name):
    tokenizer = byte_level(POLICIES[name])

    def read(prompt):
        (row,) = rows_of([prompt], Sampling(), object(), tokenizer)  # what every backend here answers
        return tokenizer.decode(row.ids)

    assert lost(read, refused=True) == []


@pytest.mark.parametrize("name", FORMATS)
def test_the_ids_in_any_format_hold_every_text_of_a_row_or_it_is_refused(name):
    form = PromptFormat.of(FORMATS[name])
    tokenizer = form.tokenizer(byte_level())

    def read(prompt):
        (row,) = rows_of(form.ask([prompt]), Sampling(), object(), tokenizer)
        return tokenizer.decode(row.ids)

    assert lost(read, refused=True) == []


def test_what_a_server_is_sent_holds_every_text_of_a_row():
    server = ServerGenerator("http://127.0.0.1:9", model="m")
    assert lost(lambda prompt: json.dumps(server._input(prompt, None)), refused=False) == []


@pytest.mark.parametrize("name", sorted(ENCODINGS))
def test_the_ids_that_a_judge_reads_hold_every_text_of_a_row_or_it_is_flagged(name):
    formatter, answers = formatters[name], ["Four."] * (2 if name in PAIRS else 1)

    def read(prompt):
        rendered = formatter.render(prompt, *answers)
        if not rendered.usable or "dropped" in rendered.flags:
            screened = formatter.screen([prompt], answers=len(answers))
            assert screened.unscorable or screened.incomplete
            return MARKER
        return formatter.tokenizer.decode(rendered.ids, skip_special_tokens=False)

    assert lost(read, refused=False) == []


@pytest.mark.parametrize("name", [*PAIRWISE, *RATING])
def test_what_a_judge_in_words_is_asked_holds_every_text_of_a_row_or_it_is_flagged(name):
    def read(prompt: Prompt):
        turns = PAIRWISE[name].ask(prompt, "x", "y") if name in PAIRWISE else RATING[name].ask(prompt, "x")
        _, unread = VOICE.unread(prompt, turns)
        assert (MARKER in json.dumps(turns)) or unread
        return MARKER if unread else json.dumps(turns)

    assert lost(read, refused=False) == []
