"""Imports point down only: the picture of the house in CONTRIBUTING.md, held by a test."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "rm_monitor"
FLOORS = [
    set(rooms.split())
    for rooms in (
        "types errors",
        "stats files http text packed",
        "prompts curve training cache",
        "scorers generators records messages",
        "evaluation",
        "verdict checkpoints doctor",
        "report",
        "sinks",
        "monitor",
        "sweep runs integrations testing",
        "demo",
        "cli",
        "__main__",
    )
]
FLOOR = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
LIGHT = {
    *("types", "errors", "stats", "files", "text", "prompts", "curve", "cache", "messages", "records"),
    *("evaluation", "verdict", "checkpoints", "report", "monitor", "runs", "cli"),
}
# These files of light rooms work with torch or transformers and are loaded late by their room.
HEAVY_FILES = {"monitor/callback", "monitor/overlap"}
HEAVY = {"torch", "transformers", "accelerate", "wandb"}
MODULES = sorted(ROOT.rglob("*.py"))


def room_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path, top_only=False):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "rm_monitor":
                yield from (f"rm_monitor.{alias.name}" for alias in node.names)
            else:
                yield node.module


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path):
    room = room_of(path)
    if room == "__init__":
        return
    for name in imports(path):
        package, _, rest = name.partition(".")
        other = rest.partition(".")[0]
        if package == "rm_monitor" and other and other != room:
            if other[0].isupper():  # a public name: only those who stand above all rooms may use them
                assert FLOOR[room] >= FLOOR["demo"]
                continue
            assert FLOOR[other] < FLOOR[room], f"{room} may not import {other}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_light_rooms_do_not_import_heavy_packages_at_the_top(path):
    inside = str(path.relative_to(ROOT))
    if room_of(path) in LIGHT and not any(inside.startswith(heavy) for heavy in HEAVY_FILES):
        assert not {name.partition(".")[0] for name in imports(path, top_only=True)} & HEAVY


def test_statistics_know_no_framework_at_all():
    for path in (ROOT / "stats").rglob("*.py"):
        used = {name.partition(".")[0] for name in imports(path)}
        assert not used & (HEAVY | {"random", "time", "pathlib", "os"}), path


def test_every_room_has_a_floor():
    assert {room_of(p) for p in MODULES} - {"__init__"} <= set(FLOOR)


def test_no_file_is_longer_than_300_lines():
    """A file that grows beyond is two things, and the second has no name yet."""
    long = {str(p.relative_to(ROOT)): n for p in MODULES if (n := len(p.read_text().splitlines())) > 300}
    assert not long
