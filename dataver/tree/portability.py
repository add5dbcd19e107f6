"""New names in a tree that some file systems cannot store beside their neighbours.

The idea: only folders that gained a name can have a new problem, so only those are listed, however large the
rest is.
"""

from collections.abc import Iterable

from dataver.formats.entry import portability_problems
from dataver.tree.read import Tree

__all__ = ["new_name_problems"]


def new_name_problems(tree: Tree, before: Tree, added: Iterable[str]) -> list[tuple[str, str]]:
    """Return `(path, reason)` for names that the `added` paths introduced in `tree`, relative to `before`.

    An old name is reported only if a new one differs from it only in case or Unicode form.
    """
    gained: dict[str, set[str]] = {}
    for path in added:
        _note(path, before, gained)
    problems: set[tuple[str, str]] = set()
    for folder, names in gained.items():
        prefix = f"{folder}/" if folder else ""
        siblings = sorted(prefix + each.name for each in tree.list(folder))
        for path, why in portability_problems(siblings):
            if path.removeprefix(prefix) in names or ("differs" in why and path in siblings):
                problems.add((path, why))
    return sorted(problems)


def _note(path: str, before: Tree, gained: dict[str, set[str]]) -> None:
    """Record the new name of a path in its folder, and of each new folder above."""
    while True:
        folder, _, name = path.rpartition("/")
        names = gained.setdefault(folder, set())
        if name in names:
            return
        names.add(name)
        if not folder or next(before.paths(f"{folder}/"), None) is not None:
            return
        path = folder
