"""A language model as the judge: which of two answers is better, asked in both orders."""

from rm_monitor.scorers.judge.judge import LLMJudge
from rm_monitor.scorers.judge.prompt import LETTER, REASONED, JudgePrompt

__all__ = ["LETTER", "REASONED", "JudgePrompt", "LLMJudge"]
