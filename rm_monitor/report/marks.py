"""Marks that are told apart by their shape first and by their colour second."""

from __future__ import annotations

import math

__all__ = ["cross", "diamond", "reading", "star", "triangle"]


def star(x: float, y: float, size: float = 6.5, kind: str = "star") -> str:
    """The best."""
    points = (
        (x + r * math.sin(i * math.pi / 5), y - r * math.cos(i * math.pi / 5))
        for i, r in enumerate([size, 0.42 * size] * 5)
    )
    return f'<polygon class="{kind}" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in points)}"/>'


def triangle(x: float, y: float, kind: str, size: float = 4.5) -> str:
    """Pointing down: degraded (filled) or warned (open)."""
    return f'<path class="{kind}" d="M{x - size:.1f} {y - 0.8 * size:.1f}h{2 * size:g}L{x:.1f} {y + size:.1f}Z"/>'


def cross(x: float, y: float, size: float = 3.5) -> str:
    """An evaluation that failed."""
    a, b, c, d = (round(v, 1) for v in (x - size, y - size, x + size, y + size))
    return f'<path class="fail" d="M{a} {b}L{c} {d}M{a} {d}L{c} {b}"/>'


def diamond(x: float, y: float, size: float = 4.5) -> str:
    """An evaluation with too few scored prompts."""
    return f'<path class="part" d="M{x:.1f} {y - size:.1f}l{size:g} {size:g}l-{size:g} {size:g}l-{size:g} -{size:g}Z"/>'


def reading(x: float, y: float, run: int, kind: str = "pt", size: float = 3.0) -> str:
    """One reading: a circle, a square or a triangle, by run."""
    if run % 3 == 1:
        return f'<rect class="{kind}" x="{x - size:.1f}" y="{y - size:.1f}" width="{2 * size:g}" height="{2 * size:g}"/>'
    if run % 3 == 2:
        return f'<path class="{kind}" d="M{x:.1f} {y - size - 0.6:.1f}l{size + 0.4:g} {2 * size:g}h-{2 * size + 0.8:g}Z"/>'
    return f'<circle class="{kind}" cx="{x}" cy="{y}" r="{size:g}"/>'
