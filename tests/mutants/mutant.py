"""One broken line, and who ought to notice."""

from __future__ import annotations

from dataclasses import dataclass

CRASH = "tests/faults/test_crash_states.py"
STORAGE = "tests/faults/test_storage.py"
LINES = "tests/faults/test_lines.py"
REQUEUE = "tests/test_requeue.py"
TEMPLATES = "tests/test_hostile_templates.py"
WAITS = "tests/test_waits.py"
KEEPING = (CRASH, STORAGE, "tests/faults/test_keeper.py")
TEXT = ("tests/faults/test_security.py", "tests/faults/test_rows.py")
UNDISTURBED = ("tests/test_undisturbed.py",)


@dataclass(frozen=True)
class Mutant:
    """One line that is broken.

    Attributes:
        name: What is broken.
        file: Where, below the package.
        old: The text, which is there once.
        new: What stands there instead.
        tests: Who ought to notice, the quickest first.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def broken(name: str, file: str, old: str, new: str, *tests: str) -> Mutant:
    """A mutant, in one line."""
    return Mutant(name, file, old, new, tests)
