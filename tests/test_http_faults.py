"""Whatever a reward model's server does, the curve has a right point or a gap; the key is seen nowhere."""

import re

import pytest

from tests.http_faults import FAULTS, SECRET, run


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name.replace(" ", "-"))
def test_a_fault_makes_a_gap_or_is_waited_out(fault, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", SECRET)
    outcome = run(fault, tmp_path)
    assert (outcome.status, outcome.metrics > 0) == (fault.status, fault.status == "ok")
    assert re.search(fault.says, outcome.reason)
    assert outcome.heard_elsewhere == 0
    assert outcome.megabytes < 32  # of 1024: what fits in the sockets' buffers
    assert outcome.after in ("", "ok")  # the next evaluation is fine
    assert SECRET not in outcome.said
