"""One pair of rewards is a tie everywhere, or nowhere."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm_monitor import stats
from rm_monitor.doctor.pairs import Pair, outcomes
from rm_monitor.evaluation.scorer_set import ScorerSet
from rm_monitor.runs.comparison import compare_points
from rm_monitor.scorers import Ensemble
from rm_monitor.types import Completion, EvalPoint, Prompt, ReferenceSet

PROMPT = Prompt(id="1", messages=({"role": "user", "content": "?"},))


class Reads:
    """The number that an answer says is its reward."""

    scale = fingerprint = "logit"

    def __init__(self, noise):
        self.noise = noise

    def score(self, prompts, completions):
        return np.array([float(c.text) for c in completions])


def point(step, rewards, noise):
    rewards = np.array(rewards)
    return EvalPoint(
        step=step,
        values={"reward": rewards},
        prompt_ids=tuple(map(str, range(rewards.size))),
        measured={"noise": noise} if noise else {},
    )


def everywhere(a, b, noise, beside):
    """Who wins, ``a`` or ``b``, as each part of the package tells it: 1, 0.5 or 0."""
    rows = [(a, b), *((x, x) for x in beside)]
    prompts = [Prompt(id=str(i), messages=PROMPT.messages) for i in range(len(rows))]
    first, second = (
        [Completion(prompt_id=p.id, text=repr(row[side])) for p, row in zip(prompts, rows, strict=True)]
        for side in (0, 1)
    )
    references = [ReferenceSet(name="fixed", completions=tuple(second))]
    yield ScorerSet({"it": Reads(noise)}, prompts).values([[c] for c in first], references)["win_rate"][0, 0]
    both = {"x": Reads(noise), "y": Reads(noise)}
    yield Ensemble(both, on="outcome").prefer(prompts, first, second).probability[0]
    yield np.sign(Ensemble(both).prefer(prompts, first, second).probability[0] - 0.5) / 2 + 0.5
    pairs = [Pair(p, x.text, y.text) for p, x, y in zip(prompts, first, second, strict=True)]
    yield outcomes(Reads(noise), pairs)[0]
    first, second = zip(*rows, strict=True)
    told = compare_points(point(0, second, noise), point(1, first, noise), names=("b", "a"))
    assert told.same == len(beside) + (told.better == told.worse == 0)
    yield 0.5 + (told.better - told.worse) / 2
    if not noise:  # the pool compares a run's answers softly: only float noise must not draw a curve
        pool = stats.pool_scores(np.array([second, first]))
        yield 0.5 + np.sign(pool[1, 0] - pool[0, 0]) / 2


@pytest.mark.parametrize(
    ("a", "b", "noise", "won"),
    [
        (10.00005, 10.0, 0.0, 0.5),
        (10.0002, 10.0, 0.0, 1.0),
        (-3.0, -3.00002, 0.0, 0.5),
        (10.1, 10.0, 0.5, 0.5),
        (10.0, 10.6, 0.5, 0.0),
    ],
)
@pytest.mark.parametrize("beside", [(), (0.001, 0.001), (1e7,)])
def test_every_part_of_the_package_names_the_same_winner(a, b, noise, won, beside):
    assert set(everywhere(a, b, noise, beside)) == {won}


sizes = st.floats(-30, 30).map(lambda x: round(x, 6))


@given(sizes, sizes, st.floats(0, 3), st.lists(sizes, max_size=3))
def test_no_two_parts_of_the_package_disagree(a, gap, noise, beside):
    for b in (gap, a + gap * 1e-6):
        assert len(set(everywhere(a, b, noise, beside))) == 1
