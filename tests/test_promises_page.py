"""What the README promises, word by word: each has its row in docs/design/promises.md, and its tests."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "design" / "promises.md").read_text(encoding="utf-8")
SECURITY = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
README = (
    (ROOT / "README.md").read_text(encoding="utf-8").partition("## What it promises")[2].partition("\n## ")[0]
)
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| the README")]


def words(text):
    """A text as a list of its words: no marks of Markdown, no links, no punctuation, no numbers of a list."""
    plain = re.sub(r"\]\([^)]*\)", "]", text)
    return (
        re.sub(r"^\d+\.", "", plain.replace("\n", " ")).translate(str.maketrans("", "", '*[].,:;"')).split()
    )


def quoted(row):
    return re.findall(r'"([^"]+)"', row.split("|")[1])


@pytest.mark.parametrize("page", [PAGE, SECURITY], ids=["promises", "security"])
def test_every_test_that_is_named_is_there(page):
    named = re.findall(r"`(tests/[\w/.]+?)`", page)
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_command_that_is_named_is_there():
    for module in re.findall(r"`python -m ((?:tests|benchmarks)[\w.]+)", PAGE + SECURITY):
        at = ROOT / Path(*module.split("."))
        assert at.is_dir() or at.with_suffix(".py").is_file(), module


def test_every_promise_of_the_readme_has_a_row_in_its_own_words():
    said = [" ".join(words(q)) for row in ROWS for q in quoted(row)]
    lines = re.findall(r"^\d+\. (.*)", README, flags=re.MULTILINE)
    assert len(lines) == 6
    for line in lines:
        promise = " ".join(words(line))
        rest = promise
        for text in said:
            rest = rest.replace(text, " ")
        left = (
            rest.replace("Training is not disturbed", "").replace("statistics", "").replace("and", "").split()
        )
        assert left == [], f"no row for {left} of: {promise}"


def test_every_row_in_words_of_the_readme_quotes_it():
    promised = " ".join(words(README))
    for row in ROWS:
        for text in quoted(row):
            assert " ".join(words(text)) in promised, text


def test_every_row_names_a_test():
    assert len(ROWS) >= 10
    for row in ROWS:
        assert "`tests/" in row.split("|")[2], row
