"""What is mis-set is said in one line that names argument, rule and value; docs/errors.md holds it."""

import pytest

from tests.wrong.__main__ import PAGE, row
from tests.wrong.inputs import EVERY
from tests.wrong.said import said

ALL = [one for inputs in EVERY.values() for one in inputs]
MOST = 700  # characters of a message


@pytest.mark.parametrize("one", ALL, ids=[one.code for one in ALL])
def test_a_wrong_input_is_said_in_one_line_without_a_traceback(one, tmp_path):
    message, bad = said(one.code, tmp_path)
    assert not bad
    assert 0 < len(message) < MOST
    assert "\n" not in message
    for name in one.names:
        assert name in message
    told = row(one.code, message.replace(str(tmp_path), "…"))
    assert told in PAGE.read_text(encoding="utf-8").splitlines(), "python -m tests.wrong writes the page"


def test_there_are_fifty_of_them():
    assert len({one.code for one in ALL}) == len(ALL) >= 50
