"""The oldest Python that is allowed has every name that we take from its standard library."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
# What came with 3.11, 3.12 and 3.13, in modules that one would take it from.
YOUNGER = {
    "typing": {
        *("NotRequired", "Required", "Self", "LiteralString", "Never", "assert_never", "assert_type"),
        *("Unpack", "TypeVarTuple", "dataclass_transform", "reveal_type", "override", "TypeAliasType"),
        *("ReadOnly", "TypeIs", "NoDefault", "get_overloads", "clear_overloads"),
    },
    "enum": {"StrEnum", "ReprEnum", "EnumCheck", "verify", "member", "nonmember", "FlagBoundary"},
    "datetime": {"UTC"},
    "contextlib": {"chdir"},
    "asyncio": {"TaskGroup", "timeout", "timeout_at", "Runner", "Barrier"},
    "hashlib": {"file_digest"},
    "itertools": {"batched"},
    "math": {"cbrt", "exp2", "sumprod", "fma"},
    "inspect": {"getmembers_static", "markcoroutinefunction"},
    "operator": {"call"},
    "statistics": {"kde"},
    "copy": {"replace"},
    "warnings": {"deprecated"},
    "builtins": {"ExceptionGroup", "BaseExceptionGroup"},
}
MODULES = {"tomllib", "wsgiref.types", "compression"}


def younger(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in YOUNGER:
            yield from (f"{node.module}.{a.name}" for a in node.names if a.name in YOUNGER[node.module])
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in YOUNGER.get(node.value.id, ()):
                yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            yield node.module
        elif isinstance(node, ast.Name) and node.id in YOUNGER["builtins"]:
            yield node.id
        elif isinstance(node, getattr(ast, "TryStar", ())):
            yield "except*"


def test_no_source_takes_what_python_3_10_lacks():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'requires-python = ">=3.10"' in project, "a newer floor: shorten the table above"
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for place in ("rm_monitor", "examples", "integrations")
        for path in (ROOT / place).rglob("*.py")
        for name in younger(ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 10)))
    }
    assert not found


def test_the_look_finds_what_it_looks_for():
    source = "import tomllib, enum\nfrom typing import Self\nclass A(enum.StrEnum): ...\nraise ExceptionGroup"
    assert set(younger(ast.parse(source))) == {"tomllib", "typing.Self", "enum.StrEnum", "ExceptionGroup"}
