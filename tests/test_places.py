"""Where caches lie."""

from pathlib import Path

import platformdirs
import pytest

from rm_monitor.cache.scores import default_path
from rm_monitor.files.places import cache_folder


def test_the_variable_says_where_and_else_the_system_does(tmp_path, monkeypatch):
    monkeypatch.setenv("RM_MONITOR_CACHE", str(tmp_path))
    assert default_path() == tmp_path / "scores.sqlite"
    monkeypatch.delenv("RM_MONITOR_CACHE")
    assert cache_folder() == Path(platformdirs.user_cache_dir("rm_monitor", appauthor=False))


@pytest.mark.skipif(platformdirs.PlatformDirs.__name__ != "Unix", reason="Linux's own rule")
def test_on_linux_it_is_the_folder_of_the_freedesktop_rules(tmp_path, monkeypatch):
    monkeypatch.delenv("RM_MONITOR_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "rm_monitor"
