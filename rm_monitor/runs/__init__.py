"""Reading runs from disk: the best of one, two points side by side, a file of completions judged, a page."""

from rm_monitor.runs.best import best_of
from rm_monitor.runs.comparison import Comparison, compare, compare_points
from rm_monitor.runs.ranking import Ranked, Ranking, rank
from rm_monitor.runs.read import RecordedRun, folder_of, load_run
from rm_monitor.runs.score import score_file

__all__ = [
    "Comparison",
    "Ranked",
    "Ranking",
    "RecordedRun",
    "best_of",
    "compare",
    "compare_points",
    "folder_of",
    "load_run",
    "rank",
    "score_file",
]
