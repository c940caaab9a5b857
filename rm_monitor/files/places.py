"""Where things are kept on this machine, for every run of this user."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """``$RM_MONITOR_CACHE``, else where this system keeps caches; it need not exist yet.

    ``~/.cache/rm_monitor`` on Linux (or below ``$XDG_CACHE_HOME``), ``~/Library/Caches/rm_monitor`` on macOS,
    in the local application data on Windows.
    """
    given = os.environ.get("RM_MONITOR_CACHE")
    return Path(given) if given else platformdirs.user_cache_path("rm_monitor", appauthor=False)
