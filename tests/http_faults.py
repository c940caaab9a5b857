"""What happens when the server of a reward model misbehaves: ``python -m tests.http_faults`` prints a table.

Each fault begins after the scorer has connected, and meets a whole evaluation of a `RewardMonitor`, with a
key in the environment that must turn up nowhere. ``tests/test_http_faults.py`` holds every row.
"""

import contextlib
import logging
import math
import os
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from rm_monitor import RewardMonitor
from rm_monitor.http import Limits
from rm_monitor.scorers import load_scorer
from rm_monitor.testing import Says
from tests import servers
from tests.servers import serve

SECRET = "SENTINEL-3c9e-a-key-that-nobody-may-see"
PATIENT = Limits(connect=5.0, read=10.0, total=20.0, attempts=3, backoff=0.005, max_bytes=2**20)
HURRIED = replace(PATIENT, connect=0.5, read=0.5, total=0.8)  # for servers that take for ever
LONG = 200  # characters of a completion; the canaries are shorter
ANSWER = "x" * LONG


def value_of(text):
    """A reward that anybody can compute: -3 to 3, from the text alone."""
    return 3.0 * math.sin(sum(map(ord, text)))


class Scores:
    """As vLLM answers; ``change`` may alter what it gives."""

    def __init__(self):
        self.change = lambda value: value
        self.length = lambda items: items

    def __call__(self, path, body):
        if path == "/v1/models":
            return {"data": [{"id": "rm", "owned_by": "vllm"}]}
        if path == "/version":
            return {"version": "0.15.0"}
        if body is None:
            return 404, {}
        value = self.change(value_of(body["messages"][-1]["content"]))
        return {"data": self.length([{"index": 0, "data": [value]}])}


def answers_only(value):
    """The policy's answers get this reply; the canaries are scored as before."""

    def fault(handler, body):
        if body is None or len(body["messages"][-1]["content"]) != LONG:
            return False
        handler.say(value)
        return None

    return fault


def change(function):
    def switch(server, other):
        server.answer.change = function

    return switch


def fault(make):
    def switch(server, other):
        server.fault = make(other)

    return switch


def gone(server, other):
    def drop(handler, body):
        handler.close_connection = True

    server.stop()
    server.fault = drop  # for connections that are still open


@dataclass(frozen=True)
class Fault:
    """One row: what goes wrong, and what must come of it."""

    name: str
    switch: object
    status: str
    says: str
    at_start: bool = False  # it is there when the scorer connects
    limits: Limits = PATIENT


FAULTS = [
    Fault(
        "hangs",
        fault(lambda o: servers.hang),
        "failed",
        "ScorerUnavailable.*(stayed silent|had not finished)",
        limits=HURRIED,
    ),
    Fault(
        "drips the body, a byte a time",
        fault(lambda o: servers.drip),
        "failed",
        "had not finished after 0.8",
        limits=HURRIED,
    ),
    Fault(
        "drips the headers",
        fault(lambda o: servers.drip_headers),
        "failed",
        "had not finished after 0.8",
        limits=HURRIED,
    ),
    Fault("500", fault(lambda o: servers.status(500)), "failed", "in 3 attempts.*HTTP 500"),
    Fault("503 twice, then well", fault(lambda o: servers.first(2, servers.status(503))), "ok", ""),
    Fault(
        "429, Retry-After one hour",
        fault(lambda o: servers.status(429, Retry_After="3600")),
        "failed",
        "HTTP 429.*next attempt would come after",
    ),
    Fault("429 once, then well", fault(lambda o: servers.first(1, servers.status(429))), "ok", ""),
    Fault(
        "breaks off in the body",
        fault(lambda o: servers.cut_off),
        "failed",
        "connection failed|ended after 7",
    ),
    Fault("no longer listens", gone, "failed", "ScorerUnavailable.*connection failed"),
    Fault(
        "one score too many",
        fault(lambda o: answers_only({"data": [{"index": i, "data": [1.0]} for i in (0, 1)]})),
        "failed",
        "2 scores for 1 rows",
    ),
    Fault("no score at all", fault(lambda o: answers_only({"data": []})), "failed", "0 scores for 1 rows"),
    Fault(
        "text where a score belongs",
        fault(lambda o: answers_only({"data": [{"index": 0, "data": ["9"]}]})),
        "failed",
        "is no number",
    ),
    Fault(
        "NaN",
        fault(lambda o: answers_only(b'{"data": [{"index": 0, "data": [NaN]}]}')),
        "failed",
        "no completion could be scored",
    ),
    Fault(
        "infinity (1e999)",
        fault(lambda o: answers_only(b'{"data": [{"index": 0, "data": [1e999]}]}')),
        "failed",
        "no completion could be scored",
    ),
    Fault("HTML, 200", fault(lambda o: servers.html), "failed", "'text/html', not JSON"),
    Fault("broken JSON", fault(lambda o: servers.broken_json), "failed", "broken JSON"),
    Fault("JSON 200 000 deep", fault(lambda o: servers.deep_json), "failed", "broken JSON .RecursionError"),
    Fault(
        "1 GB, announced", fault(lambda o: servers.gigabyte), "failed", "announced an answer of 1073741824"
    ),
    Fault("1 GB, not announced", fault(lambda o: servers.endless), "failed", "more than the 1048576 bytes"),
    Fault("packed body (gzip)", fault(lambda o: servers.packed), "failed", "packed body"),
    Fault(
        "redirect to another host",
        fault(lambda o: servers.redirect_to(o.url.replace("127.0.0.1", "localhost"))),
        "failed",
        "redirect .HTTP 307. to localhost, which is not followed",
    ),
    Fault("401, the key written back", fault(lambda o: servers.echo_key), "failed", "HTTP 401.*Bearer <key>"),
    Fault(
        "activated scores, at the start", change(lambda x: 1 / (1 + math.exp(-x))), "refused", "sigmoid", True
    ),
    Fault("one score for all, at the start", change(lambda x: 1.0), "refused", "the same score, 1", True),
    Fault(
        "activated during the run",
        change(lambda x: 1 / (1 + math.exp(-x))),
        "failed",
        "another model than when",
    ),
    Fault(
        "another model during the run", change(lambda x: 1.3 * x - 0.2), "failed", "another model than when"
    ),
]


@dataclass(frozen=True)
class Outcome:
    """What came of a fault.

    ``said`` is everything the monitor wrote anywhere: messages, logs, representations, files.
    """

    fault: Fault
    status: str
    reason: str
    metrics: int
    requests: int
    megabytes: float
    seconds: float
    heard_elsewhere: int
    after: str
    said: str


class Log(logging.Handler):
    def __init__(self):
        super().__init__(logging.DEBUG)
        self.lines = []
        self.setFormatter(logging.Formatter())

    def emit(self, record):
        self.lines.append(self.format(record))


def run(row, folder):
    """Meet one fault with one evaluation, then one more with the fault gone."""
    said = Log()
    logging.getLogger().addHandler(said)
    with contextlib.ExitStack() as stack:
        stack.callback(logging.getLogger().removeHandler, said)
        other = stack.enter_context(serve(lambda path, body: {}))
        server = stack.enter_context(serve(Scores()))
        if row.at_start:
            row.switch(server, other)
        scorer, point, reason = None, None, ""
        began, asked = time.monotonic(), 0
        try:
            scorer = load_scorer(server.url, key_env="MY_KEY", limits=row.limits, concurrency=2)
            monitor = RewardMonitor(
                scorer,
                ["One?"],
                references=["reference"],
                output_dir=folder,
                report_to="none",
                generator=Says(ANSWER),
            )
            monitor.evaluate(step=0)
            server.sent, asked, began = 0, len(server.asked), time.monotonic()
            if not row.at_start:
                row.switch(server, other)
            point = monitor.evaluate(step=1)
        except Exception as problem:
            reason = f"{type(problem).__name__}: {problem}"
        seconds = time.monotonic() - began
        requests, sent = len(server.asked) - asked, server.sent
        after = ""
        if point is not None and row.switch is not gone:
            server.fault, server.answer = None, Scores()
            after = monitor.evaluate(step=2).status
        files = [p.read_bytes().decode("utf-8", "replace") for p in Path(folder).rglob("*") if p.is_file()]
        shown = [repr(x) + str(vars(x)) for x in (scorer, getattr(scorer, "client", None)) if x is not None]
        if scorer is not None:
            shown += [scorer.describe(), scorer.fingerprint]
        return Outcome(
            fault=row,
            status="refused" if point is None else point.status,
            reason=reason or point.reason,
            metrics=0 if point is None else len(point.metrics),
            requests=requests,
            megabytes=sent / 2**20,
            seconds=seconds,
            heard_elsewhere=len(other.asked),
            after=after,
            said="\n".join([reason, str(point), *said.lines, *files, *shown]),
        )


def main():
    """Print the table."""
    os.environ["MY_KEY"] = SECRET
    logging.getLogger("rm_monitor").setLevel(logging.CRITICAL)
    print("| the server | the point | why | requests | MB sent | s | afterwards | key seen |")
    print("|---|---|---|---|---|---|---|---|")
    for row in FAULTS:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(None):
            os.environ["RM_MONITOR_CACHE"] = folder
            o = run(row, folder)
        reason = o.reason.replace("|", "/")
        shown = reason if len(reason) < 230 else reason[:228] + " ..."
        print(
            f"| {row.name} | {o.status} | {shown} | {o.requests} | {o.megabytes:.2f} | {o.seconds:.2f} "
            f"| {o.after or '-'} | {o.said.count(SECRET)} |"
        )


if __name__ == "__main__":
    main()
