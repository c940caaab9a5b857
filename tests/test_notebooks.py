"""The notebooks run as they stand, in a kernel: a card an evaluation changes, and a new one for a new run."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """Both, in one folder: the second reads the run that the first wrote."""
    folder, found = tmp_path_factory.mktemp("notebooks"), {}
    for name in ("first_run", "choose_a_checkpoint"):
        notebook = nbformat.read(EXAMPLES / f"{name}.ipynb", 4)
        NotebookClient(
            notebook, timeout=None, kernel_name="python3", resources={"metadata": {"path": folder}}
        ).execute()
        found[name] = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return found


def outputs(cell, kind):
    return [o.data["text/html"] for o in cell.outputs if o.output_type == kind and "text/html" in o.data]


def printed(cell):
    return "".join(o.text for o in cell.outputs if o.output_type == "stream" and o.name == "stdout")


def test_each_train_has_one_card_in_its_own_cell_that_ends_at_the_last_step(executed):
    first, second = (cell for cell in executed["first_run"] if ".train()" in cell.source)
    for cell, last in ((first, "Step 40"), (second, "Step 10")):
        (card,) = outputs(cell, "display_data")
        assert "<svg" in card
        assert last in card or last.lower() in card


def test_the_card_is_not_repeated_line_by_line(executed):
    train = next(cell for cell in executed["first_run"] if ".train()" in cell.source)
    assert "rm_monitor step" not in printed(train)
    assert "5 evaluations, 0 failed" in printed(train)


@pytest.mark.parametrize("source", ["monitor.verdict", "monitor.best", "monitor.curve", 'metrics["length"]'])
def test_values_that_end_a_cell_show_themselves_as_html_and_as_text(executed, source):
    cell = next(cell for cell in executed["first_run"] if cell.source.endswith(source))
    (html,) = outputs(cell, "execute_result")
    (text,) = (o.data["text/plain"] for o in cell.outputs if "data" in o)
    assert "object at" not in html + text
    assert len(text) < 2_000


def test_a_run_is_read_chosen_from_and_its_answers_are_shown(executed):
    cells = executed["choose_a_checkpoint"]
    assert "<svg" in outputs(cells[0], "execute_result")[0]
    shown = "".join(printed(cell) for cell in cells)
    assert "win rate" in shown
    assert " | B: " in shown
