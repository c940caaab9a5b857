"""Runs in a browser on this machine: a list of those below some folders, and the page of each, as of now."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from rm_monitor.errors import NotFoundError, RMMonitorError
from rm_monitor.files.digest import digest
from rm_monitor.monitor.settings import FOLDER
from rm_monitor.report.listing import Listed, listing
from rm_monitor.report.page import page
from rm_monitor.report.view import RunView
from rm_monitor.runs.read import load_run

__all__ = ["Gallery", "serve"]

HOST = "127.0.0.1"
DEEP = 6  # folders below the one given
_SKIP = {"kept", "earlier", "rows", "pins", "wandb", "node_modules", "__pycache__"}


class Gallery:
    """The runs below some folders, read again when they change. Nothing is written.

    Args:
        folders: Output directories, or folders of them.

    Raises:
        NotFoundError: If one is not a folder.
    """

    def __init__(self, folders: Sequence[str | Path]) -> None:
        self.folders = [Path(folder) for folder in folders]
        for folder in self.folders:
            if not folder.is_dir():
                raise NotFoundError(f"no such folder: {folder}")
        self._read: dict[Path, tuple[tuple[int, ...], RunView]] = {}

    def found(self) -> dict[str, Path]:
        """Key -> ``_rm_monitor`` folder; a run whose folder has several monitors has one key for each."""
        runs = dict.fromkeys(run for folder in self.folders for run in _below(folder))
        return {_key(run): run for run in sorted(runs)}

    def view(self, folder: Path) -> RunView:
        """A run as it is now; read again only if its files changed.

        Raises:
            RMMonitorError: If it cannot be read.
        """
        stamp = _stamp(folder)
        known = self._read.get(folder)
        if known is None or known[0] != stamp:
            known = self._read[folder] = (stamp, load_run(folder).view(name=_key(folder)))
        return known[1]

    def list(self) -> str:
        """The list of all runs, those written last first."""
        rows = []
        for key, folder in self.found().items():
            written = _modified(folder / "history.jsonl")
            rows.append((-written, self._row(key, folder, written)))
        shown = [row for _, row in sorted(rows, key=lambda one: (one[0], one[1].key))]
        where = ", ".join(map(str, self.folders))
        return listing(shown, where=where, live="/state", state=self.state(()))

    def page(self, keys: Sequence[str]) -> str:
        """The page of a run, or of several together.

        Raises:
            NotFoundError: If one is not there.
        """
        found = self.found()
        missing = [key for key in keys if key not in found]
        if missing or not keys:
            raise NotFoundError(f"no such run: {', '.join(missing)}" if missing else "no run was chosen")
        asked = urlencode([("r", key) for key in dict.fromkeys(keys)])
        views = [self.view(found[key]) for key in dict.fromkeys(keys)]
        return page(views, live=f"/state?{asked}", state=self.state(keys))

    def state(self, keys: Sequence[str]) -> str:
        """A word that changes when the runs do; of all that are found, where none is named."""
        found = self.found()
        stamps = [(key, _stamp(found[key])) for key in dict.fromkeys(keys or found) if key in found]
        return digest([[key, *stamp] for key, stamp in stamps])[:16]

    def _name(self, key: str) -> str:
        """A key without the folder that all were looked for in."""
        within = f"{self.folders[0]}{os.sep}" if len(self.folders) == 1 else ""
        return key.removeprefix(within) if within else key

    def _row(self, key: str, folder: Path, written: int) -> Listed:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(written / 1e9))
        try:
            return Listed(key=key, name=self._name(key), view=self.view(folder), written=when)
        except (OSError, ValueError, KeyError, RMMonitorError) as problem:  # it hides no other
            return Listed(key=key, view=None, problem=f"{type(problem).__name__}: {problem}")


def serve(gallery: Gallery, *, port: int = 0) -> ThreadingHTTPServer:
    """A server on this machine only, ready to ``serve_forever``; what is asked of it changes nothing.

    Args:
        gallery: What it shows.
        port: 0: a free one; ``server_port`` tells.

    Raises:
        OSError: If the port is taken.
    """

    class Handler(_Handler):
        shown = gallery

    return ThreadingHTTPServer((HOST, port), Handler)


class _Handler(BaseHTTPRequestHandler):
    shown: Gallery
    server_version = "rm-monitor"
    sys_version = ""

    def do_GET(self) -> None:
        """The list, a run, several runs, and whether they changed."""
        port = self.connection.getsockname()[1]
        names = {f"{name}:{port}" for name in (HOST, "localhost")}
        if self.headers.get("Host") not in names:  # a page elsewhere whose name was made to point here
            return self._send(403, "this server answers under 127.0.0.1 and localhost only\n", "text/plain")
        asked = urlsplit(self.path)
        keys = parse_qs(asked.query).get("r", [])
        try:
            if asked.path == "/state":
                return self._send(200, f"{self.shown.state(keys)}\n", "text/plain")
            if asked.path == "/":
                return self._send(200, self.shown.list())
            if asked.path in ("/run", "/runs"):
                return self._send(200, self.shown.page(keys))
        except NotFoundError as problem:
            return self._send(404, f"{problem}\n", "text/plain")
        except (OSError, ValueError, KeyError, RMMonitorError) as problem:
            return self._send(500, f"the run cannot be read: {problem}\n", "text/plain")
        return self._send(404, "no such page\n", "text/plain")

    def _send(self, status: int, text: str, kind: str = "text/html") -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", "frame-ancestors 'none'")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *given: Any) -> None:
        """Nothing: the terminal belongs to whoever started us."""


def _below(folder: Path) -> Iterator[Path]:
    """Folders of runs in a folder and below; links are not followed."""
    base = len(folder.parts)
    if folder.name.startswith(FOLDER) and (folder / "history.jsonl").is_file():
        yield folder
    for here, names, _ in os.walk(folder):
        path = Path(here)
        for name in [name for name in names if name.startswith(FOLDER)]:
            names.remove(name)
            if (path / name / "history.jsonl").is_file():
                yield path / name
        deep = len(path.parts) - base >= DEEP
        names[:] = (
            [] if deep else [n for n in names if n not in _SKIP and not n.startswith((".", "checkpoint-"))]
        )


def _key(folder: Path) -> str:
    """Its output directory, and the monitor's name where it has one."""
    name = folder.name.removeprefix(FOLDER).strip("-_.")
    return f"{folder.parent}" + (f" ({name})" if name else "")


def _stamp(folder: Path) -> tuple[int, ...]:
    return tuple(_modified(folder / name) for name in ("history.jsonl", "verdict.json", "best.json"))


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
