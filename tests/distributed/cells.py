"""Training cells for torchrun: each trains a tiny model with and without the monitor and hashes what
training left.

``torchrun --nproc_per_node 2 -m tests.distributed.cells POLICY_DIR OUT_DIR CELL ...``

A cell is ``recipe:engine:fault``, or one of `OTHERS`. Each rank writes ``OUT_DIR/rank-N.json``: cell ->
the hashes of its weights, its
optimizer state and its random states, and what the monitor made of it. A launch runs many cells: imports
are paid once.
"""

import contextlib
import faulthandler
import hashlib
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainerCallback

from rm_monitor import RewardMonitor, RewardMonitorCallback, Sampling
from rm_monitor.generators.hf import HFGenerator
from rm_monitor.monitor.budget import Budget
from rm_monitor.training.sharded import describe
from tests.distributed.trl_cells import TRL, trl_trainer
from tests.helpers import tiny_trainer

RECIPES = ("plain", "grad-checkpoint", "lora", "accumulation", "bf16", "compile", "neftune")
ENGINES = ("ddp", "fsdp1", "fsdp2")
FAULTS = ("fine", "scorer", "generator")
STEPS, EVERY = 4, 2
PROMPTS = [f"question {i} " + "word " * (i % 5) for i in range(7)]


class BreaksOnRank:
    """The generator of this process, which fails on one rank in every evaluation but the first."""

    def __init__(self, rank, batch_size=4):
        self.inner, self.rank, self.calls = HFGenerator(batch_size=batch_size), rank, 0

    def generate(self, prompts, sampling, **options):
        self.calls += 1
        inside = self.inner.generate(prompts, sampling, **options)
        if self.calls > 1 and rank_here() == self.rank:
            raise RuntimeError("the generator fell over")
        return inside


class Score:
    """Counts letters; draws from every random state, as a careless reward model might, and may raise."""

    fingerprint, scale = "letters-1", "logit"

    def __init__(self, breaks=False):
        self.breaks, self.calls = breaks, 0

    def score(self, prompts, completions):
        self.calls += 1
        torch.rand(3)
        if self.breaks and self.calls > 1:
            raise RuntimeError("the reward model fell over")
        return [float(len(set(c.text))) for c in completions]


def rank_here():
    return dist.get_rank() if dist.is_initialized() else 0


def world():
    return dist.get_world_size() if dist.is_initialized() else 1


def monitor_for(fault, out, generator=None):
    # the last rank fails, so that rank 0 is the one that would wait
    if fault == "generator":
        generator = BreaksOnRank(world() - 1)
    return RewardMonitor(
        Score(breaks=fault == "scorer"),
        PROMPTS,
        every=EVERY,
        generator=generator,
        sampling=Sampling(max_new_tokens=6),
        output_dir=out,
        report_to=[],
        on_error="start-anyway",
    )


def model_for(recipe, policy):
    from peft import LoraConfig, get_peft_model

    model = AutoModelForCausalLM.from_pretrained(policy)
    if recipe == "lora":
        torch.manual_seed(0)
        model = get_peft_model(model, LoraConfig(r=4, lora_dropout=0.1, target_modules=["q_proj", "v_proj"]))
    return model


def settings_for(recipe, engine):
    settings = {}
    if recipe == "grad-checkpoint":
        settings |= dict(gradient_checkpointing=True, gradient_checkpointing_kwargs={"use_reentrant": False})
    if recipe == "accumulation":
        settings |= dict(gradient_accumulation_steps=2)
    if recipe == "bf16":
        settings |= dict(bf16=True)
    if recipe == "compile":
        settings |= dict(torch_compile=True, torch_compile_backend="aot_eager")
    if recipe == "neftune":
        settings |= dict(neftune_noise_alpha=5.0)
    if engine in ("fsdp1", "fsdp2"):
        config = dict(
            version=int(engine[-1]),
            transformer_layer_cls_to_wrap=["LlamaDecoderLayer"],
            state_dict_type="FULL_STATE_DICT",
        )
        if engine == "fsdp1":
            config |= dict(use_orig_params=True, sync_module_states=False)
        settings |= dict(fsdp=True, fsdp_config=config)
    return settings


def digest(items):
    h = hashlib.sha256()
    for item in items:
        if torch.is_tensor(item):
            item = item.to_local() if hasattr(item, "to_local") else item
            h.update(item.detach().contiguous().cpu().flatten().view(torch.uint8).numpy().tobytes())
        else:
            h.update(repr(item).encode())
    return h.hexdigest()[:12]


def left_by(trainer):
    """What training left on this rank: its part of weights and optimizer, every random state, the losses."""
    import random

    import numpy as np

    optimizer = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
    states = [
        v
        for group in optimizer.param_groups
        for p in group["params"]
        for v in optimizer.state.get(p, {}).values()
    ]
    return {
        "weights": digest(trainer.model.parameters()),
        "optimizer": digest(states),
        "random": digest([torch.get_rng_state(), random.getstate(), str(np.random.get_state())]),
        "losses": digest([h["loss"] for h in trainer.state.log_history if "loss" in h]),
    }


class FSDPTrainer(Trainer):
    """accelerate has no branch for FSDP on CPUs, torch has: its state is built as if they were XPUs."""

    def create_accelerator_and_postprocess(self):
        from accelerate.state import AcceleratorState, PartialState
        from accelerate.utils import DistributedType

        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_XPU
        super().create_accelerator_and_postprocess()
        for state in (AcceleratorState, PartialState):
            state._shared_state["device"] = torch.device("cpu")
        assert self.is_fsdp_enabled


def fresh_accelerate():
    """A second Trainer in one process, with another engine: forget what accelerate knows of the first."""
    from accelerate.state import AcceleratorState, GradientState, PartialState

    AcceleratorState._reset_state()
    GradientState._reset_state()
    PartialState._reset_state()
    for name in [n for n in os.environ if n.startswith(("FSDP_", "ACCELERATE_"))]:
        del os.environ[name]


def train(recipe, engine, policy, out, callbacks=(), **extra):
    fresh_accelerate()
    torch._dynamo.reset()
    if recipe in TRL:
        trainer = trl_trainer(recipe, policy, out, list(callbacks), STEPS)
        trainer.train()
        return trainer
    tokenizer = AutoTokenizer.from_pretrained(policy)
    trainer = tiny_trainer(
        model_for(recipe, policy),
        tokenizer,
        out,
        steps=STEPS,
        logging_steps=1,
        callbacks=callbacks,
        train=FSDPTrainer if engine.startswith("fsdp") else Trainer,
        **{**settings_for(recipe, engine), **extra},
    )
    trainer.train()
    return trainer


def cell(recipe, engine, fault, policy, out):
    monitor = monitor_for(fault, out / "files") if fault != "without" else None
    # torch cannot gather a full FSDP1 state dict onto the CPU it lies on (it reads freed memory): nothing
    # is saved there
    choose = False if engine == "fsdp1" else "auto"
    callbacks = [] if monitor is None else [RewardMonitorCallback(monitor, select_best=choose)]
    trainer = train(recipe, engine, policy, out / "trainer", callbacks)
    kind = describe(trainer.model_wrapped).kind
    assert kind == (engine if world() > 1 else "plain"), (
        kind
    )  # accelerate falls back to fewer processes silently
    found = {**left_by(trainer), "kind": kind}
    if monitor is not None:
        found["status"] = [p.status for p in monitor.curve]
        found["reason"] = monitor.curve[-1].reason
        found["best"] = None if monitor.best is None else monitor.best.step
        found["curve"] = digest([(p.step, dict(p.metrics)) for p in monitor.curve])
    return found


# --------------------------------------------------------------------------- other things that ranks do


def answers(batch_size, policy, out, memory=""):
    """Every rank answers its share; with ``memory``, the last rank has room for so few rows only."""
    model = AutoModelForCausalLM.from_pretrained(policy)
    if memory and rank_here() == world() - 1:
        generate = model.generate

        def short_of_memory(*args, input_ids, **kwargs):
            if len(input_ids) > int(memory):
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return generate(*args, input_ids=input_ids, **kwargs)

        model.generate = short_of_memory
    wrapped = torch.nn.parallel.DistributedDataParallel(model) if world() > 1 else model
    generator = HFGenerator(batch_size=int(batch_size))
    monitor = monitor_for("fine", out, generator)
    measured = monitor.begin().measure(wrapped, AutoTokenizer.from_pretrained(policy), step=0)
    if measured.error is not None:
        raise measured.error
    monitor.close()
    table = measured.table
    text = (
        None
        if table is None
        else digest([(c.prompt_id, c.text, c.n_tokens) for row in table.completions for c in row])
    )
    return {
        "answers": text,
        "batch": generator.batch_size,
        "curve": None if table is None else digest(table.values["reward"]),
    }


def steer(policy, out):
    """Rank 0 alone knows the headline at first; the best is saved, loaded at the end, resumed from."""
    options = dict(
        save_strategy="best",
        eval_strategy="steps",
        eval_steps=2,
        load_best_model_at_end=True,
        metric_for_best_model="rm_win_rate",
    )

    class Rating(Score):
        """Likes each evaluation a little more than the one before, so that there is something to save."""

        scale = "rating"

        def score(self, prompts, completions):
            return [value + 0.9 * self.calls for value in super().score(prompts, completions)]

    seen = {}

    class Look(TrainerCallback):
        def on_train_begin(self, args, state, control, **kwargs):
            seen["resumed"] = [p.step for p in monitor.curve]

    def run(steps, resume=None):
        nonlocal monitor
        monitor = RewardMonitor(
            Rating(),
            PROMPTS,
            every=None,
            sampling=Sampling(max_new_tokens=6),
            output_dir=out / "files",
            report_to=[],
        )
        fresh_accelerate()
        trainer = tiny_trainer(
            model_for("plain", policy),
            AutoTokenizer.from_pretrained(policy),
            out / "trainer",
            steps=steps,
            callbacks=[RewardMonitorCallback(monitor), Look()],
            **options,
        )
        trainer.train(resume_from_checkpoint=resume)
        return trainer

    monitor = None
    trainer = run(4)
    first = dict(
        metric=monitor.run.metric,
        curve=[(p.step, p.metrics["win_rate"].value) for p in monitor.curve],
        best=monitor.best.step,
        state=[trainer.state.best_global_step, trainer.state.best_metric],
        at=Path(trainer.state.best_model_checkpoint).name,
        weights=digest(trainer.model.parameters()),
    )
    if world() > 1:
        dist.barrier()
    last = f"checkpoint-{max(int(p.name[11:]) for p in (out / 'trainer').glob('checkpoint-*'))}"
    trainer = run(8, str(out / "trainer" / last))
    return {
        "first": first,
        "resumed": seen["resumed"],
        "curve": [(p.step, p.metrics["win_rate"].value) for p in monitor.curve],
        "best": monitor.best.step,
        "at": trainer.state.best_global_step,
    }


class Unsendable(HFGenerator):
    """What it gives on the last rank cannot be sent to the others."""

    def generate(self, prompts, sampling, **options):
        found = super().generate(prompts, sampling, **options)
        return [replace(c, text=lambda: None) for c in found] if rank_here() == world() - 1 else found


def engine(policy, out):
    """The engine inside a training, on every rank and through the wrapper too, against `generate`."""
    from tests.generators.test_engine_under_trainers import SAMPLED, Asks

    class AsksTheWrapper(Asks):
        def on_step_end(self, args, state, control, model=None, **kwargs):
            wrapped = self.trainer.model_wrapped
            super().on_step_end(args, state, control, model=wrapped, **kwargs)

    asked = {"model": Asks(SAMPLED), "wrapped": AsksTheWrapper(SAMPLED)}

    class Keeps(TrainerCallback):  # the Trainer itself is no argument of a callback's
        def on_train_begin(self, args, state, control, **kwargs):
            asked["wrapped"].trainer = trainer

    fresh_accelerate()
    trainer = tiny_trainer(
        model_for("plain", policy),
        AutoTokenizer.from_pretrained(policy),
        out,
        steps=2,
        callbacks=[Keeps(), *asked.values()],
        gradient_checkpointing=True,
    )
    trainer.train()
    return {
        name: {"served": a.facts is not None, "reason": a.reason, "equal": a.ours == a.theirs}
        for name, a in asked.items()
    } | {"kind": type(trainer.model_wrapped).__name__}


def mishaps(policy, out):
    """Each is a failed point on every rank, in time, and the next evaluation works."""
    tokenizer = AutoTokenizer.from_pretrained(policy)
    model = AutoModelForCausalLM.from_pretrained(policy)
    monitor = monitor_for("fine", out, Unsendable())
    found = {"unsendable": monitor.evaluate(model, tokenizer, step=0).reason}
    monitor._parts.evaluator.generator = HFGenerator(batch_size=4)
    if rank_here() == world() - 1:
        model.modules = broken
    found["cannot begin"] = monitor.evaluate(model, tokenizer, step=2).reason
    vars(model).pop("modules", None)
    found["after"] = monitor.evaluate(model, tokenizer, step=4).status
    return found


class Slow(HFGenerator):
    """Takes 5 s, on a clock that only rank 0 believes in."""

    now, calls = 0.0, 0

    def generate(self, prompts, sampling, **options):
        self.now, self.calls = self.now + 5, self.calls + 1
        return super().generate(prompts, sampling, **options)


def savings(policy, out):
    """Rank 0's clock moves evaluations, and rank 0 knows weights again; every rank does as it says."""
    tokenizer = AutoTokenizer.from_pretrained(policy)
    model = AutoModelForCausalLM.from_pretrained(policy)
    slow = Slow(batch_size=4)
    monitor = monitor_for("fine", out, slow)
    run = monitor.begin()
    run._planner.budget = Budget(0.4, clock=lambda: slow.now if rank_here() == 0 else 0.0)
    for step in range(13):
        monitor.step(step, model, tokenizer)
        with torch.no_grad():
            next(model.parameters()).add_(1e-3)
        slow.now += 3
    trained = slow.calls
    run.evaluate(model, tokenizer, step=13, whatever_it_costs=True)
    monitor.evaluate(model, tokenizer, step=14)
    return {
        "judged": [p.step for p in monitor.curve if p.status == "ok"],
        "calls": [trained, slow.calls],
        "same": monitor.curve[-1].metrics == monitor.curve[-2].metrics,
    }


def broken(*args, **kwargs):
    raise RuntimeError("this rank cannot look into its model")


OTHERS = {"answers": answers, "steer": steer, "mishaps": mishaps, "engine": engine, "savings": savings}


def main(policy, out, *names):
    faulthandler.dump_traceback_later(int(os.environ.get("PATIENCE", "300")), exit=True)
    torch.set_num_threads(1)
    out = Path(out)
    if "RANK" in os.environ and int(os.environ["WORLD_SIZE"]) > 1:
        dist.init_process_group("gloo")
        assert world() == int(os.environ["WORLD_SIZE"])
    results = {}
    for name in names:
        folder = out / name.replace(":", "-")
        kind, *rest = name.split(":")
        if kind in OTHERS:
            results[name] = OTHERS[kind](*rest[:1], policy, folder, *rest[1:])
        else:
            results[name] = cell(kind, *rest, policy, folder)
        if world() > 1:
            dist.barrier()
        if rank_here() == 0:
            shutil.rmtree(folder, ignore_errors=True)
    (out / f"rank-{rank_here()}.json").write_text(json.dumps(results))
    if dist.is_initialized():
        dist.barrier()
        with contextlib.suppress(Exception):
            dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
