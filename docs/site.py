"""For mkdocs: what the site shows that is written elsewhere: README, API, command line, hosts."""

import itertools
import posixpath
import re
from pathlib import Path

import griffe
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
ELSEWHERE = {"design": "design/README.md", "../integrations/README.md": "integrations.md"}
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
    pages |= {"api.md": _api(), "cli.md": _cli(), "metrics.md": _metrics(), "settings.md": _settings()}
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    """Links that lead out of docs/ are names of files in the repository."""
    here = posixpath.dirname(page.file.src_uri)

    def inside(match):
        label, target, _ = match.groups()
        path = posixpath.normpath(posixpath.join(here, target))
        if path in ELSEWHERE:
            return f"[{label}]({posixpath.relpath(ELSEWHERE[path], here or '.')})"
        outside = files.get_file_from_path(path) is None and (ROOT / "docs" / path).exists()
        return f"{label} (`{path.removeprefix('../')}`)" if outside else match.group()

    return LINK.sub(inside, markdown)


def on_post_page(output, page, config):
    """What the theme leaves out for those who use a keyboard or a screen reader."""
    output = output.replace('role="dialog">', 'role="dialog" aria-label="Search">')
    tables = itertools.count(1)
    region = '<div class="scroll" tabindex="0" role="region" aria-label="Table {}"><table class="plain">'
    output = re.sub("<table>", lambda _: region.format(next(tables)), output)
    return output.replace("</table>", "</table></div>") if region[:19] in output else output


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


def _metrics():
    """Every number that is logged, from the one table of them."""
    from rm_monitor.curve.metrics import FACTS, METRICS

    kinds = {"rate": "share of outcomes", "share": "mean share", "number": "mean"}
    parts = [
        "# Metrics\n\nLoggers see `rm_monitor/<name>`, and `_low`, `_high`, `_n` of it; a further judge "
        "stands before the name (`gold/win_prob`), a further reference set behind it (`win_prob/sft`), a tag "
        "after an @ (`win_prob@code`). *Told* is the change since the start that a person is told of.\n",
        "| name | is | of | shown as | told |\n|---|---|---|---|---|",
    ]
    for m in METRICS.values():
        unit = "%" if m.is_share else m.unit or "number"
        told = "" if m.worth is None else f"{100 * m.worth:.0f} {'%' if m.relative else 'points'}"
        parts.append(f"| `{m.name}` | {_text(m.label)} | {m.of} | {kinds[m.kind]}, {unit} | {told} |")
    parts += ["\n## Facts of an evaluation\n", "| name | is |\n|---|---|"]
    parts += [f"| `{m.name}` | {_text(m.label)} |" for m in FACTS.values()]
    return "\n".join(parts) + "\n"


def _settings():
    """Every setting of a YAML file, from the schema that checks it, and its meaning from the docstrings."""
    import inspect

    from rm_monitor import Alarm, RewardMonitor, Sampling, Schedule
    from rm_monitor.monitor.config import MonitorConfig

    said = _arguments(inspect.getdoc(RewardMonitor), "Args:")
    parts = [
        "# Settings\n\nThe arguments of `RewardMonitor`, by the same names in YAML. "
        "`rm-monitor check --schema FILE` prints the schema for an editor.\n",
        "| setting | default | is |\n|---|---|---|",
    ]
    for name, field in MonitorConfig.model_fields.items():
        default = "needed" if field.is_required() else f"`{field.default!r}`"
        default = "see below" if name in ("sampling", "alarm") else default
        parts.append(f"| `{name}` | {default} | {_text(said.get(name, ''))} |")
    for title, cls in (("sampling", Sampling), ("alarm", Alarm), ("every", Schedule)):
        meant = _arguments(inspect.getdoc(cls), "Attributes:")
        parts += [f"\n## `{title}`\n", "| setting | default | is |\n|---|---|---|"]
        for name, parameter in inspect.signature(cls).parameters.items():
            needed = parameter.default is inspect.Parameter.empty
            default = "needed" if needed else f"`{parameter.default!r}`"
            parts.append(f"| `{name}` | {default} | {_text(meant.get(name, ''))} |")
    return "\n".join(parts) + "\n"


def _arguments(doc, section):
    """Name -> text of a Google-style section."""
    body = doc.partition(f"{section}\n")[2]
    body = re.split(r"\n\n?(?=\S)", body)[0]
    return {
        name: " ".join(text.split())
        for name, text in re.findall(r"^    (\w+): (.*(?:\n     +.*)*)", body, re.MULTILINE)
    }


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
    """One line for a table; what stands between backticks stays as it is, but for the table's own bars."""
    parts = re.split(r"(`+[^`]*`+)", " ".join(text.split()))
    return "".join(
        part.replace("|", "\\|") if part.startswith("`") else re.sub(r"([<>|])", r"\\\1", part)
        for part in parts
    )
