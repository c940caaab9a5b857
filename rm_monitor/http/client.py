"""`Client`: JSON to and from one server, with time-outs, retries, a circuit breaker and a size limit."""

from __future__ import annotations

import json
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from rm_monitor.http.breaker import Breaker
from rm_monitor.http.failures import BadReply, Unavailable
from rm_monitor.http.keys import Key
from rm_monitor.http.limits import Clock, Limits
from rm_monitor.http.wire import Broken, Reply, Wire

__all__ = ["Client"]

_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_SHOWN = 160


class Client:
    """Asks one server for JSON.

    Args:
        url: ``http://`` or ``https://``, a host, and a path if the server lives below one.
        key_env: Environment variable that holds the key; None: ``RM_MONITOR_API_KEY``, if it is set. Keys
            come from nowhere else and are shown nowhere.
        limits: Times and sizes.
        plain_http: Let a key travel over plain http to another machine.
        clock: Time and chance.

    Raises:
        ValueError: If the URL is not one, carries a password or a query, or a key would travel unprotected.
    """

    def __init__(
        self,
        url: str,
        *,
        key_env: str | None = None,
        limits: Limits | None = None,
        plain_http: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self.url = _checked(url)
        self.limits = limits or Limits()
        self.key = Key(key_env)
        parts = urlsplit(self.url)
        far = parts.scheme == "http" and parts.hostname not in _LOOPBACK
        if self.key.given and far and not plain_http:
            raise ValueError(
                f"{self.url} would get the key over plain http, readable on the way: use https, unset the "
                "variable, or pass `plain_http=True` if the network is yours"
            )
        self.clock = clock or Clock()
        self._breaker = Breaker(self.limits, self.clock)
        # A proxy is asked for this machine's own servers only by mistake (HTTP_PROXY without NO_PROXY).
        direct = parts.hostname if parts.hostname in _LOOPBACK else None
        self._wire = Wire(self.limits, self.key.sign, direct=direct)

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a Client holds connections and is not copied to other processes: build it there")

    def get(self, path: str) -> Any:
        """The JSON behind a path.

        Raises:
            Unavailable: If the server is down or slow.
            BadReply: If it gives something else.
        """
        return self._json("GET", path, self._call("GET", path, None))

    def hint(self, path: str) -> Any:
        """The JSON behind a path that nothing depends on: asked once; None if it does not come."""
        try:
            reply = self._wire.exchange("GET", f"{self.url}{path}", None, within=self.limits.read)
            return self._json("GET", path, reply) if 200 <= reply.status < 300 else None
        except (Broken, BadReply):
            return None

    def post(self, path: str, body: Any) -> Any:
        """The JSON that answers a JSON body. Whatever is posted may be sent twice.

        Raises:
            Unavailable: If the server is down or slow.
            BadReply: If it gives something else.
        """
        return self._json("POST", path, self._call("POST", path, body))

    def order(self, path: str, body: Any) -> str:
        """Post and take whatever text says that it was done."""
        return self._call("POST", path, body).body.decode("utf-8", "replace")

    # ------------------------------------------------------------------ one call, several attempts

    def _call(self, method: str, path: str, body: Any) -> Reply:
        where = f"{self.url}{path}"
        if (closed := self._breaker.closed_for()) > 0:
            raise Unavailable(
                f"{where} failed {self.limits.open_after} times in a row and is left alone for another "
                f"{closed:.0f} s"
            )
        data = None if body is None else json.dumps(body, ensure_ascii=True, allow_nan=False).encode()
        try:
            reply = self._attempts(method, where, data)
        except Unavailable:
            self._breaker.failed()
            raise
        except BadReply:
            self._breaker.worked()  # it lives; what it says is another matter
            raise
        self._breaker.worked()
        return reply

    def _attempts(self, method: str, where: str, data: bytes | None) -> Reply:
        began = self.clock.now()
        reason = ""
        for attempt in range(self.limits.attempts):
            left = self.limits.total - (self.clock.now() - began)
            if left <= 0:
                break
            asked: float | None = None
            try:
                reply = self._wire.exchange(method, where, data, within=left)
            except Broken as broken:
                reason = str(broken)
            except BadReply as bad:
                raise BadReply(f"{where} {bad}") from None
            else:
                if reply.status not in _AGAIN:
                    return self._accepted(where, reply)
                reason = f"HTTP {reply.status}{self._excerpt(reply)}"
                asked = _retry_after(reply)
            if attempt + 1 == self.limits.attempts:
                break
            left = self.limits.total - (self.clock.now() - began)
            wait = self.limits.wait(attempt, self.clock.chance(), asked)
            if wait >= left > 0:
                reason += f"; the next attempt would come after the {self.limits.total:.3g} s of the call"
            if wait >= left:
                break
            self.clock.sleep(wait)
        tries = "1 attempt" if attempt == 0 else f"{attempt + 1} attempts"
        raise Unavailable(f"{where} gave no answer in {tries}; the last one: {reason}")

    def _accepted(self, where: str, reply: Reply) -> Reply:
        if 200 <= reply.status < 300:
            return reply
        if 300 <= reply.status < 400:
            target = urlsplit(reply.headers.get("Location", ""))
            other = f"{target.hostname}" if target.hostname else "another path"
            raise BadReply(
                f"{where} answers with a redirect (HTTP {reply.status}) to "
                f"{ascii(self.key.hide(other))[1:-1]}, which is not followed: give the address that is meant",
                status=reply.status,
            )
        hint = "; is the key right?" if reply.status in (401, 403) else ""
        raise BadReply(
            f"{where} refused with HTTP {reply.status}{self._excerpt(reply)}{hint}", status=reply.status
        )

    # ------------------------------------------------------------------ reading

    def _json(self, method: str, path: str, reply: Reply) -> Any:
        where = f"{self.url}{path}"
        kind = reply.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if not (kind == "application/json" or kind.endswith("+json")):
            raise BadReply(
                f"{where} answered {method} with {kind[:40]!a}, not JSON{self._excerpt(reply)}: is this the "
                "address of the server, and not of a page before it?",
                status=reply.status,
            )
        try:
            return json.loads(reply.body)
        except (ValueError, RecursionError) as problem:
            broken = type(problem).__name__
        raise BadReply(f"{where} sent broken JSON ({broken}){self._excerpt(reply)}", status=reply.status)

    def _excerpt(self, reply: Reply) -> str:
        """The beginning of an answer, made inert and without the key."""
        text = self.key.hide(reply.body[:8192].decode("utf-8", "replace")).strip()
        return f": {text[:_SHOWN]!a}" if text else ""


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"`url` must look like https://host:port, got {parts.scheme}://{parts.hostname}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(
            f"`url` for {parts.hostname} carries a user, password, query or fragment, which logs would "
            "show: give the plain address, and the key by an environment variable (`key_env`)"
        )
    return url.rstrip("/")


def _retry_after(reply: Reply) -> float | None:
    """Seconds the server asks to wait; None if it does not say, or says something odd.

    Example:
        >>> _retry_after(Reply(status=429, headers={"Retry-After": "7"}, body=b""))
        7.0
    """
    text = reply.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:  # a date: told against the server's own clock, so that a wrong one here does no harm
        then, now = parsedate_to_datetime(text), parsedate_to_datetime(reply.headers.get("Date", ""))
        return max((then - now).total_seconds(), 0.0)
    except (TypeError, ValueError):
        return None
