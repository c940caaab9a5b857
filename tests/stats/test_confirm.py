"""The best is confirmed on prompts that no choice was made on."""

import numpy as np
import pytest
from scipy.special import expit

from rm_monitor.stats import best, confirm

QUALITY = np.array([0.0, 0.5, 0.8, 0.9, 0.85, 0.4])


class Checkpoints:
    """Answers held-out prompts, and remembers who was asked."""

    def __init__(self, quality=QUALITY, m=100, seed=1):
        self.quality, self.m, self.asked = quality, m, []
        self.rng = np.random.default_rng(seed)

    def __call__(self, rows, stage):
        self.asked.append((rows, stage))
        prompt = self.rng.normal(size=self.m)
        rewards = self.quality[list(rows), None] + prompt + self.rng.normal(size=(len(rows), self.m))
        return rewards, expit(rewards)


def run(quality=QUALITY, n=100, seed=0):
    rng = np.random.default_rng(seed)
    return quality[:, None] + rng.normal(size=n) + rng.normal(size=(len(quality), n))


def test_the_top_are_answered_afresh_in_stages_and_only_they():
    answer = Checkpoints()
    chosen = confirm(run(), answer, keep=(4, 2))
    top = set(np.argsort(-best(run()).pool)[:4].tolist())
    assert [stage for _, stage in answer.asked] == [0, 1]
    assert set(answer.asked[0][0]) == top
    assert set(answer.asked[1][0]) < top
    assert chosen.stages == tuple(rows for rows, _ in answer.asked)
    assert chosen.index in answer.asked[1][0]
    assert set(chosen.tied) <= set(answer.asked[1][0]) - {chosen.index}


def test_it_loses_less_than_the_live_choice():
    live = settled = 0.0
    for seed in range(25):
        scores = run(n=40, seed=seed)
        live += 0.9 - QUALITY[best(scores).index]
        settled += 0.9 - QUALITY[confirm(scores, Checkpoints(m=150, seed=seed)).index]
    assert settled < 0.6 * live


def test_its_value_does_not_read_high_although_it_was_chosen_as_the_highest():
    """Of eight equal checkpoints the highest reads several points too high."""
    equal = np.zeros(8)
    rng = np.random.default_rng(5)
    truth = expit(rng.normal(size=200_000) * np.sqrt(2)).mean()
    high, honest = [], []
    for seed in range(40):
        scores = run(equal, n=40, seed=seed)
        high.append(expit(scores).mean(axis=1)[best(scores).index] - truth)
        honest.append(confirm(scores, Checkpoints(equal, m=60, seed=seed), keep=(4, 3)).value.value - truth)
    assert np.mean(high) > 0.015
    assert abs(np.mean(honest)) < 2.5 * np.std(honest) / np.sqrt(40)


def test_only_eligible_rows_are_asked():
    eligible = np.array([True, True, False, False, True, True])
    answer = Checkpoints()
    assert confirm(run(), answer, eligible=eligible, keep=(3, 2)).index in (0, 1, 4, 5)
    assert not {2, 3} & {row for rows, _ in answer.asked for row in rows}


def test_fewer_checkpoints_than_stages_ask_for_are_all_kept():
    chosen = confirm(run(QUALITY[:2]), Checkpoints(QUALITY[:2]))
    assert chosen.stages == ((0, 1), (0, 1))
    one = confirm(run(QUALITY[:1]), Checkpoints(QUALITY[:1]))
    assert (one.index, one.p_best, one.tied, one.value.n) == (0, 1.0, (), 100)


def test_outcomes_and_mean_rewards_are_confirmed_too():
    wins = (run() > 0).astype(float)

    def answer(rows, stage):
        rewards, _ = Checkpoints(seed=stage)(rows, stage)
        return (rewards > 0).astype(float), 10 * rewards

    chosen = confirm(wins, answer, pool=False)
    assert chosen.value.high > 1  # the headline is a reward, not a share


def test_the_same_seed_gives_the_same_answer():
    assert confirm(run(), Checkpoints(), seed=3) == confirm(run(), Checkpoints(), seed=3)


@pytest.mark.parametrize("keep", [(), (3, 5), (2, 0)])
def test_stages_that_do_not_fall_are_refused(keep):
    with pytest.raises(ValueError, match="`keep`"):
        confirm(run(), Checkpoints(), keep=keep)


def test_answers_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"shape \(5, m\) at stage 0, got \(2, 3\)"):
        confirm(run(), lambda rows, stage: (np.zeros((2, 3)), np.zeros((2, 3))))
