"""Objects of the user's that an evaluation could disturb: datasets, modules, optimizers, callbacks.

Each animal makes what a tiny Trainer is built of. What training leaves must be the same with the monitor,
without it, and when the monitor's judge or generator fails.
"""

from __future__ import annotations

import contextlib
import io
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Trainer, TrainingArguments, default_data_collator

from rm_monitor import RewardMonitor, RewardMonitorCallback, Sampling
from rm_monitor.generators.hf import HFGenerator
from tests.faults.animals import STEPS, TOKENIZER, ZOO, policy, rows
from tests.faults.animals.base import digest

FAULTS = ("fine", "scorer", "generator", "memory")


class Score:
    """Draws from every random state, as a careless reward model might."""

    fingerprint, scale = "letters-1", "logit"

    def __init__(self, fault: str) -> None:
        self.fault, self.calls = fault, 0

    def score(self, prompts: Any, completions: Any) -> list[float]:
        self.calls += 1
        torch.rand(3), random.random(), np.random.rand()
        if self.calls > 2 and self.fault == "scorer":  # the first evaluation scores answers and references
            raise RuntimeError("the reward model fell over")
        if self.calls > 2 and self.fault == "memory":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [float(len(set(c.text))) for c in completions]


class Generator:
    """Answers by the model's own ``generate``, so that all the user patched is called; may fail half-way."""

    def __init__(self, fault: str, inner: Any = None) -> None:
        self.inner, self.fault, self.calls = inner or HFGenerator(batch_size=2), fault, 0

    def generate(self, prompts: Any, sampling: Any, **options: Any) -> Any:
        self.calls += 1
        made = self.inner.generate(prompts, sampling, **options)
        if self.calls > 1 and self.fault == "generator":
            raise RuntimeError("the generator fell over")
        return made


def train(name: str, fault: str | None) -> dict[str, Any]:
    """What a training leaves: with the monitor and a fault, or without it (None)."""
    given = copied(ZOO[name])
    facts = given.pop("facts", lambda trainer: None)
    callbacks, run = given.pop("callbacks", []), given.pop("train", lambda trainer: trainer.train())
    model = given.pop("model", None) or policy()
    optimizer = given.pop("optimizer", None)
    with tempfile.TemporaryDirectory() as folder:
        monitor = None
        if fault is not None:
            monitor = RewardMonitor(
                Score(fault),
                ["question one", "question two and more"],
                every=2,
                generator=None
                if given.pop("engine", False)
                else Generator(fault, given.pop("answers", None)),
                sampling=Sampling(max_new_tokens=4),
                output_dir=Path(folder) / "monitor",
                report_to=[],
            )
            callbacks = [*callbacks, RewardMonitorCallback(monitor, select_best=False)]
        given.pop("engine", None), given.pop("answers", None)
        settings = {
            "output_dir": str(Path(folder) / "trainer"),
            "max_steps": STEPS,
            "per_device_train_batch_size": 2,
            "learning_rate": 1e-2,
            "report_to": [],
            "use_cpu": True,
            "disable_tqdm": True,
            "logging_steps": 1,
            "save_strategy": "no",
            "seed": 3,
            "dataloader_pin_memory": False,
            **given.pop("arguments", {}),
        }
        data = given.pop("data", None)
        if optimizer is not None:
            given["optimizers"] = (optimizer(model), None)
        build = given.pop("build", None)
        trainer = (
            build(settings, callbacks)
            if build
            else Trainer(
                model=model,
                args=TrainingArguments(**settings),
                train_dataset=rows() if data is None else data,
                eval_dataset=rows(4) if settings.get("eval_strategy") else None,
                processing_class=TOKENIZER,
                callbacks=callbacks,
                data_collator=given.pop("collator", default_data_collator),
                **given,
            )
        )
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            run(trainer)
        left = leaves(trainer)
        left["facts"] = facts(trainer)
        if monitor is not None:
            left["statuses"] = [p.status for p in monitor.curve]
    return left


def copied(make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """An animal, born from the same random states each time."""
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    return dict(make())


def leaves(trainer: Any) -> dict[str, Any]:
    """Hashes of all that training left."""
    model, optimizer = trainer.model, getattr(trainer.optimizer, "optimizer", trainer.optimizer)
    groups = [p for group in optimizer.param_groups for p in group["params"]]
    state = [sorted(optimizer.state.get(p, {}).items()) for p in groups]
    return {
        "weights": digest(p for _, p in model.named_parameters()),
        "buffers": digest(b for _, b in model.named_buffers()),
        "modes": [m.training for m in model.modules()],
        "optimizer": digest(v for pairs in state for _, v in pairs if torch.is_tensor(v)),
        "random": (digest([torch.get_rng_state()]), random.getstate(), str(np.random.get_state())),
        "losses": [row["loss"] for row in trainer.state.log_history if "loss" in row],
        "attributes": {n: sorted(k for k in vars(m) if k != "_hf_hook") for n, m in model.named_modules()},
    }


def differs(name: str, fault: str, plain: dict[str, Any] | None = None) -> list[str]:
    """What is not as it would be without us; empty: nothing. Also says when the monitor did not work."""
    without, with_us = plain or train(name, None), train(name, fault)
    expected = {"ok"} if fault == "fine" else {"ok", "failed"}
    found = [key for key in without if without[key] != with_us[key]]
    return found + ([] if set(with_us["statuses"]) == expected else [str(with_us["statuses"])])


def campaign() -> Iterator[tuple[str, str, str]]:
    """Every animal, with every fault."""
    wrong: dict[str, Any] = {}
    for name in ZOO:
        plain = train(name, None)
        again = [key for key, value in train(name, None).items() if value != plain[key]]
        if again:
            wrong[f"{name} by itself"] = again
        for fault in FAULTS:
            if found := differs(name, fault, plain):
                wrong[f"{name}, {fault}"] = found
    got = f"0 of {len(ZOO) * len(FAULTS)}" if not wrong else f"{len(wrong)} of {len(ZOO) * len(FAULTS)}"
    yield f"identity over {len(ZOO)} kinds of user code x {FAULTS}: different", "0", f"{got} {wrong or ''}"
