"""The style and the script, read from the files beside this one."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

__all__ = ["asset", "style_of"]


@cache
def asset(name: str) -> str:
    """A file with plain line ends: another end would change the hash that the page's policy names."""
    return (files("rm_monitor.report") / name).read_text(encoding="utf-8").replace("\r\n", "\n")


@cache
def style_of(*names: str) -> str:
    """Several style sheets as one."""
    return "".join(asset(name) for name in names)
