"""One exchange over the wire: a request out, at most so many bytes back, within so many seconds.

`requests` does the talking (proxies, certificates, pools). Three things it does not do are done here: a bound
on the whole exchange (its time-outs are per read, so a server that sends a byte a second never times out), a
bound on the answer's size, and silence about where it would have been redirected.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from rm_monitor.http.failures import BadReply
from rm_monitor.http.limits import Limits

__all__ = ["Broken", "Reply", "Wire"]

_PIECE = 64 * 1024


class Broken(Exception):
    """The exchange did not come to an end: no connection, silence, or too slow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back.

    Attributes:
        status: HTTP status.
        headers: Names in any case.
        body: At most ``max_bytes``.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Wire:
    """A pool of connections to one host.

    Args:
        limits: Times and sizes.
        sign: Puts the key into a request.
        direct: Host that is reached without a proxy, whatever the environment says; None: as it says.
        connections: Kept open at most.
    """

    def __init__(
        self,
        limits: Limits,
        sign: Callable[[Any], Any],
        *,
        direct: str | None = None,
        connections: int = 16,
    ) -> None:
        self._limits = limits
        self._proxies = None if direct is None else {"no_proxy": direct}
        self._session = requests.Session()
        self._session.auth = sign
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _Watched(pool_maxsize=connections))

    def exchange(self, method: str, url: str, body: bytes | None, *, within: float) -> Reply:
        """Send and read.

        Args:
            method: ``GET`` or ``POST``.
            url: Where.
            body: JSON, or None.
            within: Seconds for everything, headers included.

        Raises:
            Broken: If it took too long or the connection broke.
            BadReply: If the answer is longer than ``max_bytes`` or packed.
        """
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        limits = self._limits
        with _cut_off_after(within) as line:
            try:
                response = self._session.request(
                    method,
                    url,
                    data=body,
                    headers=headers,
                    timeout=(min(limits.connect, within), min(limits.read, within)),
                    allow_redirects=False,
                    proxies=self._proxies,
                    stream=True,
                )
                with contextlib.closing(response):
                    text = self._read(response, line)
                    return Reply(status=response.status_code, headers=response.headers, body=text)
            except (requests.RequestException, OSError, ValueError) as problem:
                broken = Broken(_in_words(problem, line.is_cut, within))
            except Exception as problem:  # urllib3 has errors of its own while a body is read
                if not type(problem).__module__.startswith(("urllib3", "http")):
                    raise
                broken = Broken(_in_words(problem, line.is_cut, within))
        raise broken  # outside of the except clause: the chained original could show headers

    def _read(self, response: Any, line: _Line) -> bytes:
        """The body, piece by piece."""
        most = self._limits.max_bytes
        announced = response.headers.get("Content-Length", "")
        if announced.isdigit() and int(announced) > most:
            raise BadReply(
                f"announced an answer of {int(announced)} bytes, more than the {most} that are read"
            )
        if response.headers.get("Content-Encoding", "identity").lower() not in ("identity", ""):
            raise BadReply("answered with a packed body although none was asked for")
        parts: list[bytes] = []
        size = 0
        while piece := response.raw.read1(_PIECE, decode_content=False):
            parts.append(piece)
            size += len(piece)
            if size > most:
                raise BadReply(f"sent more than the {most} bytes that are read; it was cut off there")
            if line.is_cut:
                break
        if line.is_cut:
            raise Broken(_too_slow(line.within))
        if announced.isdigit() and size < int(announced):
            raise Broken(f"the answer ended after {size} of {announced} bytes")
        return b"".join(parts)


# --------------------------------------------------------------------------- a bound on the whole exchange


@dataclass(slots=True)
class _Line:
    """The socket an exchange runs over, and whether its time is up."""

    within: float
    socket: socket.socket | None = None
    is_cut: bool = False

    def cut(self) -> None:
        self.is_cut = True
        if self.socket is not None:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads


_in_use = threading.local()


@contextlib.contextmanager
def _cut_off_after(seconds: float) -> Any:
    line = _Line(seconds)
    _in_use.line = line
    timer = threading.Timer(seconds, line.cut)
    timer.daemon = True
    timer.start()
    try:
        yield line
    finally:
        timer.cancel()
        _in_use.line = None


class _Noted:
    """A connection that tells which socket its answer is read from."""

    sock: socket.socket | None

    def getresponse(self, *args: Any, **kwargs: Any) -> Any:
        line: _Line | None = getattr(_in_use, "line", None)
        if line is not None:
            line.socket = self.sock
            if line.is_cut:  # the time ran out while connecting
                line.cut()
        return super().getresponse(*args, **kwargs)  # type: ignore[misc]  # of the connection it is mixed into


class _Watched(HTTPAdapter):
    """Connections, direct or through a proxy, whose sockets are noted."""

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool = super().get_connection_with_tls_context(*args, **kwargs)
        if not issubclass(pool.ConnectionCls, _Noted):
            pool.ConnectionCls = type("Noted", (_Noted, pool.ConnectionCls), {})
        return pool


def _in_words(problem: BaseException, cut: bool, within: float) -> str:
    if cut:
        return _too_slow(within)
    if isinstance(problem, requests.ConnectTimeout):
        return "no connection within the time-out"
    if isinstance(problem, (requests.ReadTimeout, TimeoutError)) or "timed out" in str(problem).lower():
        return "it stayed silent for longer than the read time-out"
    if isinstance(problem, requests.exceptions.SSLError):
        return "its certificate could not be verified"
    if isinstance(problem, requests.exceptions.ProxyError):
        return "the proxy of this machine's settings did not connect"
    return f"the connection failed or broke ({type(problem).__name__})"


def _too_slow(within: float) -> str:
    return f"it had not finished after {within:.3g} s"
