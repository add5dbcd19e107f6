"""Fail when modules import each other in a circle.

    python scripts/import_circles.py [FOLDER…]      folders that hold packages; default: . cli

Imports inside functions and under TYPE_CHECKING count: they hide a circle and do not remove it.
"""

import ast
import sys
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGES = ("dataver", "dataver_cli")


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


def find_circle(folders: Iterable[Path], packages: Iterable[str] = PACKAGES) -> list[str]:
    """Return modules of which each imports the next and the last is the first; empty where there are none."""
    known = modules(folders, packages)
    graph = {
        name: {inner if (inner := f"{module}.{part}") in known else module for module, part in imported(path)}
        for name, path in known.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [str(module) for module in reversed(error.args[1])]
    return []


if __name__ == "__main__":
    circle = find_circle([Path(each) for each in sys.argv[1:] or (".", "cli")])
    sys.exit(f"modules import each other: {' -> '.join(circle)}" if circle else 0)
