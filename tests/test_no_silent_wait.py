"""Every call of ours that may wait is on a list with what ends it: a new one is put there, or does not."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "rm_monitor"
# Names of calls that wait, in the libraries that we use.
WAIT = {
    *("wait", "poll", "recv", "recv_bytes", "result", "sleep", "acquire", "flock", "lockf", "communicate"),
    *("waitpid", "barrier", "monitored_barrier", "all_gather_object", "broadcast_object_list", "new_group"),
    *("as_completed", "readline", "request", "exchange", "urlopen", "getresponse", "check_output", "send"),
    *("check_call", "accept", "join", "run", "connect"),
}
NOT = {"os.path.join", "os.pathsep.join", "self.limits.wait", "select.poll", "process.poll"}
RANKS = "ours are waited for with a line a minute: 15 minutes to come, 6 hours in a collective"
SECOND = "5 times its longest evaluation, an hour for the first; a line a minute; then it is killed"
WITH_TRAINER = "in the second process, which ends with its trainer"
SERVER = "the call's total (300 s), its read silence (60 s), a line a minute"

# File, function, call: what ends it.
LIST = {
    ("cache/scores", "_opened", "sqlite3.connect"): "30 s, then scores are not kept",
    ("files/lease", "Lease.release", "self._thread.join"): "it is told to end, and sleeps on that word",
    ("files/lease", "Lease._renew", "self._done.wait"): "a heartbeat, in a thread of its own",
    ("files/lock", "Lock.__init__", "fcntl.flock"): "LOCK_NB: it never waits",
    ("generators/vllm/generator", "VLLMGenerator._sleep", "self._engine.sleep"): "it lets go of memory",
    ("generators/server/weights", "RunCommand.load", "subprocess.run"): "timeout, 600 s; a line a minute",
    ("generators/server/weights", "RunCommand._wait", "client.clock.sleep"): "ready_timeout, a line a minute",
    ("http/client", "Client._attempts", "self._wire.exchange"): SERVER,
    ("http/client", "Client._attempts", "self.clock.sleep"): SERVER,
    ("http/client", "Client.hint", "self._wire.exchange"): "its own short limit",
    ("http/parallel", "in_order", "as_completed"): SERVER,
    ("http/parallel", "in_order", "wait"): SERVER,
    ("http/parallel", "in_order", "future.result"): SERVER,
    ("http/wire", "Wire.exchange", "self._session.request"): SERVER,
    ("http/wire", "_Noted.getresponse", "super().getresponse"): SERVER,
    ("monitor/late", "patiently", "time.sleep"): "45 s, with a line at its beginning; nothing is trained yet",
    (
        "monitor/overlap/serve",
        "main",
        "connection.send",
    ): WITH_TRAINER,
    (
        "monitor/overlap/serve",
        "main",
        "connection.recv",
    ): WITH_TRAINER,
    ("monitor/overlap/serve", "_end_with", "time.sleep"): "in a thread of the second process",
    ("monitor/overlap/worker", "Worker.tell", "self._pipe.send"): "a step or a path, into an empty pipe",
    ("monitor/overlap/worker", "Worker.hear", "self._poll.poll"): SECOND,
    ("monitor/overlap/worker", "Worker.hear", "self._process.wait"): "10 s",
    ("monitor/overlap/worker", "Worker._wait", "self._poll.poll"): SECOND,
    ("monitor/overlap/worker", "_end", "process.wait"): "10 s after it was killed",
    ("prompts/characters", "lines", "reader.readline"): "a file",
    ("prompts/characters", "_utf8", "file.readline"): "a file",
    ("scorers/limited", "Limited._within", "self._busy.join"): "time_limit, a line a minute",
    (
        "sweep/run",
        "_measure",
        "future.result",
    ): "a command in the foreground: an evaluation",
    ("sweep/watch", "watch", "sleep"): "a command in the foreground, which says what it waits for",
    ("sweep/watcher", "_Turn.__enter__", "time.sleep"): "60 s",
    ("testing/stores", "_threads", "thread.join"): "in a test of the user's",
    ("text/trial", "_exchange", "waits.poll"): "60 s, then the process is killed and the template refused",
    ("text/trial", "_end", "process.wait"): "10 s after it was killed",
    ("text/trial_process", "main", "lines.readline"): "in the process of a trial, which ends with its owner",
    ("training/ranks", "Ranks.current", "dist.new_group"): RANKS,
    ("training/ranks", "Ranks.broadcast", "dist.broadcast_object_list"): RANKS,
    ("training/ranks", "_all_come", "time.sleep"): RANKS,
    ("training/ranks", "_all_gather", "dist.all_gather_object"): RANKS,
}


def calls(node, where=()):
    """Function and text of every call below a node that may wait."""
    for child in ast.iter_child_nodes(node):
        named = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        inside = (*where, child.name) if named else where
        if isinstance(child, ast.Call):
            function = child.func
            name = getattr(function, "attr", getattr(function, "id", ""))
            text = ast.unparse(function)
            of_text = isinstance(function, ast.Attribute) and isinstance(
                function.value, ast.Constant | ast.JoinedStr | ast.IfExp
            )
            ours = name == "run" and not text.startswith("subprocess.")
            if name in WAIT and text not in NOT and not of_text and not ours:
                yield ".".join(where), text
        yield from calls(child, inside)


@cache
def found():
    return frozenset(_found())


def _found():
    for path in sorted(ROOT.rglob("*.py")):
        file = str(path.relative_to(ROOT).with_suffix(""))
        for where, text in calls(ast.parse(path.read_text(encoding="utf-8"))):
            yield file, where, text


def test_every_call_that_may_wait_is_on_the_list_with_what_ends_it():
    assert sorted(found() - set(LIST)) == []


def test_the_list_has_nothing_that_is_no_more():
    assert sorted(set(LIST) - found()) == []


@pytest.mark.parametrize(
    "source",
    [
        "def f(q):\n    q.thread.join()",
        "class A:\n    def f(self):\n        self.lock.acquire()",
        "wait(futures)",
    ],
)
def test_a_new_wait_would_be_noticed(source):
    assert list(calls(ast.parse(source)))
