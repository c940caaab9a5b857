"""How far the answering is, as a person is told: evenly, never backwards, and in the end all of it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rm_monitor.evaluation.progress import SlowBar
from rm_monitor.generators.engine.pace import LEFT, STEPS, Pace
from rm_monitor.generators.engine.rows import Table
from rm_monitor.generators.engine.schedule import Job


def told(lengths, expected, *, longest):
    """What is told while rows of these lengths are answered side by side, and the share said by then."""
    jobs = [Job(ids=np.array([1]), prompt=i, key=(0, i), expected=float(e)) for i, e in enumerate(expected)]
    table, heard, now = Table(jobs, longest), [], [0.0]
    pace = Pace(table, lambda done, total: heard.append((done, total, now[0])))
    lengths = np.array(lengths)
    for step in range(1, int(lengths.max()) + 1):
        table.count[:] = np.minimum(lengths, step)
        now[0] = table.count.sum() / lengths.sum()
        pace.tell(int((lengths <= step).sum()), np.flatnonzero(lengths > step).tolist())
    return heard


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.booleans())
def test_it_never_goes_back_and_ends_with_all_rows(lengths, known):
    heard = told(lengths, lengths if known else [np.nan] * len(lengths), longest=60)
    done = [d for d, _, _ in heard]
    assert done == sorted(set(done))
    assert heard[-1][:2] == (len(lengths), len(lengths))


@given(st.integers(STEPS * 4, 300), st.integers(16, 200))
def test_rows_that_end_together_do_not_jump_from_nothing_to_all(length, rows):
    heard = told([length] * rows, [np.nan] * rows, longest=length)
    done = [0, *(d for d, _, _ in heard)]
    assert max(np.diff(done)) <= rows * max(STEPS / length + 0.01, LEFT + 2 * STEPS / length) + 1
    assert all(abs(d / n - share) <= LEFT + STEPS / length + 1 / rows for d, n, share in heard)


def test_nobody_looks_at_a_bar_in_a_log_file(capsys):
    clock = iter([0.0, 10.0, 20.0])
    bar = SlowBar("answers", clock=lambda: next(clock), watched=False)
    bar(1, 8)
    bar.close()
    assert capsys.readouterr() == ("", "")
