"""A user's own function as the judge: called as it was written, or refused before training."""

import functools
import pickle

import numpy as np
import pytest
import torch

from rm_monitor import load_scorer
from rm_monitor.types import Completion, Prompt

PROMPTS = [Prompt(id=str(i), messages=({"role": "user", "content": f"question {i}"},)) for i in range(3)]
ANSWERS = [Completion(prompt_id=str(i), text="a" * (i + 1)) for i in range(3)]


def _scores(function):
    return load_scorer(function).score(PROMPTS, ANSWERS).reward.tolist()


@pytest.mark.parametrize(
    "function",
    [
        lambda prompts, completions: [len(c) for c in completions],
        lambda a, b: [len(c) for c in b],
        lambda completions, prompts: [len(c) for c in completions],
        lambda completions, **kwargs: [len(c) for c in completions],
        lambda completions, prompts, **kwargs: [len(c) for c in completions],
        lambda completions: [len(c) for c in completions],
        lambda *, completions, prompts: [len(c) for c in completions],
        lambda prompts, completions, answer=None: [len(c) for c in completions],
        lambda prompts, completions, rows: [int(row.id) + 1 for row in rows],
        functools.partial(lambda scale, prompts, completions: [scale * len(c) for c in completions], 1),
        functools.partial(lambda prompts, completions, scale: [scale * len(c) for c in completions], scale=1),
    ],
    ids=range(11),
)
def test_a_function_is_given_its_lists_by_name_as_trl_gives_them_or_in_order(function):
    assert _scores(function) == [1, 2, 3]


@pytest.mark.parametrize(
    "returned",
    [
        torch.tensor([1.0, 2.0, 3.0], dtype=torch.bfloat16),
        torch.tensor([1.0, 2.0, 3.0], requires_grad=True),
        torch.tensor([1.0, 2.0, 3.0]).to(torch.float16),
        [torch.tensor(1.0, dtype=torch.bfloat16), torch.tensor(2.0, requires_grad=True), 3.0],
        (np.float32(1), np.int64(2), 3.0),
        np.array([1, 2, 3]),
    ],
    ids=range(6),
)
def test_numbers_come_in_any_dtype_on_any_device_and_with_a_gradient(returned):
    assert _scores(lambda prompts, completions: returned) == [1, 2, 3]


def test_none_is_no_score():
    assert np.isnan(_scores(lambda prompts, completions: [None, 1.0, None])).tolist() == [True, False, True]


async def _waits(prompts, completions):
    return [0.0] * len(completions)


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (lambda text: 0.0, "two lists of texts"),
        (lambda prompts, completions, completion_ids, **kwargs: [0.0], "completion_ids"),
        (lambda completions, answer: [0.0], "answer"),
        (lambda: 0.0, "two lists of texts"),
        (lambda prompts, texts, labels: [0.0], "labels"),
        (_waits, "asyncio.run"),
    ],
    ids=range(6),
)
def test_a_function_that_cannot_be_called_so_is_refused_before_training(function, named):
    with pytest.raises(TypeError, match=named):
        load_scorer(function)


def by_length(prompts, completions):
    return [len(c) for c in completions]


def test_a_function_of_a_module_goes_to_another_process():
    assert pickle.loads(pickle.dumps(load_scorer(by_length))).score(PROMPTS, ANSWERS).reward.tolist() == [
        1,
        2,
        3,
    ]


def test_what_is_no_reward_model_is_told_what_it_lacks():
    class Half:
        fingerprint, score = "half", staticmethod(by_length)

    with pytest.raises(TypeError, match=r"got Half without \['scale'\]"):
        load_scorer(Half())
    with pytest.raises(TypeError, match=r"several by name, as \{'main'"):
        load_scorer([by_length, by_length])
