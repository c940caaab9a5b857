"""Looks add up to a state that does not flicker."""

from rm_monitor.stats import Look, Standing

ALARM = Look(flagged=True, p=0.01)
NOTHING = Look(p=0.7)
GAP = Look()


def walk(*looks):
    """Standings after (alarm, warning, is_best) triples at steps 0, 100, ..."""
    now, trace = Standing(), []
    for t, (alarm, warning, is_best, *confirmed) in enumerate(looks):
        now = now.then(100 * t, alarm, warning, is_best=is_best, confirmed=bool(confirmed))
        trace.append(now)
    return trace


FINE, NEW_BEST = (NOTHING, NOTHING, False), (NOTHING, NOTHING, True)
WARNS, ALARMS = (NOTHING, ALARM, False), (ALARM, ALARM, False)


def test_an_alarm_lasts_while_the_fall_still_warns():
    trace = walk(NEW_BEST, ALARMS, WARNS, WARNS, FINE)
    assert [s.degraded for s in trace] == [False, True, True, True, False]
    assert [s.since for s in trace] == [None, 100, 100, 100, None]
    assert trace[-1].recovered
    assert trace[-1].ended == 400


def test_a_new_best_ends_an_alarm_although_it_warns():
    assert walk(ALARMS, (NOTHING, ALARM, True))[-1].recovered


def test_a_warning_is_not_an_alarm_and_knows_since_when():
    trace = walk(NEW_BEST, WARNS, WARNS, FINE)
    assert [(s.warned, s.degraded, s.since) for s in trace[1:]] == [
        (True, False, 100),
        (True, False, 100),
        (False, False, None),
    ]


def test_a_confirmed_warning_is_an_alarm():
    confirmed = walk(NEW_BEST, (*WARNS, True))[-1]
    assert (confirmed.degraded, confirmed.warned, confirmed.consecutive) == (True, False, 1)


def test_alarms_in_a_row_are_counted_and_a_gap_does_not_break_the_row():
    trace = walk(ALARMS, (GAP, GAP, False), ALARMS, WARNS, ALARMS)
    assert [s.consecutive for s in trace] == [1, 1, 2, 0, 1]


def test_a_gap_changes_no_state():
    before, after = walk(NEW_BEST, ALARMS, (GAP, GAP, False))[1:]
    assert (after.degraded, after.since, after.ended) == (before.degraded, before.since, before.ended)


def test_recovered_lasts_until_the_next_best():
    trace = walk(ALARMS, FINE, FINE, NEW_BEST, FINE)
    assert [s.recovered for s in trace] == [False, True, True, False, False]
