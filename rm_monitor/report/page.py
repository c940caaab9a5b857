"""The page: one file, words first, whole without its script, nothing loaded from anywhere.

A strict policy allows exactly the one style and the one script that are in the file, by their hashes, and
forbids everything else: no request, no inline style, no HTML made from text (Trusted Types). Every text of a
model, a file or an error goes through `rm_monitor.text.escape.for_html`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence

from rm_monitor.messages import page as sentences
from rm_monitor.report.assets import asset, style_of
from rm_monitor.report.sections.answers import MOST, answers, tools
from rm_monitor.report.sections.curve import curve
from rm_monitor.report.sections.made import made
from rm_monitor.report.sections.opening import opening
from rm_monitor.report.sections.second import second
from rm_monitor.report.sections.slices import slices
from rm_monitor.report.sections.text_metrics import text_metrics
from rm_monitor.report.view import RunView
from rm_monitor.text.escape import for_html

__all__ = ["RunView", "news", "page", "policy"]


def page(
    runs: RunView | Sequence[RunView], *, rows: int | None = MOST, live: str = "", state: str = ""
) -> str:
    """The whole page; the same runs give the same bytes.

    Args:
        runs: One run, or several to be seen together: the first is in focus, a switch changes it.
        rows: Prompts whose answers are embedded, all runs together; None: all.
        live: An address of the same server that answers with the state of what is shown; empty: a file.
        state: That state as of now.

    Raises:
        ValueError: If there is no run.
    """
    runs = [runs] if isinstance(runs, RunView) else list(runs)
    if not runs:
        raise ValueError("`runs` is empty: a page shows at least one run")
    style, scripts = _style(len(runs)), [asset("page.js"), *([asset("live.js")] if live else [])]
    title = for_html(sentences.title(runs[0].verdict, runs[0].name))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy(style, scripts, live=bool(live))}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">'
        f"<title>{title}</title><style>{style}</style></head>\n<body>"
        f"{''.join(_body(runs, rows, news(live, state)))}{_scripts(scripts)}</body></html>\n"
    )


def news(where: str, state: str, *, reload: bool = False) -> str:
    """What a served page shows when there is something new; nothing for a file.

    Args:
        where: The address that answers with the state.
        state: As of now.
        reload: Show the new by itself while nobody is using the page.
    """
    if not where:
        return ""
    by_itself = ' data-reload="1"' if reload else ""
    return (
        f'<p class="news" id="news" role="status" data-where="{for_html(where)}" data-state="{for_html(state)}"'
        f'{by_itself} hidden><a href="">There is something new: show it</a></p>'
    )


def _scripts(scripts: Sequence[str]) -> str:
    return "".join(f"<script>{script}</script>" for script in scripts)


def _body(runs: Sequence[RunView], rows: int | None, news: str = "") -> Iterator[str]:
    shown = [run for run in runs if run.tables]
    names = " · ".join(run.name for run in runs)
    if shown:
        yield '<a class="skip" href="#answers">Skip to the answers</a>'
    yield (
        f'<header><p class="eyebrow"><span>rm_monitor · {for_html(names)}</span>'
        '<button id="theme" type="button" hidden>Dark</button></p>'
    )
    yield news
    for k, run in enumerate(runs):
        yield f'<div class="focus run{k}">'
        yield from opening(run, first=k == 0)
        yield "</div>"
    yield "</header>\n<main>"
    yield from curve(runs)
    for k, run in enumerate(runs):
        yield f'\n<div class="focus run{k}">'
        for section in (slices, second, text_metrics):
            yield from section(run)
        yield "</div>"
    if shown:
        yield '\n<section id="answers"><h2>Answers, side by side</h2>'
        yield from tools(shown)
        share = None if rows is None else max(rows // len(shown), 1)
        for k, run in enumerate(runs):
            yield f'<div class="focus run{k}">'
            yield from answers(run, k, most=share)
            yield "</div>"
        yield "</section>"
    for k, run in enumerate(runs):
        yield f'\n<div class="focus run{k}">'
        yield from made(run)
        yield "</div>"
    yield "</main>\n"


def _style(runs: int) -> str:
    """The style, with the rules of the run switch; without several runs there is nothing to switch."""
    style = style_of("colours.css", "chart.css", "page.css")
    if runs == 1:
        return style
    rules = [
        ".focus{display:none}.chart .run{opacity:.5}.chart .run .band,.chart .run .pt,.chart .run .star{display:none}"
    ]
    for k in range(runs):
        on = f"body:has(#f{k}:checked)"
        rules.append(
            f"{on} .focus.run{k},{on} .run{k} .focus,{on} .chart .run{k} .band,{on} .chart .run{k} .pt,"
            f"{on} .chart .run{k} .star{{display:revert}}{on} .chart .run{k}{{opacity:1}}"
        )
    return style + "\n".join(rules)


def policy(style: str, scripts: Sequence[str], *, live: bool = False, forms: str = "'none'") -> str:
    """What a page may do: its own style and scripts by their hashes, and nothing else.

    Args:
        style: The one style.
        scripts: All scripts.
        live: It may ask its own server.
        forms: Where forms may be sent.
    """
    by_hash = " ".join(f"'{_digest(script)}'" for script in scripts) or "'none'"
    asks = " connect-src 'self';" if live else ""
    return (
        f"default-src 'none'; script-src {by_hash}; style-src '{_digest(style)}'; img-src 'none';{asks} "
        f"base-uri 'none'; form-action {forms}; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
