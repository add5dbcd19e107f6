"""Public differences between two trees.

The idea: a difference of at most 200,000 paths is kept. A larger one is not: the trees are walked again each
time it is iterated, so memory does not depend on its size.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING, Final

from dataver.api.renames import Renames
from dataver.errors import NotFound
from dataver.formats.entry import Entry
from dataver.formats.record import ParentRef
from dataver.tree import Change, Selection, Tree, diff, find_renames

if TYPE_CHECKING:
    from dataver.repository import RepositoryCore
    from dataver.tree.checked_descent import Load
    from dataver.tree.selection import Given

__all__ = ["Diff", "compare", "parent_tree"]

_KEPT: Final = 200_000  # changes, some 500 bytes each


class Diff:
    """Difference between two trees.

    Iterating yields a `Change` for each path that differs, in path order: `old` is None if the path is new,
    `new` is None if it no longer exists. Of a renamed file, `old` and `new` have different paths; it comes at
    its old path, and not at its new one. However large the difference is, this takes little memory. The lists
    below are made when they are asked for, and hold all of their entries.

    Attributes:
        added: new paths.
        removed: paths that no longer exist.
        modified: paths whose content, kind or link target differs.
        renamed: `(old, new)` entries of equal content that changed their path; in neither list above.
    """

    def __init__(self, walk: Callable[[], Iterator[Change]]) -> None:
        self._walk = walk
        self._count()

    def __repr__(self) -> str:
        found = self._known_totals()
        return f"Diff({', '.join(f'{kind}={found[kind]}' for kind in _KINDS if kind in found)})"

    def _repr_html_(self) -> str:
        from dataver.api.notebook import difference  # only in notebooks

        return difference(self._known_totals(), self if self._kept else self._walk())

    def __bool__(self) -> bool:
        return bool(self._files["added"] or self._files["removed"] or self._files["modified"])

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Diff) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as of a list

    @classmethod
    def of(cls, changes: Iterable[Change]) -> "Diff":
        """Return the difference with the changes of a tree diff."""
        everything = list(changes)
        return cls(partial(iter, everything))

    def __iter__(self) -> Iterator[Change]:
        olds, news = self._moves()
        old, new = next(olds, None), next(news, None)
        for change in self._walk():
            if old is not None and change.new is None and change.path == old[0]:
                assert change.old is not None
                moved = old[1] if old[1].extents else old[1]._replace(extents=change.old.extents)
                yield change._replace(new=moved)
                old = next(olds, None)
            elif change.old is None and change.path == new:
                new = next(news, None)
            else:
                yield change

    @cached_property
    def added(self) -> list[Entry]:
        """New paths."""
        return [each.new for each in self if each.new is not None and each.old is None]

    @cached_property
    def removed(self) -> list[Entry]:
        """Paths that no longer exist."""
        return [each.old for each in self if each.old is not None and each.new is None]

    @cached_property
    def modified(self) -> list[Change]:
        """Paths whose content, kind or link target differs."""
        return [each for each in self if each.old and each.new and each.old.path == each.new.path]

    @cached_property
    def renamed(self) -> list[tuple[Entry, Entry]]:
        """`(old, new)` entries of equal content that changed their path."""
        pairs = ((each.old, each.new) for each in self)
        return [(old, new) for old, new in pairs if old and new and old.path != new.path]

    def summary(self) -> dict[str, int]:
        """Return the numbers of paths, by the names of the attributes, and `size_added` and `size_removed`.

        The sizes are bytes of whole files. A modified file counts with its new size as added and with its old
        size as removed.
        """
        renamed, size = self._renamed_totals()
        files = self._files
        return {
            "added": files["added"] - renamed,
            "removed": files["removed"] - renamed,
            "modified": files["modified"],
            "renamed": renamed,
            "size_added": files["size_added"] - size,
            "size_removed": files["size_removed"] - size,
        }

    @cached_property
    def _renames(self) -> list[tuple[Entry, Entry]] | Renames:
        """The renamed files; those of a large difference are not in memory."""
        if not (self._files["added"] and self._files["removed"]):
            return []
        return find_renames(self._walk()) if self._kept else Renames(self._walk)

    def _renamed_totals(self) -> tuple[int, int]:
        found = self._renames
        if isinstance(found, Renames):
            return found.count, found.size
        return len(found), sum(new.size for _, new in found)

    def _known_totals(self) -> dict[str, int]:
        """Return `summary`, or of a large difference its numbers before renames are found."""
        quick = (
            self._kept or "_renames" in vars(self) or not (self._files["added"] and self._files["removed"])
        )
        return self.summary() if quick else self._files

    def _moves(self) -> tuple[Iterator[tuple[str, Entry]], Iterator[str]]:
        """Return old paths with the new entries, and new paths, each in order."""
        found = self._renames
        if isinstance(found, Renames):
            return found.by_old(), found.by_new()
        return iter(sorted((old.path, new) for old, new in found)), iter(sorted(new.path for _, new in found))

    def _count(self) -> None:
        """Count the changes, and keep them if they are few."""
        self._files = dict.fromkeys(("added", "removed", "modified", "size_added", "size_removed"), 0)
        changes = self._walk()
        kept = list(islice(changes, _KEPT))
        self._add(kept)
        further = next(changes, None)
        self._kept = further is None
        if further is None:
            self._walk = partial(iter, kept)
            return
        del kept
        self._add([further])
        self._add(changes)

    def _add(self, changes: Iterable[Change]) -> None:
        added = removed = modified = grown = shrunk = 0
        for _, old, new in changes:
            if old is None:
                added += 1
            elif new is None:
                removed += 1
            else:
                modified += 1
            grown += new.size if new is not None else 0
            shrunk += old.size if old is not None else 0
        counts = (added, removed, modified, grown, shrunk)
        for name, count in zip(self._files, counts, strict=True):
            self._files[name] += count


_KINDS: Final = ("added", "removed", "modified", "renamed")


def compare(old: Tree | None, new: Tree, load: "Load", include: "Given | None", exclude: "Given") -> Diff:
    """Return the changes of matching paths from one tree to another; of None, all paths are added."""

    def changes() -> Iterator[Change]:
        if old is None:
            return (Change(entry.path, None, entry) for entry in new.iterate())
        return diff(old.digest, new.digest, load)

    if include is None and not exclude:
        return Diff(changes)
    trees = [Tree(tree.digest, load) for tree in (old, new) if tree is not None]
    matches = Selection.across(trees, include, exclude).matcher()
    return Diff(lambda: (change for change in changes() if matches(change.path)))


def parent_tree(core: "RepositoryCore", parents: Sequence[ParentRef], child: str) -> Tree | None:
    """Return the tree of the first parent of a version, or None if it has no parents.

    Raises:
        NotFound: the parent is not in the repository.
    """
    if not parents:
        return None
    parent = parents[0]
    found = core.records.read_back(parent.dataset, parent.label)
    if found is None or found.record_id != parent.record:
        raise NotFound(
            f"{parent.dataset}@{parent.label}, the parent of {child}, is not in {core.url}.",
            hint=f"it was deleted or not copied; `dataver diff OLD {child}` compares another version",
        )
    return core.tree(found.record.tree)
