"""Answering alone: the engine against ``model.generate``, and against multiplications it cannot avoid.

``model.generate`` runs over prompts sorted by length in batches of several sizes, without the entropy that
the engine records. The linears are those of the model, run on random rows with the token counts of the
engine's own forwards (prefills included), nothing else: no attention, no norms, no Python in between; once as
they are and once packed by oneDNN. All in the same run. ``--profile`` says what the engine's time goes to.
"""

from __future__ import annotations

import argparse
import logging
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from transformers import GenerationConfig

from benchmarks.paired import cpu, machine, ratio, rotated, table
from benchmarks.workload import answerer
from rm_monitor.generators.chat import prompt_ids
from rm_monitor.generators.engine import EngineGenerator
from rm_monitor.generators.hf import generate_rows
from rm_monitor.generators.rows import end_tokens
from rm_monitor.packed.linears import packed_linears
from rm_monitor.types import Prompt, Sampling

ENGINE, LINEARS, PACKED = "engine", "its linears", "its linears, packed"


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", help="folder of a policy; without it the random one of 19 M")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=160)
    parser.add_argument("--bf16", action="store_true", help="tokens then need not be equal")
    parser.add_argument("--profile", action="store_true", help="only the shares of one run of the engine")
    parser.add_argument("--quick", action="store_true", help="a smoke test: proves nothing")
    given = parser.parse_args(arguments)
    if given.quick:
        given.prompts, given.batches, given.rounds, given.tokens = 5, [4], 1, 8
    torch.set_num_threads(1)
    dtype = torch.bfloat16 if given.bf16 else torch.float32
    print(machine(), "bfloat16" if given.bf16 else "float32", flush=True)
    model, tokenizer, prompts = answerer(given.model, given.prompts, small=given.quick, dtype=dtype)
    sampling = Sampling(temperature=0.0, max_new_tokens=given.tokens)
    engine = EngineGenerator()
    engine.generate(
        prompts[:2], Sampling(max_new_tokens=1), seed=1, model=model, tokenizer=tokenizer
    )  # the trial
    answer = partial(engine.generate, prompts, sampling, model=model, tokenizer=tokenizer)
    if given.profile:
        return _profile(answer, model, engine)
    spent: dict[str, list[float]] = {}
    for turn in range(given.rounds):
        said: dict[str, list[str]] = {}
        peers = [f"generate, batch {batch}" for batch in given.batches]
        for name in [*rotated([ENGINE, *peers], turn), LINEARS, PACKED]:
            if name == ENGINE:
                seconds, answers = cpu(answer)
                said[name] = [a.text for a in answers]
            elif name in peers:
                work = partial(_generate, model, tokenizer, prompts, sampling, int(name.rsplit(" ", 1)[1]))
                seconds, said[name] = cpu(work)
            else:
                seconds = _linears(model, engine.facts.trajectory, packed=name == PACKED)
            spent.setdefault(name, []).append(seconds)
            print(turn, name, f"{seconds:.2f} CPU-s", flush=True)
        same = {name: sum(map(str.__eq__, said[ENGINE], texts)) for name, texts in said.items()}
        assert given.bf16 or set(same.values()) == {len(prompts)}, f"equal answers: {same}"
        print(turn, "equal answers", same, flush=True)
    facts = engine.facts
    print(
        f"{len(prompts)} prompts, {facts.prefilled} prompt tokens, {facts.tokens} generated, "
        f"{facts.steps} steps, {facts.row_steps / facts.tokens:.3f} row-steps a token, {given.rounds} rounds"
    )
    rows = {
        name: {
            "CPU-s": f"{statistics.median(seconds):.2f}",
            "tokens / CPU-s": f"{facts.tokens / statistics.median(seconds):.0f}",
            "times the engine": ratio(seconds, spent[ENGINE]),
        }
        for name, seconds in spent.items()
    }
    print(table(rows), flush=True)
    return {"rows": rows, "spent": spent}


def _generate(model: Any, tokenizer: Any, prompts: list[Prompt], sampling: Sampling, batch: int) -> list[str]:
    ends, pad = end_tokens(model, tokenizer)
    ids = [prompt_ids(p, tokenizer) for p in prompts]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    kept = model.generation_config
    model.generation_config = GenerationConfig(
        do_sample=False, max_new_tokens=sampling.max_new_tokens, eos_token_id=ends, pad_token_id=pad
    )
    texts = [""] * len(ids)
    try:
        with torch.no_grad():
            for start in range(0, len(order), batch):
                part = order[start : start + batch]
                for i, tokens in zip(part, generate_rows(model, [ids[i] for i in part], pad), strict=True):
                    texts[i] = tokenizer.decode(tokens, skip_special_tokens=True)
    finally:
        model.generation_config = kept
    return texts


def _linears(model: Any, trajectory: list[tuple[int, int]], *, packed: bool) -> float:
    """CPU seconds of the multiplications alone, in the order in which the engine needs them."""
    head = model.get_output_embeddings()
    body = [m for m in model.modules() if isinstance(m, nn.Linear) and m is not head]
    widths = {m.in_features for m in [*body, head]}
    most = max(tokens for tokens, _ in trajectory)
    inputs = {w: torch.randn(most, w, dtype=head.weight.dtype) for w in widths}

    def run() -> None:
        for tokens, reach_head in trajectory:
            for linear in body:
                linear(inputs[linear.in_features][:tokens])
            if reach_head:
                head(inputs[head.in_features][:reach_head])

    with torch.no_grad(), packed_linears(model, 1 << 40 if packed else 0):
        return cpu(run)[0]


def _profile(answer: Callable[[], Any], model: Any, engine: EngineGenerator) -> dict[str, Any]:
    """CPU seconds of one run by kind of operation, as torch's profiler sees them."""
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        answer()
    spent = {"linear layers": 0.0, "attention": 0.0, "everything else": 0.0}
    for one in seen.key_averages():
        kind = "linear" if "linear" in one.key or one.key in ("aten::mm", "aten::addmm") else one.key
        kind = "attention" if "scaled_dot_product" in kind else kind
        name = {"linear": "linear layers", "attention": "attention"}.get(kind, "everything else")
        spent[name] += one.self_cpu_time_total / 1e6
    head = model.get_output_embeddings()
    body = sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Linear) and m is not head)
    work = sum(2 * (t * body + reach * head.weight.numel()) for t, reach in engine.facts.trajectory)
    total = sum(spent.values())
    rows = {name: {"CPU-s": f"{s:.2f}", "share": f"{s / total:.0%}"} for name, s in spent.items()}
    print(f"{table(rows)}\nlinear layers: {work / spent['linear layers'] / 1e9:.0f} GFLOP/s", flush=True)
    return {"rows": rows}


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    main()
