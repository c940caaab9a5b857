"""A language model as the judge, behind a server or in this process.

`LLMJudge` asks any of them with a question of ours or yours. A published judge is asked as its authors do,
one a file: ``rm_r1``, ``skywork_critic``, ``prometheus``, ``deepseek_grm``, ``nemotron_genrm`` compare two
answers; ``lmunit`` and ``nemotron_principle`` rate one. ``load_scorer(..., kind=)`` loads them.
"""

from rm_monitor.scorers.judge.judge import LLMJudge
from rm_monitor.scorers.judge.prompt import LETTER, REASONED, JudgePrompt

__all__ = ["LETTER", "REASONED", "JudgePrompt", "LLMJudge"]
