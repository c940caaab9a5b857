"""What packages of somebody else's bring under a name, by entry points in their metadata."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

__all__ = ["bring", "brought"]


def brought(group: str) -> dict[str, EntryPoint]:
    """What is installed for a group, by name; nothing of it is loaded."""
    return {point.name: point for point in entry_points(group=group)}


def bring(point: EntryPoint, **options: Any) -> Any:
    """Call what an entry point names.

    Args:
        point: Of `brought`.
        **options: What the user set, by the names of its parameters.

    Raises:
        ImportError: If its package cannot be loaded; the message says which.
        TypeError: If it does not take these options; the message says which.
    """
    package = point.dist.name if point.dist is not None else point.module
    try:
        build = point.load()
    except (ImportError, AttributeError) as problem:
        raise ImportError(
            f"{point.name!r} ({point.group}) of the package {package} cannot be loaded: {problem}"
        ) from problem
    try:
        return build(**options)
    except TypeError as problem:
        raise TypeError(f"{point.name!r} ({point.group}) of the package {package}: {problem}") from problem
