"""What answers look like, apart from what a judge thinks of them."""

import numpy as np
import pytest

from rm_monitor import Completion, EvalPoint, Prompt, Verdict, messages, stats
from rm_monitor.curve import tables, text_metrics
from rm_monitor.types import Table, Update
from rm_monitor.verdict.drift import drift


def completion(text, **more):
    return Completion(prompt_id="p", text=text, **more)


def test_a_constant_answer_policy_is_all_duplicates():
    rows = [[completion("I cannot say.")] for _ in range(5)]
    assert (text_metrics.of_texts(rows)["duplicates"] == 1.0).all()
    rows[0] = [completion("Something else.")]
    np.testing.assert_array_equal(text_metrics.of_texts(rows)["duplicates"].ravel(), [0, 1, 1, 1, 1])


def test_the_same_answer_twice_to_one_prompt_is_no_duplicate():
    rows = [[completion("yes"), completion("yes")], [completion("no"), completion("maybe")]]
    assert (text_metrics.of_texts(rows)["duplicates"] == 0.0).all()


def test_repetition_counts_repeated_four_grams():
    values = text_metrics.of_texts(
        [[completion("a b c d a b c d")], [completion("one two")], [completion("")]]
    )
    np.testing.assert_allclose(
        values["repetition"].ravel(), [1 - 4 / 5, 0.0, 0.0]
    )  # abcd bcda cdab dabc abcd
    np.testing.assert_array_equal(values["empty"].ravel(), [0, 0, 1])


def test_unknown_length_and_finish_are_nan_not_zero():
    values = text_metrics.of_texts(
        [[completion("hi")], [completion("hi", n_tokens=3, finish_reason="length")]]
    )
    np.testing.assert_array_equal(values["length"].ravel(), [np.nan, 3.0])
    np.testing.assert_array_equal(values["truncated"].ravel(), [np.nan, 1.0])


def point(step, rows, **more):
    """An evaluation of these texts, one an entry, summarised as a run would."""
    completions = tuple((completion(text, n_tokens=len(text.split())),) for text in rows)
    values = text_metrics.of_texts(completions)
    values["win_prob"] = np.full((len(rows), 1), more.get("win_prob", 0.5))
    table = Table(prompt_ids=tuple(map(str, range(len(rows)))), completions=completions, values=values)
    prompts = [Prompt(id=str(i), messages=({"role": "user", "content": "?"},)) for i in range(len(rows))]
    return tables.point(step, table, prompts=prompts, metric="win_prob")


def sentences(seed, n, length=12):
    rng = np.random.default_rng(seed)
    return [" ".join(map(str, rng.integers(0, 5000, rng.poisson(length)))) for _ in range(n)]


@pytest.mark.parametrize("win_prob", [0.01, 0.5, 0.99])
def test_a_constant_answer_policy_is_called_out_whatever_its_win_rate(win_prob):
    curve = [point(0, ["I will not say."] * 64, win_prob=win_prob)]
    (found,) = drift(curve)
    assert found.name == "duplicates"
    assert "100.0% of answers are given to several prompts" in messages.note(found)
    assert drift([point(0, sentences(0, 64), win_prob=win_prob)]) == []
    assert drift(curve, usual=1.0) == [], "where one answer is right for all, it is no news"


def test_a_policy_that_collapses_to_one_answer_is_called_out():
    curve = [point(0, sentences(0, 64)), point(10, ["same again and again, always"] * 40 + sentences(1, 24))]
    assert {"duplicates", "shared"} <= {s.name for s in drift(curve)}


def test_a_tell_that_moves_says_by_how_much_with_an_interval_for_the_whole_run():
    curve = [point(0, sentences(0, 64)), point(10, sentences(1, 64, length=24))]
    found = {s.name: s for s in drift(curve, horizon=20)}
    pointwise = stats.paired_change(curve[0].values["length"], curve[1].values["length"])
    assert found["length"].change.low < pointwise.low
    assert found["length"].change.low > 0
    assert messages.note(found["length"]).startswith(
        "Answers are longer than at step 0: 11 tokens then, 25 now"
    )


def test_healthy_runs_hardly_ever_hear_of_tells():
    rng = np.random.default_rng(0)
    said = 0
    for _ in range(60):
        values = [{name: rng.normal(1, 1, 64) for name in ("length", "entropy")} for _ in range(10)]
        curve = [
            EvalPoint(step=i, values=v, metrics={k: stats.mean(x) for k, x in v.items()})
            for i, v in enumerate(values)
        ]
        said += any(drift(curve[: i + 1], horizon=10) for i in range(len(curve)))
    assert said <= 4  # 5 in 100, so 3 of 60


def test_a_change_too_small_to_matter_is_not_news_however_sure():
    texts = sentences(0, 512)
    assert drift([point(0, texts), point(1, [f"{t} more" for t in texts])]) == []


def test_phrases_that_other_answers_hold_too_are_shared():
    rows = [[completion("as an ai language model yes")], [completion("as an ai language model no")]]
    np.testing.assert_allclose(text_metrics.of_texts(rows)["shared"].ravel(), [2 / 3, 2 / 3])


def test_console_takes_one_line_for_all_tells_that_moved():
    curve = [point(0, sentences(0, 64)), point(10, ["same again and again, always"] * 64)]
    news = tuple(s for s in drift(curve) if not messages.is_grave(s))
    assert len(news) > 1
    update = Update(
        point=curve[-1], verdict=Verdict(), best=None, curve=tuple(curve), metric="win_prob", news=news
    )
    assert messages.news(update).count("\n") == 0
