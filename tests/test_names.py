"""One word, one thing: no public name is also the name of a module beside it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import rm_monitor

ROOT = Path(rm_monitor.__file__).parent


def public(init):
    for node in ast.parse(init.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets
        ):
            return set(ast.literal_eval(node.value))
    return set()


@pytest.mark.parametrize("init", sorted(ROOT.rglob("__init__.py")), ids=lambda p: p.parent.name)
def test_no_public_name_is_a_modules_name(init):
    """Importing the module anywhere would put it in the name's place."""
    modules = {p.stem for p in init.parent.glob("*.py")} | {
        p.parent.name for p in init.parent.glob("*/__init__.py")
    }
    assert public(init) & modules == set()


def test_public_names_are_what_they_were_after_every_module_was_imported():
    script = """
import importlib, pkgutil, types, rm_monitor
before = {name: getattr(rm_monitor, name) for name in rm_monitor.__all__}
for room in pkgutil.iter_modules(rm_monitor.__path__):
    if room.name != "__main__":
        importlib.import_module(f"rm_monitor.{room.name}")
import rm_monitor.training.undisturbed
assert all(getattr(rm_monitor, name) is value for name, value in before.items())
assert not [name for name, value in before.items() if isinstance(value, types.ModuleType)]
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=100)
