"""Prometheus 2 (arXiv 2405.01535): compares two responses by a rubric, and ends with ``[RESULT] A`` or ``B``.

Its authors' texts: ``libs/prometheus-eval/prometheus_eval/prompts.py`` of
github.com/prometheus-eval/prometheus-eval (dcfb442), relative grading without a reference answer; the
verdict as ``parser.py`` there reads it. The system text stands at the top of the user turn, where their
Mistral template writes it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rm_monitor.scorers.judge.published import digest_of, fill, prompts_of
from rm_monitor.scorers.judge.replies import text_of
from rm_monitor.scorers.judge.voices import Turns
from rm_monitor.scorers.options import Options
from rm_monitor.types import Prompt

__all__ = ["OPTIONS", "PrometheusQuestion", "question"]

OPTIONS = frozenset({"judge_prompt", "rubric"})
WHERE = "libs/prometheus-eval/prometheus_eval/prompts.py of github.com/prometheus-eval/prometheus-eval"
LONGEST = 1024
PROMPTS = {
    "REL_SYSTEM_PROMPT": "cf3c730a31c4bcf7",
    "HELPFULNESS_RUBRIC": "447d4707cfcb578b",
    "RELATIVE_PROMPT_WO_REF": "1fad2df15f885c29",
}
# The markers their parser takes for the beginning of a verdict, which stands at the end of a line.
_RESULT = re.compile(
    r"(?:\[result\](?:\s+response)?|\[result:|\[response\s|^result:?)\s*([AB])\]?\s*$",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class PrometheusQuestion:
    """What Prometheus is asked.

    Attributes:
        system: The system text.
        template: With ``{instruction}``, ``{response_A}``, ``{response_B}`` and ``{rubric}``.
        rubric: What counts, in one line: of a rubric with scores only its first line is used to compare.
        max_tokens: Longest reply.
    """

    system: str
    template: str
    rubric: str
    max_tokens: int = LONGEST
    markers: tuple[str, ...] = ("###Response A:", "###Response B:", "###Score Rubric:", "###Feedback:")

    @property
    def identity(self) -> Mapping[str, str]:
        """The texts by their digests, and the rubric."""
        return {
            "kind": "prometheus",
            "system": digest_of(self.system),
            "template": digest_of(self.template),
            "rubric": self.rubric,
            "max_tokens": str(self.max_tokens),
        }

    def ask(self, prompt: Prompt, first: str, second: str) -> Turns:
        """One user turn, the system text first."""
        user = fill(
            self.template, instruction=prompt.text, response_A=first, response_B=second, rubric=self.rubric
        )
        return [{"role": "user", "content": f"{self.system}\n{user}"}]

    def read(self, choice: Mapping[str, Any], *, logprobs: bool = False) -> float:
        """1 for A, 0 for B, nan if no line ends with a result."""
        found = _RESULT.search(text_of(choice) or "")
        return math.nan if found is None else float(found[1].upper() == "A")


def question(kind: str, options: Options) -> PrometheusQuestion:
    """The authors' texts, from their file or their installed package, checked to the last character."""
    given = options.judge_prompt if options.judge_prompt is not None else _installed()
    where = f"{WHERE} (or `pip install prometheus-eval`, whose file is found)"
    system, helpfulness, template = prompts_of(
        given, list(PROMPTS), where=where, digests=list(PROMPTS.values())
    )
    rubric = (options.rubric or helpfulness).strip().split("\n")[0]
    return PrometheusQuestion(system, template, rubric, max_tokens=options.max_tokens or LONGEST)


def _installed() -> Path | None:
    """The authors' file, where their package is installed; nothing of it is run."""
    spec = find_spec("prometheus_eval")
    folders = spec.submodule_search_locations if spec is not None else None
    found = [path for folder in folders or () if (path := Path(folder, "prompts.py")).is_file()]
    return found[0] if found else None
