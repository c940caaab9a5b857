"""vLLM's own server on a CPU: as a generator, and with `--runner pooling` as a reward model and a judge's."""

import sys
from pathlib import Path

import numpy as np
import pytest

from integrations.servers.conftest import in_process, serving, tell
from rm_monitor import Completion, Sampling, load_scorer
from rm_monitor.errors import ScorerError
from rm_monitor.generators.server import ServerGenerator
from rm_monitor.scorers import LLMJudge

GREEDY = Sampling(temperature=0.0, max_new_tokens=12)
DRAWN = Sampling(temperature=0.8, top_p=0.9, max_new_tokens=12, samples_per_prompt=2)


@pytest.fixture(autouse=True)
def on_a_cpu(monkeypatch):
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    monkeypatch.setenv("VLLM_NO_USAGE_STATS", "1")
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "nobind")


def vllm(folder, *more):
    def command(port):
        words = [Path(sys.executable).with_name("vllm"), "serve", folder, "--dtype", "float32"]
        return [*words, "--enforce-eager", "--host", "127.0.0.1", "--port", port, *more]

    return serving(command)


def test_it_answers_as_this_process_does(tiny, prompts, record_property):
    with vllm("wide/policy") as url:
        server = ServerGenerator(url, tokenizer="wide/policy")
        said = [c.text for c in server.generate(prompts, GREEDY)]
        drawn = [[c.text for c in server.generate(prompts, DRAWN, seed=seed)] for seed in (0, 0, 1)]
        with pytest.raises(ScorerError) as refused:
            LLMJudge(url, "wide/policy")
    here = in_process("wide/policy", prompts, GREEDY)
    same = sum(a == b for a, b in zip(said, here, strict=True))
    tell(record_property, f"vLLM, greedy: {same} of {len(here)} texts as in this process")
    tell(record_property, f"vLLM, a tiny judge is refused: {refused.value}")
    assert said == here
    assert drawn[0] == drawn[1] != drawn[2]


def test_its_rewards_are_those_of_this_process(tiny, prompts, record_property):
    here = load_scorer("wide/judge", show=False)
    texts = [" ".join(p.text.split()[: i % 5]) for i, p in enumerate(prompts)]  # the empty one too
    answers = [
        Completion(prompt_id=p.id, text=t, sample=0, finish_reason="stop")
        for p, t in zip(prompts, texts, strict=True)
    ]
    with vllm("wide/judge", "--runner", "pooling") as url:
        there = load_scorer(url, tokenizer="wide/judge", show=False)
        told = there.describe()
        a, b = here.score(prompts, answers).reward, there.score(prompts, answers).reward
    worst = float(np.abs(a - b).max())
    spread = f"{len(a)} scores from {a.min():.3f} to {a.max():.3f}"
    tell(record_property, f"vLLM --runner pooling: {spread}, largest difference {worst:.2e}")
    assert "vllm" in told
    assert worst < 1e-4
