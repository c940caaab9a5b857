"""Datasets and collators with a state of their own."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from transformers import default_data_collator

from tests.faults.animals.base import VOCABULARY, animal, rows


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
