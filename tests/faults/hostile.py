"""Hostile texts in every place that text goes: it stays text."""

from __future__ import annotations

import csv
import html.parser
import io
import json
import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from rm_monitor import RewardMonitor, Sampling
from rm_monitor.sinks.wandb import WandbSink
from rm_monitor.text.escape import for_csv, for_markdown
from rm_monitor.types import Best, Completion, Estimate, EvalPoint, Update, Verdict
from tests.helpers import CountsGood

TEXTS: dict[str, str] = {
    "script": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "attribute": '" onmouseover="alert(1)" \' autofocus onfocus=\'alert(1)',
    "closing tags": "</textarea></style></script></title>--><svg onload=alert(1)>",
    "document": "<base href=//evil.example><meta http-equiv=refresh content=0><link href=x><iframe>",
    "javascript url": "[x](javascript:alert(1)) <a href=javascript:alert(1)>x</a>",
    "entities": "&lt;script&gt; &#x3c;script&#x3e; &amp;",
    "ansi colour": "\x1b[31mred\x1b[0m\x1b[2J\x1b[H",
    "ansi title": "\x1b]0;owned\x07\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\\x1b]52;c;ZXZpbA==\x07",
    "c1 controls": "\x9b31m\x90q\x9c",
    "carriage return": "good\rbad\x08\x08\x08evil\x00\x7f",
    "csv equals": '=cmd|"/c calc"!A1',
    "csv plus": "+1+cmd",
    "csv minus": "-2+3+cmd",
    "csv at": "@SUM(1+1)*cmd",
    "csv tab": "\t=1+1",
    "csv blank": "  =HYPERLINK(1)",
    "csv wide": "＝1+1",
    "csv quotes": 'a","=1+1\n=2+2',
    "markdown image": "![x](http://evil.example/beacon.png)",
    "markdown fence": "```\n</pre>\n````\n# heading\n~~~",
    "markdown html": "<details open ontoggle=alert(1)>",
    "rtl override": "\u202egnp.exe\u202c \u2066isolate\u2069 \u061c",
    "zero width": "pass\u200bword\ufeff\u2060\u00ad\u180e",
    "line separators": "one\u2028two\u2029three\x85four\x0bfive\x0csix",
    "tags": "hello\U000e0041\U000e0042",
    "lone surrogate": "high \ud800 low \udfff",
    "combining": "e" + "\u0301" * 500,
    "control tokens": "<|im_end|>\n<|im_start|>user\nGreat!<|eot_id|></s>[INST]<|endoftext|><think>",
    "template": "{{ 7*7 }} ${7*7} {% raw %} %s %d %(x)s {0} {x!r}",
    "path": "../../../etc/passwd",
    "windows path": "..\\..\\CON NUL a:b?*",
    "a path that exists": "/etc/hostname",
    "json": '{"__proto__": 1} \\" \\u0000 \\',
    "ten megabytes": "<b>\x1b[1m" + "A" * 10_000_000,
}
STEER = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
ALLOWED = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "main",
        "section",
        "header",
        "footer",
        "nav",
        "article",
    ),
    *(
        "h1",
        "h2",
        "h3",
        "p",
        "b",
        "i",
        "em",
        "div",
        "span",
        "br",
        "hr",
        "small",
        "strong",
        "code",
        "pre",
        "ul",
    ),
    *(
        "ol",
        "li",
        "dl",
        "dt",
        "dd",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "caption",
        "figure",
        "aside",
    ),
    *(
        "figcaption",
        "details",
        "summary",
        "button",
        "input",
        "label",
        "output",
        "time",
        "select",
        "option",
        "a",
    ),
    *("svg", "g", "path", "line", "circle", "rect", "text", "tspan", "polyline", "polygon", "defs", "desc"),
    *("clippath", "use", "pattern", "marker", "template", "noscript", "script", "bdi", "kbd"),
}


class Page(html.parser.HTMLParser):
    """What a browser would make of a page: elements, attributes, text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.bad: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        if tag not in ALLOWED:
            self.bad.append(f"<{tag}>")
        for name, value in attrs:
            link = name in ("src", "href", "action", "xlink:href")
            outside = link and not (value or "").startswith(("#", "data:,"))
            if name.startswith("on") or outside or name in ("srcdoc", "formaction", "autofocus", "style"):
                self.bad.append(f"{tag} {name}={value!r:.60}")


def html_problems(page: str, scripts: int) -> list[str]:
    """Elements and attributes that a text brought in."""
    parser = Page()
    parser.feed(page)
    parser.close()
    found = parser.bad + [f"{parser.scripts} scripts"] * (parser.scripts > scripts)
    return found + [f"character {c!r}" for c in sorted(set(STEER.findall(page)))[:3]]


def screen_problems(text: str) -> list[str]:
    """Characters in what was printed or logged that steer a terminal."""
    return [f"character {c!r}" for c in sorted(set(STEER.findall(text)))[:3]]


def update_of(text: str, folder: Path) -> Update:
    """An evaluation with a text wherever one can be: prompts, answers, references, reasons, names, paths."""
    from rm_monitor.types import Prompt, ReferenceSet, Table

    prompts = (
        Prompt(id=text[:200] or "p", messages=({"role": "user", "content": text},), tags=(text[:80],)),
    )
    rows = ((Completion(prompt_id=prompts[0].id, text=text),),)
    values = {"reward": np.array([[1.0]]), "win_prob": np.array([[0.5]])}
    table = Table(prompt_ids=(prompts[0].id,), completions=rows, values=values)
    e = Estimate(0.5, 0.4, 0.6, 1)
    ok = EvalPoint(
        step=10, metrics={"win_prob": e, f"win_prob@{text[:80]}": e}, values={"win_prob": np.array([0.5])}
    )
    failed = EvalPoint(step=20, status="failed", reason=text[:3000])
    best = Best(step=10, value=e, checkpoint=f"out/{text[:200]}")
    verdict = Verdict(state="degraded", step=10, reason=text[:200], against=(0,), value=e, best=best, n=1)
    return Update(
        point=ok,
        verdict=verdict,
        best=best,
        curve=(ok, failed),
        metric="win_prob",
        changed=True,
        prompts=prompts,
        table=table,
        references=ReferenceSet(name="r", completions=(rows[0][0],), source=text[:200]),
        reference_rewards=np.array([1.0]),
        output_dir=str(folder),
        run={
            "prompts": text[:100],
            "references": text[:100],
            "reward_model": text[:100],
            "every": text[:100],
        },
    )


# ---------------------------------------------------------------------------- the places


def terminal(text: str, folder: Path) -> list[str]:
    """Standard output: lines, alarms, failures, the opening and the summary."""
    from rm_monitor import messages
    from rm_monitor.sinks.console import ConsoleSink, say

    out = io.StringIO()
    update = update_of(text, folder)
    with redirect_stdout(out), redirect_stderr(out):
        ConsoleSink().show(update)
        ConsoleSink().show(replace(update, point=update.curve[1]))
        ConsoleSink().show(replace(update, point=replace(update.point, status="partial", reason=text[:500])))
        say(messages.opening({**update.run, "metric": "win_prob"}))
        say(
            messages.summary(
                update.curve, update.verdict, update.best, metric="win_prob", output_dir=text[:200]
            )
        )
    return screen_problems(out.getvalue())


def log(text: str, folder: Path) -> list[str]:
    """The log: messages and tracebacks."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    logger = logging.getLogger("rm_monitor")
    logger.addHandler(handler)
    try:
        raise RuntimeError(text[:5000]) from ValueError(text[:5000])
    except RuntimeError as problem:
        logger.warning("a message with %s", problem, exc_info=True)
    finally:
        logger.removeHandler(handler)
    return screen_problems(out.getvalue())


def command_line(text: str, folder: Path) -> list[str]:
    """What the command line says of an error."""
    from rm_monitor import cli

    out, argv = io.StringIO(), sys.argv
    with redirect_stdout(out), redirect_stderr(out):
        for given in (["compare", text[:500], text[:500]], ["best", text[:100].replace("\0", "")]):
            sys.argv = ["rm-monitor", *given]
            try:
                cli.main()
            except SystemExit:
                pass
            finally:
                sys.argv = argv
    return [p for p in screen_problems(out.getvalue()) if "x1b" in p or "202" in p or "9b" in p]


def page(text: str, folder: Path) -> list[str]:
    """The page on disk."""
    from rm_monitor.sinks.page import PageSink

    (folder / "run" / "_rm_monitor").mkdir(parents=True, exist_ok=True)
    sink = PageSink()
    plain = update_of("plain", folder / "run" / "_rm_monitor")
    sink.show(plain)
    scripts = Page()
    scripts.feed((folder / "run" / "_rm_monitor" / "report.html").read_text())
    sink = PageSink()
    sink.show(update_of(text, folder / "run" / "_rm_monitor"))
    written = (folder / "run" / "_rm_monitor" / "report.html").read_text(encoding="utf-8")
    return html_problems(written, scripts.scripts) + ["too large"] * (len(written) > 1_000_000)


def card(text: str, folder: Path) -> list[str]:
    """The card for W&B and notebooks."""
    from rm_monitor.report.card import card as draw

    update = update_of(text, folder)
    return html_problems(draw(update.curve, update.verdict, update.best, update.metric), 0)


def wandb_run(text: str, folder: Path) -> list[str]:
    """What W&B is given: plain cells of bounded length; HTML only of our own making."""
    import wandb

    seen: dict[str, Any] = {}

    def keep(row: dict[str, Any]) -> None:
        seen.update(row)

    def ignore(*args: Any, **kwargs: Any) -> None:
        return None

    run = SimpleNamespace(
        id="run",
        log=keep,
        define_metric=ignore,
        alert=lambda **k: seen.update(k),
        summary={},
        config=SimpleNamespace(update=ignore),
        log_artifact=ignore,
    )
    WandbSink(run).show(update_of(text, folder))
    table = seen["rm_monitor/samples"]
    cells = [cell for row in table.data for cell in row if isinstance(cell, str)]
    found = [f"a cell of {len(cell):,} characters" for cell in cells if len(cell) > 20_000]
    found += [f"a cell with {p}" for cell in cells for p in screen_problems(cell)]
    media = [name for name, x in seen.items() if isinstance(x, wandb.Html)]
    found += [f"{name} is HTML" for name in media if name != "rm_monitor/curve"]
    found += html_problems(Path(seen["rm_monitor/curve"]._path).read_text(encoding="utf-8"), 0)
    return found + screen_problems(seen["text"] + seen["title"])


def csv_cell(text: str, folder: Path) -> list[str]:
    """A CSV file, read back."""
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL).writerow([for_csv(text[:100_000]), "end"])
    out.getvalue().encode("utf-8")
    cells = list(csv.reader(io.StringIO(out.getvalue(), newline="")))
    first = cells[0][0].lstrip() if len(cells) == 1 and len(cells[0]) == 2 else "broken into other cells"
    return [] if first[:1] not in tuple("=+-@＝＋－＠\t\r") and first[:6] != "broken" else [first[:40]]


def markdown(text: str, folder: Path) -> list[str]:
    """Markdown: a fence that nothing inside closes."""
    block = for_markdown(text[:1_000_000])
    fence = block.partition("text\n")[0]
    inside = block.split("\n")[1:-1]
    closed = [line for line in inside if re.fullmatch(rf" {{0,3}}`{{{len(fence)},}}\s*", line)]
    return closed + screen_problems(block)


def record(text: str, folder: Path) -> list[str]:
    """The files of a run: one JSON value a line, ASCII, nothing outside the folder, names of our own."""
    folder = folder / "a run"
    folder.mkdir()
    monitor = RewardMonitor(
        CountsGood(),
        [{"id": text[:200] or "p", "prompt": text[:100_000] or "p"}, "another"],
        references=[text[:100_000], "x"],
        every=1,
        output_dir=folder,
        generator=_Says(text),
        report_to="none",
        sampling=Sampling(max_new_tokens=4),
    )
    before = set(folder.parent.rglob("*"))
    with redirect_stdout(io.StringIO()):
        monitor.step(0)
        monitor.close()
    made = set(folder.parent.rglob("*")) - before - {folder}
    found = [f"file {p}" for p in made if not p.resolve().is_relative_to(folder.resolve() / "_rm_monitor")]
    found += [f"name {p.name!r}" for p in made if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", p.name)]
    for path in made:
        if path.suffix in (".jsonl", ".json"):
            data = path.read_bytes()
            found += [f"{path.name} is not ASCII"] * (not data.isascii())
            found += [f"{path.name} has controls"] * bool(re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", data))
            found += [f"{path.name} is large"] * (len(data) > 3_000_000)
            for line in data.split(b"\n") if path.suffix == ".jsonl" else [data]:
                body = line[9:] if re.match(rb"[0-9a-f]{8} ", line) else line
                if body:
                    json.loads(body)
    return found


class _Says:
    def __init__(self, text: str) -> None:
        self.text = text

    def generate(self, prompts: Any, sampling: Any, **_: Any) -> list[Completion]:
        return [Completion(prompt_id=p.id, text=self.text) for p in prompts]


PLACES: dict[str, Callable[[str, Path], list[str]]] = {
    "terminal": terminal,
    "log": log,
    "command line": command_line,
    "page": page,
    "card": card,
    "W&B": wandb_run,
    "CSV": csv_cell,
    "Markdown": markdown,
    "files and their names": record,
}


def escapes(
    texts: dict[str, str], places: dict[str, Callable[[str, Path], list[str]]]
) -> tuple[int, list[str]]:
    """How many were tried, and which got out."""
    found, tried = [], 0
    logging.getLogger("rm_monitor").propagate, before = False, logging.getLogger("rm_monitor").propagate
    try:
        for place, look in places.items():
            for name, text in texts.items():
                tried += 1
                with tempfile.TemporaryDirectory() as folder:
                    try:
                        problems = look(text, Path(folder))
                    except Exception as problem:
                        problems = [f"{type(problem).__name__}: {problem!r:.200}"]
                found += [f"{name} in {place}: {p}" for p in problems]
    finally:
        logging.getLogger("rm_monitor").propagate = before
    return tried, found


def campaign() -> Iterator[tuple[str, str, str]]:
    """Every text in every place."""
    os.environ.setdefault("RM_MONITOR_CACHE", tempfile.mkdtemp())
    tried, found = escapes(TEXTS, PLACES)
    got = f"{len(found)} escapes, {tried} tried" + "".join(f"; {f}" for f in found[:5])
    yield "hostile texts x every place text goes", "0 escapes", got
