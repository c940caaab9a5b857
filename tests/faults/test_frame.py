"""`make faults` runs every campaign, and says when a figure falls short."""

import sys
import types

import pytest

from tests.faults import __main__ as frame


def campaign_of(tmp_path, monkeypatch, *rows):
    module = types.ModuleType("tests.faults.made_up")
    module.campaign = lambda: iter(rows)
    monkeypatch.setitem(sys.modules, "tests.faults.made_up", module)
    monkeypatch.setattr(frame, "names", lambda: ["made_up"])
    monkeypatch.setattr(frame, "KEPT", tmp_path / "rows.jsonl")


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
def test_a_figure_is_reached_when_what_we_got_begins_with_it(reach, got, fine, tmp_path, monkeypatch, capsys):
    campaign_of(tmp_path, monkeypatch, ("a figure", reach, got))
    assert frame.main([]) == (0 if fine else 1)
    assert f"| a figure | {reach} | {got} | {'ok' if fine else 'SHORT'} |" in capsys.readouterr().out


def test_a_campaign_that_breaks_falls_short(tmp_path, monkeypatch, capsys):
    campaign_of(tmp_path, monkeypatch)
    monkeypatch.setattr(sys.modules["tests.faults.made_up"], "campaign", lambda: 1 / 0)
    assert frame.main(["made_up"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().out


def test_the_table_has_the_last_row_of_every_figure_however_many_parts_it_was_made_in(
    tmp_path, monkeypatch, capsys
):
    for rows in ([("first", "0", "1"), ("second", "5", "5")], [("first", "0", "0 of 9")]):
        campaign_of(tmp_path, monkeypatch, *rows)
        frame.main(["made_up"])
    capsys.readouterr()
    assert frame.main(["--table"]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| first | 0 | 0 of 9 | ok |",
        "| second | 5 | 5 | ok |",
    ]


def test_every_campaign_that_is_listed_can_be_imported():
    assert frame.names()
    assert frame.main(["no such campaign"]) == 2
