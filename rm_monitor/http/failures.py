"""What a conversation with a server can end in.

::

    HTTPFailure
    |-- Unavailable      down, slow, overloaded: it may answer later
    `-- BadReply         it answered, and the answer cannot be used; asking again would give the same
"""

from __future__ import annotations

from rm_monitor.errors import RMMonitorError

__all__ = ["BadReply", "HTTPFailure", "Unavailable"]


class HTTPFailure(RMMonitorError):
    """A server did not give a usable answer."""


class Unavailable(HTTPFailure):
    """The server is down, slow or overloaded; retries are spent."""


class BadReply(HTTPFailure):
    """The server answered with something that cannot be used.

    Attributes:
        status: The HTTP status; 0 when it never came to one.
    """

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status
