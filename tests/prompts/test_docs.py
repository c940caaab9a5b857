"""docs/inputs.md says what the reader's own table says."""

from pathlib import Path

from rm_monitor.prompts import layout_table

PAGE = (Path(__file__).parents[2] / "docs" / "inputs.md").read_text(encoding="utf-8")


def test_the_table_of_layouts_is_the_readers_own():
    assert layout_table.markdown() in PAGE, "write it anew: python -m rm_monitor.prompts.layout_table"
    assert layout_table.beside() in PAGE
