"""Two answers side by side: nothing is lost, nothing is too wide, and what is marked is what changed."""

import re

from hypothesis import given
from hypothesis import strategies as st

from rm_monitor.runs.beside import Pair, _cells, beside, changed

WORDS = st.lists(st.sampled_from(["one", "two", "three", "漢字", "می‌خواهم"]), max_size=12).map(" ".join)


def without(text, start, end):
    """What stands outside the marks, and all of it with the marks taken away."""
    mark = re.escape(start) + "(.*?)" + re.escape(end)
    return re.sub(mark, "", text, flags=re.S).split(), re.sub(mark, r"\1", text, flags=re.S)


@given(WORDS.filter(bool), WORDS.filter(bool))
def test_without_its_marks_each_side_is_whole_and_what_is_not_marked_is_common(a, b):
    left, right = changed(a, b)
    rest_a, whole_a = without(left, "[-", "-]")
    rest_b, whole_b = without(right, "{+", "+}")
    assert (whole_a, whole_b) == (a, b)
    if (left, right) != (a, b):
        assert rest_a == rest_b


@given(WORDS, WORDS, st.integers(40, 120))
def test_no_line_is_wider_than_asked_and_every_word_of_both_is_there(a, b, width):
    pair = Pair(label="row 1", prompt="漢字 " * 30, answers=(a, b), values=("1%", "2%"))
    text = beside(pair, width=width)
    assert all(_cells(line) <= width for line in text.splitlines())
    for word in set(f"{a} {b}".split()):
        assert word in text


def test_what_a_model_wrote_moves_no_cursor():
    pair = Pair(label="row 1", prompt="p", answers=("\x1b[2Jgone", ""), values=("", ""))
    assert "\x1b" not in beside(pair)
    assert "(empty answer)" in beside(pair)
