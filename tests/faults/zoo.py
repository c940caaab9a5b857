"""Objects of the user's that an evaluation could disturb: datasets, modules, optimizers, callbacks.

Each animal makes what a tiny Trainer is built of. What training leaves must be the same with the monitor,
without it, and when the monitor's judge or generator fails.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import random
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import Trainer, TrainerCallback, TrainingArguments, default_data_collator

from rm_monitor import RewardMonitor, RewardMonitorCallback, Sampling
from rm_monitor.generators.hf import HFGenerator
from tests.conftest import build_policy, build_tokenizer

STEPS = 4
FAULTS = ("fine", "scorer", "generator", "memory")
TOKENIZER = build_tokenizer()
VOCABULARY = 200
ZOO: dict[str, Callable[[], dict[str, Any]]] = {}


def animal(make: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """Put one into the zoo."""
    ZOO[make.__name__] = make
    return make


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

    def __init__(self, fault: str) -> None:
        self.inner, self.fault, self.calls = HFGenerator(batch_size=2), fault, 0

    def generate(self, prompts: Any, sampling: Any, **options: Any) -> Any:
        self.calls += 1
        made = self.inner.generate(prompts, sampling, **options)
        if self.calls > 1 and self.fault == "generator":
            raise RuntimeError("the generator fell over")
        return made


def rows(n: int = 32, length: int = 8) -> list[dict[str, Any]]:
    """The same random rows each time."""
    ids = torch.randint(5, VOCABULARY, (n, length), generator=torch.Generator().manual_seed(0))
    return [{"input_ids": row, "labels": row} for row in ids]


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
                generator=None if given.pop("engine", False) else Generator(fault),
                sampling=Sampling(max_new_tokens=4),
                output_dir=Path(folder) / "monitor",
                report_to=[],
            )
            callbacks = [*callbacks, RewardMonitorCallback(monitor, select_best=False)]
        given.pop("engine", None)
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
        trainer = Trainer(
            model=model,
            args=TrainingArguments(**settings),
            train_dataset=rows() if data is None else data,
            eval_dataset=rows(4) if settings.get("eval_strategy") else None,
            processing_class=TOKENIZER,
            callbacks=callbacks,
            data_collator=given.pop("collator", default_data_collator),
            **given,
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
        "weights": _hash(p for _, p in model.named_parameters()),
        "buffers": _hash(b for _, b in model.named_buffers()),
        "modes": [m.training for m in model.modules()],
        "optimizer": _hash(v for pairs in state for _, v in pairs if torch.is_tensor(v)),
        "random": (_hash([torch.get_rng_state()]), random.getstate(), str(np.random.get_state())),
        "losses": [row["loss"] for row in trainer.state.log_history if "loss" in row],
        "attributes": {n: sorted(k for k in vars(m) if k != "_hf_hook") for n, m in model.named_modules()},
    }


def _hash(tensors: Any) -> str:
    found = hashlib.sha256()
    for t in tensors:
        found.update(t.detach().contiguous().cpu().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:12]


def differs(name: str, fault: str, plain: dict[str, Any] | None = None) -> list[str]:
    """What is not as it would be without us; empty: nothing. Also says when the monitor did not work."""
    without, with_us = plain or train(name, None), train(name, fault)
    expected = {"ok"} if fault == "fine" else {"ok", "failed"}
    found = [key for key in without if without[key] != with_us[key]]
    return found + ([] if set(with_us["statuses"]) == expected else [str(with_us["statuses"])])


def policy(**settings: Any) -> Any:
    """A fresh tiny Llama."""
    model = build_policy(TOKENIZER)
    for name, value in settings.items():
        setattr(model.config, name, value)
    return model


def wrapped(make: Callable[[Any], nn.Module]) -> Any:
    """A policy whose layers' multilayer perceptrons are wrapped."""
    model = policy()
    for layer in model.model.layers:
        layer.mlp = make(layer.mlp)
    return model


# ---------------------------------------------------------------------- datasets and collators


class OwnGenerator(torch.utils.data.Dataset[Any]):
    """Masks tokens at random, by a generator of its own."""

    def __init__(self) -> None:
        self.draw, self.rows = np.random.default_rng(0), rows()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> Any:
        ids = self.rows[i]["input_ids"].clone()
        ids[self.draw.integers(len(ids))] = int(self.draw.integers(5, VOCABULARY))
        return {"input_ids": ids, "labels": ids}


@animal
def dataset_with_its_own_generator() -> dict[str, Any]:
    return {"data": OwnGenerator()}


class Curriculum(OwnGenerator):
    """A row gets harder each time it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: dict[int, int] = {}

    def __getitem__(self, i: int) -> Any:
        self.reads[i] = self.reads.get(i, 0) + 1
        ids = self.rows[i]["input_ids"].clone()
        ids[: self.reads[i] % 6] = 5
        return {"input_ids": ids, "labels": ids}


@animal
def dataset_that_counts_reads() -> dict[str, Any]:
    data = Curriculum()
    return {"data": data, "facts": lambda trainer: data.reads}


def _arrow() -> Any:
    import datasets

    return datasets.Dataset.from_list([{k: v.tolist() for k, v in row.items()} for row in rows()])


@animal
def set_transform_with_its_own_generator() -> dict[str, Any]:
    data, draw = _arrow(), np.random.default_rng(0)

    def transform(batch: Any) -> Any:
        out = [list(x) for x in batch["input_ids"]]
        for x in out:
            x[int(draw.integers(len(x)))] = int(draw.integers(5, VOCABULARY))
        return {"input_ids": out, "labels": out}

    data.set_transform(transform)
    return {"data": data}


@animal
def stream_with_a_map_that_draws() -> dict[str, Any]:
    draw = np.random.default_rng(0)

    def mask(row: Any) -> Any:
        ids = list(row["input_ids"])
        ids[int(draw.integers(len(ids)))] = int(draw.integers(5, VOCABULARY))
        return {"input_ids": ids, "labels": ids}

    return {"data": _arrow().to_iterable_dataset().map(mask)}


@animal
def stream_shuffled() -> dict[str, Any]:
    return {"data": _arrow().to_iterable_dataset().shuffle(seed=0, buffer_size=8)}


class Endless(torch.utils.data.IterableDataset[Any]):
    """Draws rows by a generator of its own."""

    def __init__(self) -> None:
        self.draw, self.rows = random.Random(0), rows()

    def __iter__(self) -> Iterator[Any]:
        while True:
            yield self.rows[self.draw.randrange(len(self.rows))]


@animal
def iterable_with_its_own_generator() -> dict[str, Any]:
    return {"data": Endless()}


@animal
def subset_of_a_dataset_with_state() -> dict[str, Any]:
    return {"data": torch.utils.data.Subset(OwnGenerator(), range(20))}


@animal
def concatenated_datasets_with_state() -> dict[str, Any]:
    return {"data": torch.utils.data.ConcatDataset([OwnGenerator(), rows()])}


class ListWithState(list):  # type: ignore[type-arg]
    """A list whose reading draws."""

    def __getitem__(self, i: Any) -> Any:
        torch.rand(1)
        self.read = getattr(self, "read", 0) + 1
        row = super().__getitem__(i)
        return {"input_ids": row["input_ids"].roll(self.read * 3 % 7), "labels": row["labels"]}


@animal
def list_that_is_more_than_a_list() -> dict[str, Any]:
    return {"data": ListWithState(rows())}


class Collate:
    """Masks by the global generators."""

    def __call__(self, features: Any) -> Any:
        batch = default_data_collator(features)
        ids = batch["input_ids"].clone()
        for r in range(len(ids)):
            ids[r, random.randrange(ids.shape[1])] = int(np.random.randint(5, VOCABULARY))
        return {**batch, "input_ids": ids}


@animal
def collator_that_draws() -> dict[str, Any]:
    return {"collator": Collate()}


@animal
def collator_that_draws_in_workers() -> dict[str, Any]:
    return {"collator": Collate(), "arguments": {"dataloader_num_workers": 1}}


# ---------------------------------------------------------------------- modules


class Moved(nn.Module):
    """Counts what passes, in a buffer or an attribute, and reads the count."""

    def __init__(self, inner: nn.Module, kind: str) -> None:
        super().__init__()
        self.inner, self.kind, self.calls = inner, kind, 0
        self.seen: list[float] = []
        self.sums = {"n": 0.0}
        self.free = torch.zeros(1)
        if kind in ("saved", "unsaved", "replaced"):
            self.register_buffer("load", torch.zeros(4), persistent=kind != "unsaved")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            passed = float(x.shape[0] * x.shape[1])
            if self.kind in ("saved", "unsaved"):
                self.load += passed
            elif self.kind == "replaced":
                self.load = self.load + passed
            elif self.kind == "attribute":
                self.calls += 1
            elif self.kind == "list":
                self.seen.append(passed)
            elif self.kind == "dict":
                self.sums["n"] += passed
            elif self.kind == "tensor":
                self.free += passed
            elif self.kind == "new" and not self.training:
                self.left_behind = True
        at = float(getattr(self, "load", torch.zeros(1))[0]) + self.calls + len(self.seen) + self.sums["n"]
        at += float(self.free) + 50 * hasattr(self, "left_behind")
        return self.inner(x) * (1 + 1e-3 * (at % 97))


def _moved(kind: str) -> Callable[[], dict[str, Any]]:
    return lambda: {"model": wrapped(lambda inner: Moved(inner, kind))}


for _kind in ("saved", "unsaved", "replaced", "attribute", "list", "dict", "tensor", "new"):
    ZOO[f"forward_moves_{_kind}"] = _moved(_kind)


class Merges(nn.Module):
    """An adapter that is merged into the weights on ``eval()``, as loralib's is."""

    def __init__(self, linear: Any) -> None:
        super().__init__()
        self.weight = linear.weight
        self.a = nn.Parameter(torch.randn(2, linear.in_features) * 0.2)
        self.b = nn.Parameter(torch.randn(linear.out_features, 2) * 0.2)
        self.merged = False

    def train(self, mode: bool = True) -> Any:
        super().train(mode)
        with torch.no_grad():
            if mode and self.merged:
                self.weight.data -= self.b @ self.a
            if not mode and not self.merged:
                self.weight.data += self.b @ self.a
        self.merged = not mode
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.linear(x, self.weight)
        return y if self.merged else y + (x @ self.a.T) @ self.b.T


@animal
def merges_on_eval() -> dict[str, Any]:
    model = policy()
    for layer in model.model.layers:
        layer.mlp.up_proj = Merges(layer.mlp.up_proj)
    return {"model": model, "facts": lambda t: [m.merged for m in t.model.modules() if isinstance(m, Merges)]}


class Frozen(nn.Module):
    """Stays in eval mode, whatever is asked for."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.drop, self.asked = inner, nn.Dropout(0.2), 0

    def train(self, mode: bool = True) -> Any:
        self.asked += 1
        super().train(mode)
        self.drop.train(False)
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(self.drop(x)) * (1 + 1e-3 * self.asked)


@animal
def part_that_refuses_train_mode() -> dict[str, Any]:
    return {"model": wrapped(Frozen)}


@animal
def old_weight_norm() -> dict[str, Any]:
    model = policy()
    for layer in model.model.layers:
        nn.utils.weight_norm(layer.mlp.up_proj)
    return {"model": model}


@animal
def parametrized_spectral_norm() -> dict[str, Any]:
    model = policy()
    for layer in model.model.layers:
        nn.utils.parametrizations.spectral_norm(layer.mlp.up_proj)
    return {"model": model}


class Normed(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.norm = inner, nn.BatchNorm1d(32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.inner(x)
        return y + 0.1 * self.norm(y.reshape(-1, y.shape[-1])).reshape(y.shape)


@animal
def batch_norm() -> dict[str, Any]:
    return {"model": wrapped(Normed)}


@animal
def generate_that_switches_all_modules_when_done() -> dict[str, Any]:
    """As unsloth's does: an attribute that only the class had is on each layer afterwards."""
    model = policy()
    plain = model.generate

    def generate(*args: Any, **kwargs: Any) -> Any:
        try:
            return plain(*args, **kwargs)
        finally:
            for part in model.modules():
                part.gradient_checkpointing = True
            model.training_was_left = True

    model.generate = generate
    return {"model": model}


@animal
def generate_that_changes_settings() -> dict[str, Any]:
    model = policy()
    plain = model.generate

    def generate(*args: Any, **kwargs: Any) -> Any:
        model.config.use_cache = not model.config.use_cache
        model.generation_config.temperature = 0.5
        model.requires_grad_(False)
        model.train()
        out = plain(*args, **kwargs)
        torch.manual_seed(0), random.seed(0), np.random.seed(0)
        return out

    model.generate = generate
    return {
        "model": model,
        "facts": lambda t: (t.model.config.use_cache, t.model.generation_config.to_dict()),
    }


@animal
def tied_embeddings() -> dict[str, Any]:
    model = policy()
    model.config.tie_word_embeddings = True
    model.lm_head.weight = model.model.embed_tokens.weight
    return {"model": model, "engine": True}


@animal
def half_frozen() -> dict[str, Any]:
    model = policy()
    model.model.layers[0].requires_grad_(False)
    model.model.layers[0].eval()
    return {"model": model}


@animal
def lora() -> dict[str, Any]:
    from peft import LoraConfig, get_peft_model

    made = get_peft_model(policy(), LoraConfig(r=2, lora_dropout=0.2, target_modules=["q_proj", "up_proj"]))
    return {"model": made, "engine": True}


@animal
def gradient_checkpointing() -> dict[str, Any]:
    return {"arguments": {"gradient_checkpointing": True}, "engine": True}


@animal
def bf16_autocast() -> dict[str, Any]:
    return {"arguments": {"bf16": True}, "engine": True}


@animal
def compiled() -> dict[str, Any]:
    return {"arguments": {"torch_compile": True, "torch_compile_backend": "eager"}}


@animal
def neftune() -> dict[str, Any]:
    return {"arguments": {"neftune_noise_alpha": 5.0}}


# ---------------------------------------------------------------------- hooks and callbacks


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
    return {"callbacks": [kept], "facts": lambda trainer: _hash(kept.average)}


@animal
def swa() -> dict[str, Any]:
    model = policy()
    average = torch.optim.swa_utils.AveragedModel(model)

    class Updates(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            average.update_parameters(kwargs["model"])

    return {"model": model, "callbacks": [Updates()], "facts": lambda trainer: _hash(average.parameters())}


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


# ---------------------------------------------------------------------- optimizers


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
