"""Answering alone by other engines on the same weights, greedy, each with all prompts at once.

``--peers``: ``vllm`` (in this process, as `generator="vllm"` runs it, weights handed over at each call) and
``generate_batch`` (transformers' continuous batching, its memory capped: left to itself on a CPU it takes all
there is). `make hosts HOSTS=vllm` builds an environment with both. Answers that are equal to the engine's are
counted; in float32 nearly all must be.
"""

from __future__ import annotations

import argparse
import logging
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from benchmarks.paired import cpu, machine, ratio, rotated, table
from benchmarks.workload import answerer
from rm_monitor.generators.engine import EngineGenerator
from rm_monitor.generators.rows import end_tokens, rows_of
from rm_monitor.types import Prompt, Sampling

ENGINE = "engine"
PAGE = 32  # tokens of a page of `generate_batch`

Tokens = list[tuple[int, ...]]


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", help="folder of a policy; without it the random one of 19 M (no vLLM)")
    parser.add_argument("--peers", nargs="+", default=["vllm", "generate_batch"], choices=list(PEERS))
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--bf16", action="store_true", help="tokens then need not be equal")
    parser.add_argument("--quick", action="store_true", help="a smoke test: proves nothing")
    given = parser.parse_args(arguments)
    if given.quick:
        given.prompts, given.rounds, given.tokens, given.peers = 4, 1, 6, ["generate_batch"]
    torch.set_num_threads(1)
    dtype = torch.bfloat16 if given.bf16 else torch.float32
    print(machine(), "bfloat16" if given.bf16 else "float32", flush=True)
    model, tokenizer, prompts = answerer(given.model, given.prompts, small=given.quick, dtype=dtype)
    sampling = Sampling(temperature=0.0, max_new_tokens=given.tokens)
    ways: dict[str, Callable[[], Tokens]] = {
        name: PEERS[name](model, tokenizer, prompts, sampling) for name in (ENGINE, *given.peers)
    }
    for way in ways.values():
        way()  # trials, kernels, start
    spent: dict[str, list[float]] = {name: [] for name in ways}
    same: dict[str, list[int]] = {name: [] for name in ways}
    for turn in range(given.rounds):
        said: dict[str, Tokens] = {}
        for name in rotated(list(ways), turn):
            seconds, said[name] = cpu(ways[name])
            spent[name].append(seconds)
            print(turn, name, f"{seconds:.2f} CPU-s", flush=True)
        for name, answers in said.items():
            same[name].append(sum(a == b for a, b in zip(answers, said[ENGINE], strict=True)))
    count = sum(map(len, said[ENGINE]))
    rows = {
        name: {
            "CPU-s": f"{statistics.median(seconds):.2f}",
            "times the engine": ratio(seconds, spent[ENGINE]),
            "equal answers": f"{min(same[name])} of {len(prompts)}",
        }
        for name, seconds in spent.items()
    }
    print(f"{len(prompts)} prompts, {count} tokens, {given.rounds} rounds\n{table(rows)}", flush=True)
    return {"rows": rows, "spent": spent, "same": same}


def _ours(generator: Any, model: Any, tokenizer: Any, prompts: list[Prompt], sampling: Sampling) -> Tokens:
    with torch.no_grad():
        return [c.tokens for c in generator.generate(prompts, sampling, model=model, tokenizer=tokenizer)]


def _engine(*given: Any) -> Callable[[], Tokens]:
    return partial(_ours, EngineGenerator(), *given)


def _vllm(*given: Any) -> Callable[[], Tokens]:
    from rm_monitor.generators import load_generator

    return partial(_ours, load_generator({"vllm": {"memory": 1 << 30}}), *given)


def _generate_batch(
    model: Any, tokenizer: Any, prompts: Sequence[Prompt], sampling: Sampling
) -> Callable[[], Tokens]:
    from transformers import ContinuousBatchingConfig, GenerationConfig

    ids = [row.ids for row in rows_of(prompts, sampling, model, tokenizer)]
    ends, pad = end_tokens(model, tokenizer)
    most = sum(len(row) + sampling.max_new_tokens for row in ids)
    room = ContinuousBatchingConfig(
        page_size=PAGE,
        num_blocks=-(-most // PAGE) + 2 * len(ids),
        max_batch_tokens=max(512, max(map(len, ids))),
        use_cuda_graph=False,
    )
    greedy = GenerationConfig(
        do_sample=False, max_new_tokens=sampling.max_new_tokens, eos_token_id=ends, pad_token_id=pad
    )

    def answer() -> Tokens:
        with torch.no_grad():
            found = model.generate_batch(
                ids, generation_config=greedy, continuous_batching_config=room, progress_bar=False
            )
        return [tuple(found[name].generated_tokens) for name in sorted(found, key=_number)]

    return answer


def _number(name: str) -> int:
    return int(name.rsplit("_", 1)[1])


PEERS: dict[str, Callable[..., Callable[[], Tokens]]] = {
    ENGINE: _engine,
    "vllm": _vllm,
    "generate_batch": _generate_batch,
}

if __name__ == "__main__":
    logging.disable(logging.WARNING)
    main()
