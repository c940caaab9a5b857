"""Hooks, callbacks and optimizers."""

from __future__ import annotations

import copy
import threading
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback

from tests.faults.animals.base import ZOO, animal, digest, policy


@animal
def hook_that_is_quiet_in_evaluations() -> dict[str, Any]:
    model, calls = policy(), [0]

    def count(module: Any, given: Any, made: Any) -> None:
        calls[0] += bool(module.training)

    model.model.layers[0].register_forward_hook(count)
    return {"model": model, "facts": lambda trainer: calls[0]}


@animal
def hook_with_kwargs_and_backward_hook() -> dict[str, Any]:
    model, calls = policy(), [0]
    model.model.layers[0].register_forward_pre_hook(lambda m, a, k: None, with_kwargs=True)
    model.model.layers[1].register_full_backward_hook(lambda m, i, o: calls.__setitem__(0, calls[0] + 1))
    return {"model": model, "facts": lambda trainer: calls[0]}


class Ema(TrainerCallback):
    """Keeps an average of the weights, swapped in around evaluations of the Trainer."""

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.average = [p.detach().clone() for p in model.parameters()]

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        for average, p in zip(self.average, model.parameters(), strict=True):
            average.lerp_(p.detach(), 0.1)


@animal
def ema() -> dict[str, Any]:
    kept = Ema()
    return {"callbacks": [kept], "facts": lambda trainer: digest(kept.average)}


@animal
def swa() -> dict[str, Any]:
    model = policy()
    average = torch.optim.swa_utils.AveragedModel(model)

    class Updates(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            average.update_parameters(kwargs["model"])

    return {"model": model, "callbacks": [Updates()], "facts": lambda trainer: digest(average.parameters())}


class Thread(TrainerCallback):
    """Has a thread with a generator of its own beside training."""

    def __init__(self) -> None:
        self.drawn: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        draw = np.random.default_rng(state.global_step)
        beside = threading.Thread(target=lambda: self.drawn.append(float(draw.random())))
        beside.start()
        beside.join()


@animal
def thread_that_draws() -> dict[str, Any]:
    beside = Thread()
    return {"callbacks": [beside], "facts": lambda trainer: beside.drawn}


@animal
def early_attributes_on_the_model() -> dict[str, Any]:
    model = policy()
    model.my_notes = {"seen": [1, 2]}
    return {"model": model, "facts": lambda trainer: copy.deepcopy(trainer.model.my_notes)}


class ScheduleFree(torch.optim.SGD):
    """Has other weights for evaluation, as schedule-free optimizers do."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(list(parameters), lr=1e-2)
        for group in self.param_groups:
            group["train_mode"] = True

    def _move(self, to: bool) -> None:
        for group in self.param_groups:
            if group["train_mode"] is not to:
                with torch.no_grad():
                    for p in group["params"]:
                        p.data.mul_(2.0 if to else 0.5)
                group["train_mode"] = to

    def train(self) -> None:
        self._move(True)

    def eval(self) -> None:
        self._move(False)


@animal
def schedule_free() -> dict[str, Any]:
    return {"optimizer": lambda model: ScheduleFree(model.parameters())}


@animal
def schedule_free_that_is_evaluated() -> dict[str, Any]:
    return {
        "optimizer": lambda model: ScheduleFree(model.parameters()),
        "arguments": {"eval_strategy": "steps", "eval_steps": 2},
    }


for _name in ("adamw_torch_fused", "adafactor", "sgd", "adagrad", "rmsprop"):
    ZOO[f"optimizer_{_name}"] = lambda name=_name: {
        "arguments": {"optim": name, "gradient_accumulation_steps": 2}
    }


@animal
def muon() -> dict[str, Any]:
    if not hasattr(torch.optim, "Muon"):
        return {}
    return {"optimizer": lambda m: torch.optim.Muon([p for p in m.model.layers.parameters() if p.ndim == 2])}


@animal
def deterministic_algorithms() -> dict[str, Any]:
    def run(trainer: Any) -> None:
        torch.use_deterministic_algorithms(True)
        try:
            trainer.train()
        finally:
            torch.use_deterministic_algorithms(False)

    return {"train": run}


if find_spec("schedulefree"):

    @animal
    def schedule_free_itself() -> dict[str, Any]:
        return {"arguments": {"optim": "schedule_free_adamw", "lr_scheduler_type": "constant"}}
