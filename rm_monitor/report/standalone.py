"""The chart as a picture of its own, colours included: for a README, a model card, a talk."""

from __future__ import annotations

from rm_monitor.report.assets import style_of
from rm_monitor.report.chart import WIDE, chart
from rm_monitor.report.view import RunView

__all__ = ["standalone"]


def standalone(run: RunView) -> str:
    """An SVG file; it follows the reader's light or dark theme.

    Returns:
        An empty text where there is no number.
    """
    picture = chart([run], WIDE, titles=False)
    if not picture:
        return ""
    head, _, rest = picture.partition(">")
    style = style_of("colours.css", "chart.css")
    return (
        f'{head} xmlns="http://www.w3.org/2000/svg"><style>{style}</style>'
        f'<rect width="100%" height="100%" fill="var(--bg)"/>{rest}'
    )
