"""Several runs as a list: what each says, its best, and a link to its page. Nothing is loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from rm_monitor import messages
from rm_monitor.report.assets import asset, style_of
from rm_monitor.report.page import news, policy
from rm_monitor.report.view import RunView
from rm_monitor.text.escape import for_html, prose
from rm_monitor.types import Verdict

__all__ = ["Listed", "listing"]

_STYLE = """
td,th{text-align:left;padding:6px 14px 6px 0;vertical-align:top;white-space:normal;overflow-wrap:anywhere}
tbody td{background:none}
td .st{font-weight:600}
a{color:var(--r0)}
thead th{white-space:nowrap}
tbody th{min-width:13em}
@media (max-width:700px){thead{display:none}tr,td,tbody th{display:block;border:0;padding:2px 0}tr{padding:10px 0;border-bottom:1px solid var(--line)}td:nth-child(4)::before{content:"Best: "}td:nth-child(5)::before{content:"Latest: "}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A line of the list.

    Attributes:
        key: By which the page of the run is asked for.
        name: Of the run, for people; empty: the key.
        view: The run; None if it cannot be read.
        problem: Why it cannot.
        written: When its history was last written, in words.
    """

    key: str
    view: RunView | None
    name: str = ""
    problem: str = ""
    written: str = ""


def listing(rows: Sequence[Listed], *, where: str, live: str = "", state: str = "") -> str:
    """The page; the same rows give the same bytes.

    Args:
        rows: In the order shown.
        where: The folders that were looked through, in words.
        live: An address of the same server that answers with the state of what is listed; empty: a file.
        state: That state as of now.
    """
    style = style_of("colours.css", "chart.css", "page.css") + _STYLE
    scripts = [asset("live.js")] if live else []
    allowed = policy(style, scripts, live=bool(live), forms="'self'")
    body = "".join(_row(row) for row in rows)
    script = "".join(f"<script>{text}</script>" for text in scripts)
    table = (
        '<form action="/runs" method="get"><table><thead><tr><th scope="col">Pick</th><th scope="col">Run</th>'
        '<th scope="col">Verdict</th><th scope="col">Best</th><th scope="col">Latest</th>'
        f'<th scope="col">Written</th></tr></thead><tbody>{body}</tbody></table>'
        '<p><button type="submit">Show the chosen on one page</button></p></form>'
        if rows
        else '<p class="note">No run yet: a run is a folder with <code>_rm_monitor/history.jsonl</code> in it.</p>'
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{allowed}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">'
        f"<title>Runs in {for_html(where)}</title><style>{style}</style></head>\n<body><header>"
        f'<p class="eyebrow"><span>rm_monitor · {for_html(where)}</span></p>{news(live, state, reload=True)}<h1>{_count(rows)}</h1></header>'
        f"\n<main>{table}</main>{script}</body></html>\n"
    )


def _row(row: Listed) -> str:
    link = f'<a href="/run?r={quote(row.key, safe="")}">{for_html(row.name or row.key)}</a>'
    if row.view is None:
        return f'<tr><td></td><th scope="row">{for_html(row.key)}</th><td colspan="4">{for_html(row.problem)}</td></tr>'
    view = row.view
    box = f'<input type="checkbox" name="r" value="{for_html(row.key)}" aria-label="Show {for_html(row.key)} with others">'
    best, last = view.verdict.best, view.curve.latest
    shown = "none yet" if best is None else f"step {best.step}, {_value(view, best.step)}"
    latest = "nothing yet" if last is None else f"step {last.step}, {_value(view, last.step)}"
    state = for_html(view.verdict.state)
    return (
        f'<tr><td>{box}</td><th scope="row">{link}</th>'
        f'<td class="{state}"><span class="st">{state}</span>: {prose(_claim(view.verdict))}</td>'
        f"<td>{for_html(shown)}</td><td>{for_html(latest)}</td><td>{for_html(row.written)}</td></tr>"
    )


def _claim(verdict: Verdict) -> str:
    """What stands behind the word for its state."""
    said = messages.headline(verdict)
    return said.removeprefix(f"{verdict.state.capitalize()}. ")


def _value(view: RunView, step: int) -> str:
    point = view.curve.at(step)
    metrics: Mapping[str, object] = {} if point is None else point.metrics
    if point is None or view.metric not in metrics:
        return "a gap" if point is None or not point.reason else point.reason
    found = point.metrics[view.metric]
    return f"{messages.number(found.value, view.metric)} ({messages.interval(found, view.metric)})"


def _count(rows: Sequence[Listed]) -> str:
    """How many, and how many of them went wrong."""
    bad = sum(row.view is not None and row.view.verdict.state == "degraded" for row in rows)
    many = "1 run" if len(rows) == 1 else f"{len(rows)} runs"
    return f"{many}, {bad} degraded" if bad else many
