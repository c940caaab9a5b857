"""`make faults` runs every campaign, and says when a figure falls short."""

import sys
import types

import pytest

from tests.faults import __main__ as frame


def campaign_of(monkeypatch, *rows):
    module = types.ModuleType("tests.faults.made_up")
    module.campaign = lambda: iter(rows)
    monkeypatch.setitem(sys.modules, "tests.faults.made_up", module)
    monkeypatch.setattr(frame, "names", lambda: ["made_up"])


@pytest.mark.parametrize(
    ("reach", "got", "fine"),
    [
        ("0 lost", "0 lost", True),
        ("0 lost", "0 lost, of 500", True),
        ("1", "12", False),
        ("0 lost", "3 lost", False),
        ("30 of 30", "29 of 30", False),
    ],
)
def test_a_figure_is_reached_when_what_we_got_begins_with_it(reach, got, fine, monkeypatch, capsys):
    campaign_of(monkeypatch, ("a figure", reach, got))
    assert frame.main([]) == (0 if fine else 1)
    assert f"| a figure | {reach} | {got} | {'ok' if fine else 'SHORT'} |" in capsys.readouterr().out


def test_a_campaign_that_breaks_falls_short(monkeypatch, capsys):
    campaign_of(monkeypatch)
    monkeypatch.setattr(sys.modules["tests.faults.made_up"], "campaign", lambda: 1 / 0)
    assert frame.main(["made_up"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().out


def test_every_campaign_that_is_listed_can_be_imported():
    assert frame.names()
    assert frame.main(["no such campaign"]) == 2
