"""Small pieces several test files use: a scripted policy, a length-loving scorer, a tiny Trainer."""

import hashlib

import torch
from transformers import Trainer, TrainingArguments

from rm_monitor import Completion
from rm_monitor.types import Scores


class Says:
    """A generator that answers from a table of quality by step: ``quality(step)`` of the words are good."""

    def __init__(self, quality):
        self.quality = quality
        self.step = 0
        self.calls = 0

    def generate(self, prompts, sampling, *, seed=0, model=None, tokenizer=None, progress=None):
        self.calls += 1
        answers = []
        for prompt in prompts:
            for sample in range(sampling.samples_per_prompt):
                draw = uniform(seed, prompt.id, sample, self.step)
                words = round(10 * self.quality(self.step) + 2 * (draw - 0.5) * 3)
                text = f"{prompt.id} " + "good " * max(words, 0)
                answers.append(
                    Completion(
                        prompt_id=prompt.id,
                        text=text,
                        sample=sample,
                        n_tokens=words + 1,
                        finish_reason="stop",
                    )
                )
        return answers


def uniform(*key):
    """A number in [0, 1) that depends on the key alone."""
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:6], "big") / 2**48


class CountsGood:
    """A reward model of one line: the number of times the text says good."""

    fingerprint = "counts-good-1"
    scale = "logit"

    def __init__(self):
        self.calls = 0

    def score(self, prompts, completions):
        self.calls += 1
        return [float(c.text.count("good")) for c in completions]


class Breaks(CountsGood):
    """Works until it is told to break."""

    broken = False

    def score(self, prompts, completions):
        if self.broken:
            raise RuntimeError("the reward model fell over")
        return super().score(prompts, completions)


class Keeps:
    """A sink that keeps what it was shown."""

    def __init__(self):
        self.updates = []

    def show(self, update):
        self.updates.append(update)


class Fails:
    """A sink that always fails."""

    def show(self, update):
        raise ConnectionError("no network")


def nan_scores(n):
    return Scores(reward=[float("nan")] * n)


PROMPTS = [f"prompt {i}" for i in range(64)]


def rows(tokenizer, n=64, length=16):
    """Random training rows, the same each time."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(
        0, 200 if tokenizer is None else min(200, len(tokenizer)), (n, length), generator=generator
    )
    return [{"input_ids": row, "labels": row} for row in ids]


def tiny_trainer(
    model, tokenizer, output_dir, *, callbacks=(), steps=8, train=Trainer, n_rows=64, **arguments
):
    """A Trainer that takes a few tiny steps on the CPU, and says nothing."""
    settings = dict(
        output_dir=str(output_dir),
        max_steps=steps,
        per_device_train_batch_size=2,
        learning_rate=1e-3,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        logging_steps=2,
        save_strategy="no",
        seed=1,
    )
    settings.update(arguments)
    return train(
        model=model,
        args=TrainingArguments(**settings),
        train_dataset=rows(tokenizer, n_rows),
        eval_dataset=rows(tokenizer, 4) if settings.get("eval_strategy", "no") != "no" else None,
        processing_class=tokenizer,
        callbacks=list(callbacks),
    )
