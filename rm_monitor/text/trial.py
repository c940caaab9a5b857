"""A chat template is tried before it is rendered: one that loops, or eats the memory, is refused.

Templates are programs of strangers. Their sandbox keeps them from files and attributes, not from nested loops
or from ``"x" * 10**10``, and a rendering cannot be stopped from within. So each conversation is rendered once
in a small process of its own, under the kernel's limits of time and memory, and then by the tokenizer.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import select
import subprocess
import sys
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rm_monitor.errors import TemplateError

__all__ = ["Trials", "rendered", "try_template"]

log = logging.getLogger("rm_monitor")

SECONDS = 2  # of computing for one conversation; a real template takes a thousandth
PATIENCE = 60.0  # of waiting, on a machine so busy that 2 of computing take longer
MEMORY = 512 * 2**20
_REMEMBERED = 50_000  # conversations that ended well: 16 bytes each

if sys.platform == "win32":  # pragma: no cover  no limits to set there
    _PROGRAM = None
else:
    _PROGRAM = Path(__file__).with_name("trial_process.py")


class Trials:
    """Conversations that were tried, and the process in which the next one is.

    Args:
        seconds: Of computing, for one conversation.
        memory: Bytes the process may hold.
    """

    def __init__(self, *, seconds: int = SECONDS, memory: int = MEMORY) -> None:
        self._limits = seconds, memory
        self._process: subprocess.Popen[bytes] | None = None
        self._end: Any = None
        self._turn = threading.Lock()
        self._fine: OrderedDict[bytes, None] = OrderedDict()
        self._bad: dict[str, str] = {}
        self._unable = _PROGRAM is None
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def __call__(self, template: str, variables: Mapping[str, Any]) -> None:
        """Try a conversation.

        Args:
            template: Jinja text.
            variables: What it reads: ``messages``, special tokens, ...

        Raises:
            TemplateError: If it does not end within the limits, now or at an earlier conversation.
        """
        with self._turn:
            if why := self._bad.get(template):
                raise _refused(why)
            asked = (json.dumps([template, variables], default=str) + "\n").encode()
            key = hashlib.blake2b(asked, digest_size=16).digest()
            if self._unable or key in self._fine:
                return
            if why := self._ask(asked):
                self._bad[template] = why
                raise _refused(why)
            self._fine[key] = None
            if len(self._fine) > _REMEMBERED:
                self._fine.popitem(last=False)

    def close(self) -> None:
        """End the process; the next trial starts another."""
        if self._end is not None:
            self._end()
        self._process = self._end = None

    def _ask(self, asked: bytes) -> str:
        """Why not, as the process says, or because it ended or said nothing."""
        for attempt in (1, 2):
            try:
                process = self._started()
            except (OSError, ValueError) as problem:
                self._unable = True
                log.warning(
                    "rm_monitor: chat templates are rendered untried, as no process could be started: %s",
                    problem,
                )
                return ""
            try:
                said = _exchange(process, asked)
            except BrokenPipeError:  # it was ended between two conversations, by somebody else
                self.close()
                if attempt == 1:
                    continue
                said = b""
            if said.endswith(b"\n"):
                return str(json.loads(said))
            self.close()
            return f"did not end within {self._limits[0]} s of computing and {self._limits[1] >> 20} MB"
        return ""

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            assert _PROGRAM is not None
            self._process = subprocess.Popen(
                [sys.executable, str(_PROGRAM), str(os.getpid()), *map(str, self._limits)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is the trainer's to handle
                env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            )
            self._end = weakref.finalize(self, _end, self._process, os.getpid())
        return self._process

    def _forget(self) -> None:
        """A forked child asks a process of its own."""
        self._turn = threading.Lock()
        self._process = self._end = None


def _exchange(process: subprocess.Popen[bytes], asked: bytes) -> bytes:
    """What a process answers; less than a line if it ended, or took too long to read or to answer."""
    assert process.stdin is not None
    assert process.stdout is not None
    goes_in, comes_out = process.stdin.fileno(), process.stdout.fileno()
    os.set_blocking(goes_in, False)
    until, left, said = time.monotonic() + PATIENCE, memoryview(asked), b""
    waits = select.poll()
    waits.register(goes_in, select.POLLOUT)
    while not said.endswith(b"\n"):
        if not waits.poll(1000 * max(0.0, until - time.monotonic())):
            break
        if left:
            left = left[os.write(goes_in, left) :]
            if not left:
                waits.unregister(goes_in)
                waits.register(comes_out, select.POLLIN)
        else:
            part = os.read(comes_out, 65536)
            if not part:
                break
            said += part
    return said


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    if os.getpid() != owner:
        return
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except OSError:  # what was not written yet
                continue
    with suppress(subprocess.TimeoutExpired):  # one that hangs in the kernel is left to it
        process.wait(timeout=10)


def _refused(why: str) -> TemplateError:
    return TemplateError(
        f"the chat template {why}: it is broken or hostile, and is rendered nowhere; give another "
        "(`chat_template=`), or a tokenizer whose template ends"
    )


try_template = Trials()


def rendered(tokenizer: Any, turns: list[dict[str, Any]], *, template: str, **given: Any) -> Any:
    """What ``tokenizer.apply_chat_template`` makes of a conversation, once the template was tried on it.

    Args:
        tokenizer: Whose function is called.
        turns: The conversation.
        template: Jinja text.
        given: As ``apply_chat_template`` takes it.

    Raises:
        TemplateError: If the template does not end within its limits.
        Exception: What the template raises.
    """
    beside = {name: value for name, value in given.items() if name not in _NOT_READ}
    tokens = dict(getattr(tokenizer, "special_tokens_map", None) or {})
    messages = [_as_read(turn) for turn in turns]
    variables = {"tools": None, "documents": None, "add_generation_prompt": False, **tokens, **beside}
    try_template(template, {**variables, "messages": messages})
    return tokenizer.apply_chat_template(turns, chat_template=template, **given)


def _as_read(turn: Mapping[str, Any]) -> dict[str, Any]:
    """A turn as transformers shows it to a template: without None, reasoning under each of its names."""
    read = {name: value for name, value in turn.items() if value is not None}
    thought = next((read[name] for name in _REASONING if name in read), None)
    return read if thought is None else {"thinking": thought, **read, "reasoning_content": thought}


_REASONING = ("reasoning_content", "thinking", "reasoning")
_NOT_READ = frozenset({"tokenize", "return_dict", "tokenizer_kwargs"})  # how the text is read, not written
