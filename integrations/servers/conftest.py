"""Real servers, each in a process of its own while a test runs, and small models that all of them take."""

import contextlib
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

PATIENCE = 1500  # seconds: vLLM on two idle cores is up after one minute


@contextlib.contextmanager
def serving(command, *, ready="/health", log="server.log"):
    """The address of a server that was started by ``command(port)``, ended with all its children behind."""
    import requests

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url, began = f"http://127.0.0.1:{port}", time.monotonic()
    with open(log, "w") as said:
        words = [str(word) for word in command(port)]
        process = subprocess.Popen(words, stdout=said, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        while True:
            with contextlib.suppress(requests.RequestException):
                if requests.get(url + ready, timeout=5).ok:
                    break
            assert process.poll() is None, Path(log).read_text()[-4000:]
            assert time.monotonic() - began < PATIENCE, Path(log).read_text()[-4000:]
            time.sleep(0.5)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)


@pytest.fixture
def tiny(given):
    """A policy and a judge whose attention heads are as wide as vLLM on a CPU wants them, twice apart."""
    import torch
    from transformers import (
        AutoConfig,
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        AutoTokenizer,
    )

    tokenizer = AutoTokenizer.from_pretrained("tiny/policy")
    config = AutoConfig.from_pretrained("tiny/policy", head_dim=32)
    makers = {"policy": AutoModelForCausalLM, "judge": AutoModelForSequenceClassification}
    for seed, (name, maker) in enumerate(makers.items()):
        torch.manual_seed(seed)
        config.num_labels = 1
        model = maker.from_config(config, dtype=torch.float32)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.ndim == 2:
                    weight.mul_(4.0)  # unscaled, random answers are one word and every score is the same
        model.save_pretrained(f"wide/{name}")
        tokenizer.save_pretrained(f"wide/{name}")
    return given


@pytest.fixture
def prompts(given):
    from rm_monitor import load_prompts

    return list(load_prompts("tiny/prompts.jsonl"))[:12]


def in_process(folder, prompts, sampling):
    """What transformers' generate and our engine answer here, which must agree."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from rm_monitor.generators import load_generator
    from rm_monitor.generators.hf import HFGenerator

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    given = {"seed": 0, "model": model, "tokenizer": tokenizer}
    said = [c.text for c in HFGenerator().generate(prompts, sampling, **given)]
    assert said == [c.text for c in load_generator().generate(prompts, sampling, **given)]
    return said


def tell(record_property, line):
    """A figure for whoever reads the output of `make hosts`."""
    record_property("figure", line)
    with open(os.environ.get("RM_MONITOR_FIGURES", os.devnull), "a") as file:
        file.write(line + "\n")
    print(line)
