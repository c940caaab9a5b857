"""For mkdocs: what the site shows that is written elsewhere: README, API, command line, hosts."""

import posixpath
import re
from pathlib import Path

import griffe
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\[([^\]]*)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")


class Examples(griffe.Extension):
    """Griffe knows the section under its plural."""

    def on_object(self, *, obj, **kwargs):
        """Called with each object that was read."""
        if obj.docstring is not None:
            obj.docstring.value = obj.docstring.value.replace("Example:\n", "Examples:\n")


def on_files(files, config):
    """Add the pages that have their source outside of docs/."""
    pages = {"index.md": _moved("README.md"), "integrations.md": _moved("integrations/README.md")}
    pages |= {"api.md": _api(), "cli.md": _cli()}
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    """Links that lead out of docs/ are names of files in the repository."""
    here = posixpath.dirname(page.file.src_uri)

    def inside(match):
        label, target, _ = match.groups()
        path = posixpath.normpath(posixpath.join(here, target))
        if path == "design":
            return f"[{label}](design/README.md)"
        outside = files.get_file_from_path(path) is None and (ROOT / "docs" / path).exists()
        return f"{label} (`{path.removeprefix('../')}`)" if outside else match.group()

    return LINK.sub(inside, markdown)


def _moved(path):
    """A page of the repository as if it lay in docs/."""
    here = posixpath.dirname(path)

    def moved(match):
        label, target, anchor = match.groups()
        target = posixpath.normpath(posixpath.join(here, target))
        inside = target.startswith("docs/")
        return f"[{label}]({target.removeprefix('docs/') if inside else '../' + target}{anchor or ''})"

    return LINK.sub(moved, (ROOT / path).read_text(encoding="utf-8"))


def _api():
    """Every public name, from its docstring."""
    import rm_monitor

    parts = (f"::: rm_monitor.{name}" for name in rm_monitor.__all__)
    return "# Python\n\n" + "\n\n".join(parts) + "\n"


def _cli():
    """Every command, from its help."""
    from typer.main import get_command

    from rm_monitor.cli import app
    from rm_monitor.cli.helped import EXAMPLES

    parts = ["# Command line\n"]
    for name, command in _commands(get_command(app)):
        parts.append(f"## rm-monitor {name}\n\n{_text(command.help or '')}\n\n```\n{EXAMPLES[name]}\n```\n")
        rows = [
            f"| {' '.join(f'`{option}`' for option in parameter.opts)} | {_text(parameter.help or '')} |"
            for parameter in command.params
            if parameter.name != "help"
        ]
        if rows:
            parts.append("\n".join(["| takes | |", "|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def _commands(command, name=""):
    if name:
        yield name, command
    for below, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, f"{name} {below}".strip())


def _text(text):
    return re.sub(r"([<>|])", r"\\\1", " ".join(text.split()))
