"""One noise for all checkpoints against a noise of its own for each: how exactly do neighbours compare?

    python -m benchmarks.shared_noise --plots docs      # tiny models made on the spot, a minute of one core
    python -m benchmarks.shared_noise --policy P --reward-model R --prompts P.jsonl --training T.jsonl

A policy is fine-tuned, and each checkpoint answers the same prompts twice: with the noise that the monitor
gives every checkpoint (a hash of seed, prompt, sample and position), and with a seed of its own, as sampling
does elsewhere. Of every two checkpoints the paired change of the win probability against the references is
taken, and its standard error over prompts. The ratio of the squares says how many times the prompts the one
noise is worth. The unpaired error is that of two separate means.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.special import expit
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.paired import machine, table
from rm_monitor import Sampling, load_prompts, load_scorer
from rm_monitor.demo.reward_model import train_reward_model
from rm_monitor.generators import load_generator
from rm_monitor.testing.counting import examples
from rm_monitor.testing.tiny import make_tokenizer, tiny_run
from rm_monitor.types import Completion, Generator, Prompt, Scorer

TINY = {"lr": 5e-4, "warm": 260, "every": 2, "tokens": 16}  # of the models made on the spot
_LONGEST = 96  # tokens of a training row


class Noises(NamedTuple):
    """Win probabilities ``(t, n)`` of the same checkpoints, and the share of answers that stayed the same."""

    steps: list[int]
    one: np.ndarray
    own: np.ndarray
    same_one: np.ndarray
    same_own: np.ndarray


class Row(NamedTuple):
    """Checkpoints so many evaluations apart; errors in points, of the change of the win probability."""

    steps: int
    one: float
    own: float
    unpaired: float
    same_one: float
    same_own: float

    @property
    def worth(self) -> float:
        """How many times the prompts the one noise is worth."""
        return (self.own / self.one) ** 2 if self.one > 0 else float("inf")


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """Measure, print, and draw if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--policy", help="folder of a model to fine-tune; without it a tiny one")
    parser.add_argument("--reward-model", help="folder of a reward model; without it a tiny one")
    parser.add_argument("--prompts", help="file of prompts with references; without it those of the tiny one")
    parser.add_argument("--training", help="file of rows with prompt and completion")
    parser.add_argument("--references", default="reference", help="their column")
    parser.add_argument("--limit", type=int, default=192, help="prompts")
    parser.add_argument("--evaluations", type=int, default=9)
    parser.add_argument("--every", type=int, default=None, help="steps between evaluations")
    parser.add_argument("--lr", type=float, default=None)
    parser.add_argument("--tokens", type=int, default=None)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--results", type=Path, help="JSON file to write")
    parser.add_argument("--plots", type=Path, help="folder of the picture")
    parser.add_argument("--quick", action="store_true", help="a smoke test: proves nothing")
    given = parser.parse_args(arguments)
    own = (given.policy, given.reward_model, given.prompts, given.training)
    if any(own) and not all(own):
        parser.error("--policy, --reward-model, --prompts and --training go together")
    if given.quick:
        given.limit, given.evaluations = 12, 3
    torch.set_num_threads(1)
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        rows = compared(measured(given, Path(folder)))
    print(table({f"{r.steps} steps apart": _said(r) for r in rows}))
    if given.results:
        given.results.write_text(json.dumps([r._asdict() for r in rows], indent=1) + "\n")
    if given.plots:
        _draw(given.plots, rows)
    return rows


def measured(given: argparse.Namespace, folder: Path) -> Noises:
    """Train, and answer twice at each evaluation."""
    tiny = given.policy is None
    rule = dict(TINY) if tiny else {"lr": 1e-5, "warm": 0, "every": 3, "tokens": 24}
    rule |= {name: x for name in ("lr", "every", "tokens") if (x := getattr(given, name)) is not None}
    if given.quick:
        rule |= {"warm": 20}
    if tiny:
        _make_tiny(given, folder)
    tokenizer = AutoTokenizer.from_pretrained(given.policy)
    model = AutoModelForCausalLM.from_pretrained(given.policy, dtype=torch.float32)
    data = load_prompts(given.prompts, limit=given.limit)
    prompts, references = list(data), [str(text) for text in data.columns[given.references]]
    scorer, generator = load_scorer(given.reward_model), load_generator()
    sampling = Sampling(temperature=given.temperature, max_new_tokens=rule["tokens"])
    known = _rewards(scorer, prompts, references)
    training = _Training(model, tokenizer, given.training, 3e-3 if tiny else rule["lr"])
    training.go(rule["warm"])
    training.rate(rule["lr"])
    steps, won, texts = [], ([], []), ([], [])
    for i in range(given.evaluations):
        training.go(rule["every"] if i else 0)
        steps.append(i * rule["every"])
        for noise, seed in enumerate((0, 1 + i)):
            said = _answers(generator, prompts, sampling, seed, model, tokenizer)
            texts[noise].append(said)
            won[noise].append(expit(_rewards(scorer, prompts, said) - known))
        print(f"step {steps[-1]}: " + ", ".join(f"{100 * w[-1].mean():.1f} %" for w in won), flush=True)
    one, own = (np.array(w) for w in won)
    return Noises(steps, one, own, *(np.array([_same(t, s) for s in t]) for t in map(np.array, texts)))


def compared(noises: Noises) -> list[Row]:
    """Root mean squares over all pairs of checkpoints, by the number of evaluations between them."""
    t, n = noises.one.shape
    rows = []
    for lag in (1, 2, 4, 8, 16, 32):
        if lag >= t:
            break

        def error(won: np.ndarray, lag: int = lag) -> float:
            change = won[lag:] - won[:-lag]
            return 100 * float(np.sqrt(change.var(axis=1, ddof=1).mean() / n))

        alone = noises.own.var(axis=1, ddof=1)
        rows.append(
            Row(
                steps=noises.steps[lag] - noises.steps[0],
                one=error(noises.one),
                own=error(noises.own),
                unpaired=100 * float(np.sqrt((alone[lag:] + alone[:-lag]).mean() / n)),
                same_one=float(np.diagonal(noises.same_one, lag).mean()),
                same_own=float(np.diagonal(noises.same_own, lag).mean()),
            )
        )
    return rows


def _said(row: Row) -> Mapping[str, str]:
    return {
        "one noise, points": f"{row.one:.2f}",
        "a noise each": f"{row.own:.2f}",
        "unpaired": f"{row.unpaired:.2f}",
        "as if the prompts were times": f"{row.worth:.1f}",
        "answers word for word the same": f"{row.same_one:.0%} ({row.same_own:.0%})",
    }


def _same(texts: np.ndarray, one: np.ndarray) -> np.ndarray:
    found: np.ndarray = (texts == one).mean(axis=1)
    return found


def _answers(
    generator: Generator,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    seed: int,
    model: Any,
    tokenizer: Any,
) -> list[str]:
    model.eval()
    said = generator.generate(prompts, sampling, seed=seed, model=model, tokenizer=tokenizer)
    return [answer.text for answer in said]


def _rewards(scorer: Scorer, prompts: Sequence[Prompt], texts: Sequence[str]) -> np.ndarray:
    answers = [Completion(prompt_id=p.id, text=text) for p, text in zip(prompts, texts, strict=True)]
    found: np.ndarray = np.asarray(scorer.score(prompts, answers).reward, dtype=np.float64)
    return found


def _draw(folder: Path, rows: Sequence[Row]) -> None:
    """The picture of docs/statistics.md."""
    from matplotlib import pyplot as plt  # only for the picture

    from benchmarks.plots import BLUE, GREY, RED, style

    style()
    folder.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(figsize=(8.0, 3.4), layout="constrained")
    for name, mark, color, label in (
        ("unpaired", "s--", GREY, "a noise each, prompts not paired"),
        ("own", "v-", RED, "a noise each, paired by prompt"),
        ("one", "o-", BLUE, "one noise for all, paired by prompt"),
    ):
        axes.plot([r.steps for r in rows], [getattr(r, name) for r in rows], mark, color=color, label=label)
    for r in rows:
        axes.annotate(
            f"{r.worth:.1f} x the prompts",
            (r.steps, r.one),
            xytext=(0, -15),
            textcoords="offset points",
            ha="center",
            fontsize=9,
            color=BLUE,
        )
    axes.set_xscale("log", base=2)
    axes.set(
        xlabel="steps between two checkpoints",
        ylabel="standard error, points",
        xticks=[r.steps for r in rows],
        xticklabels=[str(r.steps) for r in rows],
    )
    axes.set_ylim(bottom=0)
    axes.margins(x=0.1)
    axes.legend(frameon=False, fontsize=9, loc="upper right", bbox_to_anchor=(1.0, 0.93))
    path = folder / "statistics-shared-noise.svg"
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    print(path)


class _Training:
    """Fine-tuning on prompts and completions, four rows a step."""

    def __init__(self, model: Any, tokenizer: Any, data: str, lr: float) -> None:
        self._model, self._rng = model, random.Random(0)
        lines = Path(data).read_text(encoding="utf-8").splitlines()
        self._rows = list(_rows(tokenizer, [json.loads(line) for line in lines]))
        self._pad = tokenizer.pad_token_id
        self._optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)

    def rate(self, lr: float) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = lr

    def go(self, steps: int) -> None:
        self._model.train()
        for _ in range(steps):
            rows = self._rng.sample(self._rows, 4)
            wide = max(len(ids) for ids, _ in rows)
            ids, labels = torch.full((4, wide), self._pad), torch.full((4, wide), -100)
            mask = torch.zeros(4, wide, dtype=torch.long)
            for r, (row, start) in enumerate(rows):
                ids[r, : len(row)] = torch.tensor(row)
                labels[r, start : len(row)] = torch.tensor(row[start:])
                mask[r, : len(row)] = 1
            self._model(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
            torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
            self._optimizer.step()
            self._optimizer.zero_grad()


def _rows(tokenizer: Any, data: Sequence[Mapping[str, str]]) -> Iterator[tuple[list[int], int]]:
    """Ids, and where the completion begins."""
    for row in data:
        asked = [{"role": "user", "content": row["prompt"]}]
        said = [*asked, {"role": "assistant", "content": row["completion"]}]
        start = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=False)
        ids = tokenizer.apply_chat_template(said, return_dict=False)[:_LONGEST]
        if len(ids) > len(start):
            yield ids, len(start)


def _make_tiny(given: argparse.Namespace, folder: Path) -> None:
    """A policy, a reward model that was trained on its task, prompts and rows to train on."""
    made = tiny_run(folder, prompts=given.limit)
    tokenizer = make_tokenizer()
    if not given.quick:
        judge, right = train_reward_model(tokenizer, examples(0)[given.limit :], 0)
        judge.save_pretrained(made.reward_model)
        print(f"a reward model that ranks {right:.0%} of fresh pairs rightly", flush=True)
    given.policy = made.policy
    given.reward_model, given.prompts, given.training = made.reward_model, made.prompts, made.training


if __name__ == "__main__":
    main()
