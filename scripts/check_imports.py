"""Fail when modules import each other in a circle, or import in a function without a reason.

    python scripts/check_imports.py [FOLDER…]      folders that hold packages; default: . cli

Imports inside functions and under TYPE_CHECKING count: they hide a circle and do not remove it. In the
library an import stands inside a function only to keep start-up short or a package optional: a comment of the
module, `# Imports in functions: …`, or one on its line, says which.
"""

import ast
import sys
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGES = ("dataver", "dataver_cli")
LIBRARY = "dataver"
REASON = "\n# Imports in functions: "


def modules(folders: Iterable[Path], packages: Iterable[str]) -> dict[str, Path]:
    """Return the modules of packages by their full names."""
    found = {}
    for folder in folders:
        for path in (path for package in packages for path in (folder / package).rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path) -> Iterator[tuple[str, str]]:
    """Yield what a module's import statements name: a module, and a name in it or nothing."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from ((each.name, "") for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, each.name) for each in node.names)


def find_circle(known: dict[str, Path]) -> list[str]:
    """Return modules of which each imports the next and the last is the first; empty where there are none."""
    graph = {
        name: {inner if (inner := f"{module}.{part}") in known else module for module, part in imported(path)}
        for name, path in known.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [str(module) for module in reversed(error.args[1])]
    return []


def unexplained(path: Path) -> Iterator[int]:
    """Yield the lines of a module that import in a function without a reason."""
    source = path.read_text("utf-8")
    if REASON in source:
        return
    lines = source.splitlines()
    inner = {
        statement.lineno
        for function in ast.walk(ast.parse(source))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for statement in ast.walk(function)
        if isinstance(statement, ast.Import | ast.ImportFrom)
    }
    yield from (line for line in sorted(inner) if "  # " not in lines[line - 1])


if __name__ == "__main__":
    known = modules([Path(each) for each in sys.argv[1:] or (".", "cli")], PACKAGES)
    circle = find_circle(known)
    if circle:
        sys.exit(f"modules import each other: {' -> '.join(circle)}")
    bare = [
        f"{path}:{line}: an import in a function without a reason"
        for name, path in known.items()
        if name.partition(".")[0] == LIBRARY
        for line in unexplained(path)
    ]
    sys.exit("\n".join(bare) or 0)
