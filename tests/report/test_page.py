"""The page without a browser: it is well formed, true, inert, whole, and the same each time."""

import base64
import hashlib
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rm_monitor import messages
from rm_monitor.curve.curve import Curve
from rm_monitor.report.as_json import as_json
from rm_monitor.report.card import card
from rm_monitor.report.markdown import markdown
from rm_monitor.report.page import page
from rm_monitor.report.standalone import standalone
from rm_monitor.report.view import RunView
from rm_monitor.text.escape import visible
from rm_monitor.types import Estimate, EvalPoint
from rm_monitor.verdict.alarm import judge
from tests.report.example import HOSTILE, empty, example
from tests.report.parsed import Page, coordinates


@pytest.fixture(scope="module")
def run():
    return example(t=20, n=48, failed=(11,), partial=(14,), old=2)


@pytest.fixture(scope="module")
def html(run):
    return page(run)


@pytest.fixture(scope="module")
def parsed(html):
    return Page(html)


# ------------------------------------------------------------------ what it says


def test_the_page_says_what_the_terminal_says(run, parsed):
    verdict = parsed.all(kind="verdict")[0]["text"]
    assert messages.headline(run.verdict) in verdict.replace("\n", " ")
    assert messages.why(run.verdict, metric="win_prob") in verdict
    assert messages.todo(run.verdict, run.best) in verdict


def test_the_title_of_the_tab_begins_with_the_state(run, parsed):
    assert parsed.all("title")[0]["text"].startswith(
        f"Degraded at step {run.verdict.step}, best {run.best.step}"
    )


def test_every_step_stands_once_in_the_table(run, parsed):
    rows = [e["text"] for e in parsed.all("th") if e["attributes"].get("scope") == "row"]
    assert rows == [str(p.step) for p in run.curve]


def test_every_step_stands_once_in_the_row_of_states(run, parsed):
    wide = [e for e in parsed.elements if e["tag"] == "rect" and "data-i" in e["attributes"]]
    assert [int(e["attributes"]["data-i"]) for e in wide] == [*range(len(run.curve))] * 2  # wide and narrow


def test_a_failed_step_never_shows_a_number(run, html):
    failed = next(p for p in run.curve if p.status == "failed")
    row = re.search(rf'<th scope="row">{failed.step}</th>(.*?)</tr>', html).group(1)
    assert re.sub(r"<[^>]*>", " ", row).split()[:1] == ["unknown"]
    assert "failed" in row
    assert f"Step {failed.step}: no number" in html


def test_line_and_band_are_broken_at_a_gap_and_where_a_segment_begins(run):
    picture = standalone(replace(run, tables={}))
    known = [p.status != "failed" for p in run.curve]
    stretches = 1 + sum(
        not known[i] or run.curve[i].segment != run.curve[i - 1].segment for i in range(1, len(known))
    )
    assert len(re.findall(r'<path class="ln(?: old)?"', picture)) == stretches
    assert len(re.findall(r'<path class="band"', picture)) == stretches - 1  # none for the old segment


def test_the_lower_panel_holds_the_paired_changes_and_nothing_of_an_old_segment(run):
    compared = {p.step for p in run.curve if p.status == "ok" and p.segment == "new"}
    assert set(run.headline_changes) == compared
    best = run.at(run.best_step).values["win_prob"]
    for step, e in run.headline_changes.items():
        assert e.value == pytest.approx(float(np.mean(run.at(step).values["win_prob"] - best)))


def test_the_answers_are_ordered_by_regression(parsed):
    falls = [float(e["attributes"]["data-d"]) for e in parsed.all(kind="row")]
    assert len(falls) == 48
    assert falls == sorted(falls)


def test_the_counts_of_both_directions_add_up(run, parsed):
    note = next(e["text"] for e in parsed.all(kind="note") if "prompts went down" in e["text"])
    _, _, down, up, same = (int(x) for x in re.findall(r"\d+", note))
    kinds = [e["attributes"]["data-kind"] for e in parsed.all(kind="row")]
    assert (down, up, same) == tuple(kinds.count(k) for k in ("worse", "better", "same"))


def test_tags_attributes_references_judges_and_tells_have_pictures(parsed):
    names = [e["text"] for e in parsed.all("b")]
    for wanted in ("code", "helpfulness", "sft", "gold", "Length, tokens"):
        assert wanted in names


def test_the_tag_that_fell_most_comes_first(parsed):
    assert parsed.all(kind="mini")[0]["text"].startswith("code")


def test_the_second_judge_is_given_a_sentence(html):
    assert "The second judge (gold) agrees: it sees step" in html


@pytest.mark.parametrize(
    "made", [empty(), example(t=1, n=12, failed=(), partial=()), example(t=4, n=12, failed=(0, 1, 2, 3))]
)
def test_a_run_with_nothing_to_draw_has_no_empty_frame(made):
    parsed = Page(page(made))
    assert all(e["text"].strip() for e in parsed.all("section"))
    if not any(p.values for p in made.curve):
        assert parsed.all("svg") == []


def test_more_prompts_than_fit_are_chosen_from_both_ends_and_said(run):
    rows = Page(page(run, rows=16)).all(kind="row")
    full = [e["attributes"]["data-i"] for e in Page(page(run)).all(kind="row")]
    shown = [e["attributes"]["data-i"] for e in rows]
    assert len(shown) == 16
    assert shown[:6] == full[:6]
    assert shown[-4:] == full[-4:]
    assert "16 of 48 prompts are shown" in page(run, rows=16)


def test_every_command_that_the_page_names_exists(run):
    from typer.main import get_command

    from rm_monitor.cli import app

    commands = get_command(app).commands
    named = re.findall(r"rm-monitor (\w+)((?: --\w+)*)", Page(page(run, rows=16)).text)
    assert named
    for command, options in named:
        known = {name for p in commands[command].params for name in p.opts}
        assert set(options.split()) <= known


# ------------------------------------------------------------------ several runs


def test_several_runs_share_one_chart_and_each_has_its_words():
    runs = [
        example(t=8, n=24, name=name, seed=i, failed=(), partial=()) for i, name in enumerate(("a", "b", "c"))
    ]
    html = page(runs)
    parsed = Page(html)
    assert [e["attributes"].get("id") for e in parsed.all("input") if e["attributes"]["type"] == "radio"] == [
        "f0",
        "f1",
        "f2",
    ]
    assert len(parsed.all(kind="verdict")) == 3
    assert len(parsed.all("h1")) == 1
    assert html.count("The best of a (step") == 2


def test_runs_of_other_prompts_are_drawn_and_not_compared():
    a, b = (example(t=6, n=24, seed=i, name=n, failed=(), partial=()) for i, n in enumerate(("a", "b")))
    b = replace(b, curve=Curve(replace(p, segment="another") for p in b.curve))
    html = page([a, b])
    assert "The best of a (step" not in html
    assert "Not comparable with b" in html


# ------------------------------------------------------------------ it cannot act


def test_the_policy_names_the_style_and_the_script_by_hash_and_allows_nothing_else(html, parsed):
    policy = next(
        e["attributes"]["content"]
        for e in parsed.all("meta")
        if e["attributes"].get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert "unsafe" not in policy
    assert rules["require-trusted-types-for"] == "'script'"
    assert rules["trusted-types"] == "'none'"
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        blocks = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.S)
        assert len(blocks) == 1
        assert (
            rules[rule]
            == f"'sha256-{base64.b64encode(hashlib.sha256(blocks[0].encode()).digest()).decode()}'"
        )


@pytest.fixture(scope="module")
def hostile():
    run = example(t=5, n=42, hostile=True, name=HOSTILE[0], failed=(2,), partial=())
    texts = [{"role": "user", "content": text or "x"} for text in HOSTILE * 2]
    asked = tuple(
        replace(p, messages=(m,), tags=(HOSTILE[1], HOSTILE[19])) for p, m in zip(run.prompts, texts)
    )
    curve = tuple(replace(p, reason=HOSTILE[16], checkpoint=HOSTILE[0]) for p in run.curve)
    best = replace(run.best, checkpoint=HOSTILE[19] + HOSTILE[0])
    facts = {HOSTILE[1]: HOSTILE[2], "reward model": HOSTILE[5]}
    return replace(run, prompts=asked, curve=Curve(curve), best=best, facts=facts)


ELEMENTS = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "script",
        "body",
        "header",
        "main",
        "section",
        "div",
        "p",
        "span",
    ),
    *("h1", "h2", "h3", "kbd", "small", "b", "code", "a", "button", "fieldset", "legend", "label", "input"),
    *("select", "option", "output", "details", "summary", "figure", "figcaption", "dl", "dt", "dd", "table"),
    *("caption", "thead", "tbody", "tr", "th", "td", "svg", "g", "path", "circle", "rect", "polygon", "text"),
}


def test_hostile_text_makes_no_element_and_no_attribute(hostile):
    parsed = Page(page(hostile))
    assert {e["tag"] for e in parsed.elements} <= ELEMENTS
    assert len(parsed.all("script")) == len(parsed.all("style")) == 1
    for element in parsed.elements:
        for name, value in element["attributes"].items():
            assert not name.startswith("on")
            assert name not in ("style", "src", "srcdoc", "action", "formaction", "background")
            assert name != "href" or value.startswith("#")


def test_what_was_thought_before_an_answer_is_folded_above_it(run):
    thought = HOSTILE[0] or "hm"

    def thinking(table):
        said = tuple(
            tuple(replace(c, reasoning=thought, reasoning_tokens=12) for c in k) for k in table.completions
        )
        return replace(table, completions=said)

    parsed = Page(page(replace(run, tables={step: thinking(table) for step, table in run.tables.items()})))
    folded = [e for e in parsed.all("summary") if e["text"].startswith("Reasoning, 12 tokens")]
    assert len(folded) == 2 * len(run.prompts)
    assert visible(thought)[:50] in parsed.text
    assert not any(e["text"].startswith("Reasoning") for e in Page(page(run)).all("summary"))


def test_hostile_text_is_found_back_as_visible_text(hostile):
    html = page(hostile)
    text = Page(html).text
    for given_text in HOSTILE:
        if given_text.strip():
            assert visible(given_text)[:200] in text
    assert "(empty answer)" in text
    assert "(only white space: 7 characters)" in text
    html.encode("utf-8")  # no lone surrogate is left


@pytest.mark.parametrize("control", ["\x00", "\x1b", "\u202e", "\u2028", "\u200b", "\ufeff", "\U000e0041"])
def test_no_control_reaches_any_form_of_the_report(hostile, control):
    for text in (
        page(hostile),
        markdown([hostile]),
        card(hostile.curve, hostile.verdict, hostile.best, "win_prob"),
    ):
        assert control not in text


def test_markdown_shows_hostile_text_as_text(hostile):
    text = markdown([hostile])
    assert "<script" not in text
    assert not re.search(r"(?<!\\)\]\(", text)
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {7}


# ------------------------------------------------------------------ laws


def test_the_same_run_gives_the_same_bytes(html):
    again = example(t=20, n=48, failed=(11,), partial=(14,), old=2)
    assert page(again) == html


def test_no_time_no_path_of_ours_no_address_is_in_the_page(html):
    assert not re.search(r"https?://|//cdn|file:|url\(", html)


estimates = st.builds(
    lambda v, a, b: Estimate(v, v - abs(a), v + abs(b), 9),
    st.one_of(st.floats(0, 1), st.just(math.nan)),
    st.one_of(st.floats(0, 1), st.just(math.nan)),
    st.floats(0, 1),
)
points = st.builds(
    lambda status, e, row, segment, attempt: EvalPoint(
        step=0,
        status=status,
        reason="" if status == "ok" else "<why>",
        metrics={}
        if status == "failed"
        else {"win_prob": e, "win_prob@a": e, "gold/win_prob": e, "length": e},
        values={} if status == "failed" else {"win_prob": np.array(row)},
        segment=segment,
        attempt=attempt,
    ),
    st.sampled_from(["ok", "ok", "ok", "partial", "failed", "skipped"]),
    estimates,
    st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), min_size=11, max_size=11),
    st.sampled_from(["s", "s", "s", "r"]),
    st.integers(0, 1),
)
histories = st.lists(st.tuples(st.integers(0, 10**7), points), max_size=12, unique_by=lambda x: x[0])


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(histories)
def test_any_history_gives_a_well_formed_page_with_finite_coordinates(history):
    curve = tuple(replace(p, step=step) for step, p in sorted(history, key=lambda x: x[0]))
    verdict = judge(curve, metric="win_prob") if curve else judge([], metric="win_prob")
    run = RunView(name="any", metric="win_prob", curve=Curve(curve), verdict=verdict, best=verdict.best)
    for html in (page(run), page([run, run])):
        for element, name, value in coordinates(Page(html)):
            assert not re.search(r"nan|inf", value, re.I), (element["tag"], name, value)
    assert "nan" not in standalone(run)
    assert not re.search(r"\bnan\b|\binf\b", str(as_json(run)).replace("'", " "))
    markdown([run])


# ------------------------------------------------------------------ the other forms


def test_the_picture_alone_is_xml_with_its_colours(run):
    import xml.etree.ElementTree as ET

    root = ET.fromstring(standalone(run))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "--r0" in standalone(run)


def test_the_card_is_small_and_brings_no_style_script_id_or_text_of_a_model(run):
    text = card(run.curve, run.verdict, run.best, run.metric)
    assert len(text) < 12_000
    assert not re.search(r"<style|<script| id=|class=", text)
    assert messages.headline(run.verdict).split(". ")[1] in text
    assert not any(c[0].text[:40] in text for table in run.tables.values() for c in table.completions)


def test_json_holds_every_point_and_writes_unknown_as_null(run):
    import json

    found = json.loads(json.dumps(as_json(run), allow_nan=False))
    assert [p["step"] for p in found["curve"]] == [p.step for p in run.curve]
    assert found["state"] == "degraded"
    assert found["best"]["step"] == run.best_step
    assert next(p for p in found["curve"] if p["status"] == "failed")["metrics"] == {}


def test_markdown_holds_the_verdict_the_best_and_the_alarm(run):
    text = markdown([run])
    assert f"### ▼ {run.name}: degraded" in text
    for step in (run.best_step, run.verdict.since, run.curve[-1].step):
        assert f"| {step} |" in text
