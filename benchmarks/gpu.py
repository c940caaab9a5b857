"""What a GPU does with the engine, memory, scoring and training, in one command of under 8 minutes.

    python -m benchmarks.gpu               on a GPU; `--only 1 2` runs these stages alone
    python -m benchmarks.gpu --tiny        the same on a CPU, small: it shows that the command works

Random weights made on the device; one JSON line a stage; a stage that fails says so and the next one runs.
Compare tokens a second with vLLM's or generate's on the same card before believing that anything is fast.
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

from benchmarks.workload import word_tokenizer
from rm_monitor import RewardMonitor, Sampling
from rm_monitor.generators.engine import EngineGenerator
from rm_monitor.generators.hf import HFGenerator
from rm_monitor.packed.memory import free_memory
from rm_monitor.scorers.run.batching import Batcher, Row
from rm_monitor.training.digest import fingerprint
from rm_monitor.types import Prompt

GB = 2**30
SHAPES = {  # width, inner, layers, heads, key heads, width of a head, words
    "tiny": (64, 128, 2, 4, 2, 16, 512),
    "small": (384, 1024, 8, 6, 2, 64, 16_384),
    "1B": (2048, 8192, 16, 32, 8, 64, 128_256),
    "8B": (4096, 14_336, 32, 32, 8, 128, 128_256),
}
GREEDY, NUCLEUS, WHOLE = (0.0, 1.0), (0.7, 0.95), (0.7, 1.0)


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tiny", action="store_true", help="on a CPU, small: proves nothing")
    parser.add_argument("--only", nargs="*", default=[], help="numbers of stages")
    given = parser.parse_args(arguments)
    if not (given.tiny or torch.cuda.is_available()):
        parser.error("there is no GPU here; --tiny runs the same on a CPU")
    return Check(tiny=given.tiny).run(given.only)


class Check:
    """The stages.

    Args:
        tiny: On a CPU, small.
    """

    def __init__(self, *, tiny: bool) -> None:
        self.tiny = tiny
        self.device = torch.device("cpu" if tiny else "cuda")
        self.lines: list[dict[str, Any]] = []
        self._began = time.monotonic()
        self._rng = np.random.default_rng(0)

    def run(self, only: Sequence[str]) -> list[dict[str, Any]]:
        """All stages, or those that are named; the lines printed."""
        stages = [
            self.machine, self.same_tokens, self.speed_1b, self.profile, self.memory, self.out_of_memory,
            self.speed_8b, self.scoring, self.training,
        ]  # fmt: skip
        for number, stage in enumerate(stages):
            if only and str(number) not in only:
                continue
            name = f"{number} {stage.__name__}"
            try:
                stage(name)
            except Exception as error:  # a stage that fails must not hide the next one
                self._say(name, failed=f"{type(error).__name__}: {error}"[:400])
            gc.collect()
            if not self.tiny:
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
        return self.lines

    # ------------------------------------------------------------------ stages

    def machine(self, name: str) -> None:
        """Where this runs."""
        card = "CPU" if self.tiny else torch.cuda.get_device_name()
        self._say(name, card=card, torch=torch.__version__, may_take_gb=free_memory(self.device) / GB)

    def same_tokens(self, name: str) -> None:
        """float32 in groups, bfloat16 in pages; the engine against `generate` with the same noise."""
        for dtype in (torch.float32, torch.bfloat16):
            model = self._model("small", dtype)
            prompts = self._prompts(3 if self.tiny else 64)
            for sampling in self._samplings(4 if self.tiny else 64, GREEDY, NUCLEUS, WHOLE):
                engine, _ = self._engine()
                found = self._answers(engine, model, prompts, sampling)
                theirs = self._answers(HFGenerator(), model, prompts, sampling)
                same = sum(a.tokens == b.tokens for a, b in zip(found, theirs, strict=True))
                self._say(
                    name, dtype=str(dtype), sampling=_short(sampling), equal=same, of=len(prompts),
                    served=engine.facts is not None, why_not=engine._reason,
                )  # fmt: skip

    def speed_1b(self, name: str) -> None:
        """256 prompts, 256 tokens: the engine, `generate` at two batches, continuous batching."""
        self._speed(name, "1B", 256, 256, (GREEDY, NUCLEUS, WHOLE))

    def speed_8b(self, name: str) -> None:
        """256 prompts, 96 tokens; the name of its weights."""
        model = self._speed(name, "8B", 256, 96, (GREEDY,))
        _, wall, host = self._clock(lambda: fingerprint(model))
        self._say(name, run="name of the weights", wall_s=wall, host_cpu_s=host)

    def profile(self, name: str) -> None:
        """Launches, copies and waits of a few decode steps."""
        model, prompts = self._model("1B"), self._prompts(3 if self.tiny else 64)
        engine, kind = self._engine()
        sampling = next(self._samplings(4 if self.tiny else 32, NUCLEUS))
        self._answers(engine, model, prompts, sampling)
        kinds = [ProfilerActivity.CPU, *([] if self.tiny else [ProfilerActivity.CUDA])]
        with profile(activities=kinds) as seen:
            self._answers(engine, model, prompts, sampling)
        steps = engine.facts.steps if engine.facts else 1
        watched = ("cudaLaunchKernel", "cudaGraphLaunch", "cudaMemcpyAsync", "cudaStreamSynchronize")
        watched += ("aten::nonzero", "aten::item")
        counts = {one.key: one.count for one in seen.key_averages()}
        heavy = sorted(seen.key_averages(), key=lambda one: -one.self_device_time_total)[:8]
        self._say(
            name, where=kind, steps=steps,
            a_step={key: round(counts.get(key, 0) / steps, 1) for key in watched},
            heaviest=[(one.key[:60], round(one.self_device_time_total / 1e3, 2)) for one in heavy],
        )  # fmt: skip

    def memory(self, name: str) -> None:
        """What may be taken after training has filled the allocator's cache."""
        if self.tiny:
            return self._say(name, skipped="it takes a GPU")
        free = torch.cuda.mem_get_info()[0]
        kept = [torch.empty(GB, dtype=torch.uint8, device=self.device) for _ in range(int(0.8 * free / GB))]
        del kept  # reserved and free, as activations leave it
        driver, ours = torch.cuda.mem_get_info()[0] / GB, free_memory(self.device) / GB
        self._say(name, driver_free_gb=driver, may_take_gb=ours, right=ours > 0.24 * free / GB)
        return None

    def out_of_memory(self, name: str) -> None:
        """More rows than there is memory for: answers arrive, the same ones."""
        if self.tiny:
            return self._say(name, skipped="it takes a GPU")
        model, prompts = self._model("small"), self._prompts(256)
        sampling = next(self._samplings(256, GREEDY))
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(0.012)
        try:
            engine = EngineGenerator(memory=10**12)
            found, wall, _ = self._clock(lambda: self._answers(engine, model, prompts, sampling))
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        narrowed = engine.facts.narrowed if engine.facts else None
        self._say(name, answers=len(found), narrowed=narrowed, wall_s=wall)
        return None

    def scoring(self, name: str) -> None:
        """A judge of 1 B by tokens a forward, and what batches move in bfloat16."""
        model = self._model("1B", kind=LlamaForSequenceClassification, num_labels=1)
        sizes = np.clip(np.exp(self._rng.normal(np.log(300), 0.5, 3 if self.tiny else 512)), 30, 1500)
        ids = [tuple(self._rng.integers(5, 500, int(n)).tolist()) for n in sizes]
        rows = [Row(one, None, (len(one) - 1,)) for one in ids]

        def forward(batch: Any) -> torch.Tensor:
            with torch.no_grad():
                out: torch.Tensor = model(input_ids=batch.ids, attention_mask=batch.mask).logits.float()
            return out

        for tokens in (1024, 4096, 16_384, 65_536):
            batcher = Batcher(tokens=tokens)
            _, wall, host = self._clock(lambda b=batcher: b.run(rows, forward, device=self.device))
            self._say(name, tokens_a_forward=tokens, tokens_s=sum(map(len, ids)) / wall, host_cpu_s=host)
        together = Batcher(tokens=16_384).run(rows[:32], forward, device=self.device)
        alone = Batcher(single=True).run(rows[:32], forward, device=self.device)
        self._say(name, moved=float((together - alone).abs().max()), spread=float(together.std()))

    def training(self, name: str) -> None:
        """Four steps under autocast with dropout, judged and not: the same weights to the bit."""
        first, second = (self._trained(judged=judged) for judged in (False, True))
        pairs = zip(first.parameters(), second.parameters(), strict=True)
        self._say(name, bit_identical=all(torch.equal(a, b) for a, b in pairs))

    # ------------------------------------------------------------------ what they share

    def _speed(self, name: str, size: str, n: int, new: int, kinds: Sequence[tuple[float, float]]) -> Any:
        n, new = (3, 3) if self.tiny else (n, new)
        model, prompts = self._model(size), self._prompts(n)
        engine, where = self._engine()
        self._answers(engine, model, prompts[:2], next(self._samplings(2, GREEDY)))  # the trial
        for sampling in self._samplings(new, *kinds):
            found, wall, host = self._clock(lambda s=sampling: self._answers(engine, model, prompts, s))
            tokens, steps = sum(a.n_tokens for a in found), engine.facts.steps if engine.facts else 0
            self._say(
                name, run=f"engine, {where}, {_short(sampling)}", tokens_s=tokens / wall, wall_s=wall,
                host_cpu_s=host, steps=steps, ms_a_step=1e3 * wall / max(steps, 1), why_not=engine._reason,
            )  # fmt: skip
        greedy = next(self._samplings(new, GREEDY))
        for batch in (n, min(32, n)):
            peer = HFGenerator(batch_size=batch)
            found, wall, host = self._clock(lambda p=peer: self._answers(p, model, prompts, greedy))
            tokens = sum(a.n_tokens for a in found)
            self._say(
                name, run=f"generate, {batch} rows", tokens_s=tokens / wall, wall_s=wall, host_cpu_s=host
            )
        if not self.tiny:  # on a CPU it sizes its cache by itself and takes all there is
            self._continuous(name, model, prompts, new)
        return model

    def _continuous(self, name: str, model: Any, prompts: Sequence[Prompt], new: int) -> None:
        ids = [[int(w.removeprefix("w")) for w in p.messages[0]["content"].split()] for p in prompts]
        config = GenerationConfig(do_sample=False, max_new_tokens=new, pad_token_id=0, eos_token_id=None)
        for turn in ("first", "second"):
            made, wall, host = self._clock(lambda: model.generate_batch(ids, generation_config=config))
            tokens = sum(len(one.generated_tokens) for one in made.values())
            run = f"generate_batch, {turn}"
            self._say(name, run=run, tokens_s=tokens / wall, wall_s=wall, host_cpu_s=host)

    def _engine(self) -> tuple[EngineGenerator, str]:
        return (
            (EngineGenerator(pages=16), "pages") if self.tiny else (EngineGenerator(), "as the device has it")
        )

    def _answers(
        self, generator: Any, model: Any, prompts: Sequence[Prompt], sampling: Sampling
    ) -> list[Any]:
        with torch.no_grad():
            found: list[Any] = generator.generate(prompts, sampling, model=model, tokenizer=word_tokenizer())
        return found

    def _samplings(self, new: int, *kinds: tuple[float, float]) -> Iterator[Sampling]:
        for temperature, top_p in kinds:
            yield Sampling(temperature=temperature, top_p=top_p, max_new_tokens=new)

    def _prompts(self, n: int) -> list[Prompt]:
        sizes = np.clip(np.exp(self._rng.normal(np.log(120), 0.7, n)), 40, 50 if self.tiny else 400).astype(
            int
        )
        words = [" ".join(f"w{w}" for w in self._rng.integers(5, 500, size)) for size in sizes]
        return [Prompt(id=str(i), messages=({"role": "user", "content": w},)) for i, w in enumerate(words)]

    def _model(
        self, size: str, dtype: torch.dtype = torch.bfloat16, kind: Any = LlamaForCausalLM, **more: Any
    ) -> Any:
        width, inner, layers, heads, kv, head, words = SHAPES["tiny" if self.tiny else size]
        config = LlamaConfig(
            vocab_size=words, hidden_size=width, intermediate_size=inner, num_hidden_layers=layers,
            num_attention_heads=heads, num_key_value_heads=kv, head_dim=head, max_position_embeddings=4096,
            tie_word_embeddings=size != "8B", pad_token_id=0, eos_token_id=None, bos_token_id=None, **more,
        )  # fmt: skip
        before = torch.get_default_dtype()
        torch.manual_seed(0)
        torch.set_default_dtype(dtype)
        try:
            with self.device:
                return kind(config).eval()
        finally:
            torch.set_default_dtype(before)

    def _trained(self, *, judged: bool) -> Any:
        model = self._model("small", torch.float32, attention_dropout=0.1).train()
        optimizer = torch.optim.AdamW(model.parameters(), 1e-3, fused=not self.tiny)
        words = model.config.vocab_size
        torch.manual_seed(1)
        with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()):
            monitor = RewardMonitor(
                reward_model=lambda prompts, texts: [float(len(text)) for text in texts],
                prompts=[f"w{i} w6 w7" for i in range(5, 21)],
                references=["w5"] * 16,
                every=1,
                output_dir=folder,
                sampling=Sampling(max_new_tokens=4 if self.tiny else 16),
                report_to=[],
                on_error="raise",
            )
            for step in range(4):
                ids = torch.randint(5, words, (4, 64), device=self.device)
                with torch.autocast(self.device.type, dtype=torch.bfloat16):
                    model(input_ids=ids, labels=ids).loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                if judged:
                    monitor.evaluate(model, word_tokenizer(), step=step)
        return model

    def _clock(self, work: Callable[[], Any]) -> tuple[Any, float, float]:
        """What it gave, wall-clock and host CPU seconds; the device is done at both ends."""
        self._wait()
        wall, host = time.perf_counter(), time.process_time()
        made = work()
        self._wait()
        return made, time.perf_counter() - wall, time.process_time() - host

    def _wait(self) -> None:
        if not self.tiny:
            torch.cuda.synchronize()

    def _say(self, stage: str, **facts: Any) -> None:
        if not self.tiny:
            facts["peak_gb"] = torch.cuda.max_memory_allocated() / GB
        rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in facts.items()}
        self.lines.append({"stage": stage, "t": round(time.monotonic() - self._began), **rounded})
        print(json.dumps(self.lines[-1]), flush=True)


def _short(sampling: Sampling) -> str:
    return f"T {sampling.temperature} p {sampling.top_p}" if sampling.temperature else "greedy"


if __name__ == "__main__":
    main()
