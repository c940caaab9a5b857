"""API keys: read from the environment when a request is sent, kept nowhere, shown nowhere."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

__all__ = ["Key"]

DEFAULT = "RM_MONITOR_API_KEY"
HIDDEN = "<key>"


@dataclass(frozen=True, slots=True)
class Key:
    """The name of an environment variable; never its value.

    Args:
        variable: The variable the user named; None: ``RM_MONITOR_API_KEY``, if it is set.

    Raises:
        ValueError: If the user named a variable that is not set, or its value cannot stand in a header.
    """

    variable: str | None = None

    def __post_init__(self) -> None:
        if self.variable is not None and not os.environ.get(self.variable):
            raise ValueError(
                f"`key_env` names the environment variable that holds the server's key, and "
                f"{self.variable!r} is not set"
            )
        value = self._value()
        if value and not (value.isascii() and value.isprintable()):
            raise ValueError(
                f"the environment variable {self.variable or DEFAULT!r} holds characters that no key has "
                "(a line end, perhaps): set it again"
            )

    @property
    def given(self) -> bool:
        """Whether there is a key to send."""
        return bool(self._value())

    def sign(self, request: Any) -> Any:
        """Put the key into a request's header. Having this at all keeps ``.netrc`` out of the request."""
        if value := self._value():
            request.headers["Authorization"] = f"Bearer {value}"
        return request

    def hide(self, text: str) -> str:
        """The text without the key, however a server wrote it back."""
        value = self._value()
        for form in {value, quote(value, safe=""), ascii(value)[1:-1]} if value else ():
            text = text.replace(form, HIDDEN)
        return text

    def _value(self) -> str:
        return os.environ.get(self.variable or DEFAULT, "").strip()
