"""The documentation site has a place for every page, and shows every public name and every command."""

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
MADE = {
    "index.md",
    "integrations.md",
    "api.md",
    "cli.md",
    "metrics.md",
    "settings.md",
}  # docs/site.py writes them


class Loader(yaml.SafeLoader):
    """mkdocs allows tags that name Python; the site uses none."""


def pages(nav):
    for entry in nav:
        if isinstance(entry, str):
            yield entry
        else:
            for below in entry.values():
                yield from pages(below)


def test_every_page_of_the_documentation_has_one_place_in_the_navigation():
    nav = list(pages(yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)["nav"]))
    written = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert sorted(nav) == sorted(written | MADE)
