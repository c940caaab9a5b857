"""The process in which a chat template is tried: whatever it does to it, it does to nobody else.

Run as a file, by `rm_monitor.text.trial`. A line of JSON comes in (template, variables), a line goes out:
why the template is not to be rendered anywhere, or nothing. Time and memory are bounded by the kernel: no
trick of the template language has to be known here. The environment is the one of transformers.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    sys.path.pop(0)  # this folder, whose names are not for others

import json
import os
import select
import time
from datetime import datetime
from typing import Any

__all__ = ["main"]

LONGEST = 4_000_000  # characters of a rendered conversation


class RefusedError(Exception):
    """The template does what no rendering of a conversation needs."""


def main(owner: int, seconds: int, memory: int) -> None:
    """Serve until the owner lets go of the pipe, or is gone."""
    import resource  # noqa: PLC0415  Windows has none

    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    environment = _environment()
    known: dict[str, Any] = {}
    lines = sys.stdin.buffer
    while True:
        while not select.select([lines], [], [], 5.0)[0]:
            if os.getppid() != owner:
                return
        line = lines.readline()
        if not line:
            return
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + seconds, resource.RLIM_INFINITY))
        sys.stdout.write(json.dumps(_why_not(environment, known, line)) + "\n")
        sys.stdout.flush()


def _why_not(environment: Any, known: dict[str, Any], line: bytes) -> str:
    """Why the template is not to be rendered; a template that says no in its own words is none of ours."""
    try:
        template, variables = json.loads(line)
        if template not in known:
            known.clear()
            known[template] = environment.from_string(template)
        length = len(known[template].render(**variables))
    except MemoryError:
        known.clear()
        return "needs too much memory"
    except RefusedError as problem:
        return str(problem)
    except Exception:
        return ""
    return f"writes {length:,} characters for one conversation" if length > LONGEST else ""


def _environment() -> Any:
    import jinja2  # noqa: PLC0415  only here
    from jinja2 import nodes  # noqa: PLC0415
    from jinja2.ext import Extension, loopcontrols  # noqa: PLC0415
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415

    class Generation(Extension):
        """``{% generation %}`` marks what the model says."""

        tags = {"generation"}  # noqa: RUF012  as jinja has it

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return nodes.CallBlock(self.call_method("_said"), [], [], body).set_lineno(line)

        def _said(self, caller: Any) -> str:
            return str(caller())

    def draws(*args: Any, **kwargs: Any) -> None:
        raise RefusedError("draws random numbers, so the same conversation would not be the same twice")

    def refuses(message: str) -> None:
        raise jinja2.exceptions.TemplateError(message)

    def in_json(x: Any, ensure_ascii: bool = False, **form: Any) -> str:
        return json.dumps(x, ensure_ascii=ensure_ascii, **form)

    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    made.filters |= {"tojson": in_json, "random": draws}
    made.globals |= {
        "raise_exception": refuses,
        "strftime_now": lambda form: datetime.now().strftime(form),
        "lipsum": draws,
    }
    return made


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
