"""Public differences between two trees.

The idea: a difference of at most 200,000 paths is kept. A larger one is not: the trees are walked again each
time it is iterated, so memory does not depend on its size.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from dataver.api.renames import Renames
from dataver.errors import InvalidInput, NotFound, PathNotFound
from dataver.formats.entry import Entry, Kind
from dataver.formats.record import ParentRef
from dataver.tree import Change, Selection, Tree, diff, find_renames, path_of

if TYPE_CHECKING:
    from dataver.diffs import ContentDiff, File, TableDiff
    from dataver.repository import Published, RepositoryCore
    from dataver.tree.checked_descent import Load
    from dataver.tree.selection import Given

# Imports in functions: differences of contents, which lists of paths do not need.

__all__ = ["Diff", "Side", "compare", "find_parent"]

_KEPT: Final = 200_000  # changes, some 500 bytes each


class Side(NamedTuple):
    """One of the versions that are compared: its ref, its tree, and a function that fetches a path of it."""

    ref: str
    tree: Tree
    fetch: Callable[[str], Path]


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

    def __init__(
        self, walk: Callable[[], Iterator[Change]], sides: tuple[Side | None, Side] | None = None
    ) -> None:
        self._walk = walk
        self._sides = sides
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

    def content(
        self,
        path: str | os.PathLike[str],
        *,
        old_path: str | os.PathLike[str] | None = None,
        key: str | Sequence[str] | None = None,
    ) -> "ContentDiff":
        """Return the difference between the contents of a file of both versions, which are fetched.

        Its class depends on the suffix: `TableDiff`, `JsonDiff`, `ArraysDiff` of images and tensors, else
        `TextDiff`; `BytesDiff` of files that are equal, binary or too large. It is true if they differ.

        Args:
            path: the file in the new version. If only one version has it, its renamed copy in the other.
            old_path: the file in the old version; None means `path`.
            key: of a table, the columns that identify a row; () compares whole rows. None means a column that
                is unique and not NULL in both versions, such as `id`; if there is none, whole rows.

        Raises:
            PathNotFound: one of the versions has no such file.
            InvalidInput: the difference is that of a draft, or a version is not uploaded; a file is not what
                its suffix promises; a package is not installed; the key is not a column of both tables.
            IntegrityError: the repository holds other bytes.
            StoreError: the store failed.
        """
        from dataver.diffs import BytesDiff, compare_files

        old, new, equal = self._pair(path, old_path)
        if equal and key is None:
            return BytesDiff(old, new, "")
        return compare_files(old, new, key)

    def table(
        self,
        path: str | os.PathLike[str],
        *,
        old_path: str | os.PathLike[str] | None = None,
        key: str | Sequence[str] | None = None,
    ) -> "TableDiff":
        """Return the difference between the tables in a file of both versions; see `content`.

        Raises:
            InvalidInput: as for `content`; or the file is not a table, or the tables have no common column.
        """
        from dataver.diffs import TableDiff, compare_tables
        from dataver.tables import format_of

        old, new, _ = self._pair(path, old_path)
        for file in (old, new):
            if format_of(file.path) is None:
                raise InvalidInput(f"{file} is not a table.", hint="`content` compares files of any kind")
        found = compare_tables(old, new, key)
        if not isinstance(found, TableDiff):
            raise InvalidInput(f"{old} and {new} cannot be compared: {found.summary()}.")
        return found

    def _pair(
        self, path: str | os.PathLike[str], old_path: str | os.PathLike[str] | None
    ) -> "tuple[File, File, bool]":
        """Return a file of both versions, and whether its contents are equal."""
        from dataver.diffs import File

        if self._sides is None:
            raise InvalidInput(
                "The contents of a draft cannot be compared.", hint="upload it and compare the versions"
            )
        before, after = self._sides
        if before is None:
            raise PathNotFound(f"{after.ref} has no parent to compare '{path}' with.")
        names = path_of(path if old_path is None else old_path), path_of(path)
        one, two = (side.tree.get(name) for side, name in zip((before, after), names, strict=True))
        if old_path is None and (one is None) != (two is None):
            moved = ((old, new) for old, new in self.renamed if names[1] in (old.path, new.path))
            one, two = next(moved, (one, two))
        files = []
        for side, entry, name in zip((before, after), (one, two), names, strict=True):
            if entry is None or entry.kind not in (Kind.FILE, Kind.EXECUTABLE):
                raise PathNotFound(f"{side.ref} has no file '{name}'.", hint="it may have another path there")
            files.append(
                (File(entry.path, side.ref, entry.size, partial(side.fetch, entry.path)), entry.digest)
            )
        (old_file, digest), (new_file, new_digest) = files
        return old_file, new_file, digest == new_digest

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


def compare(old: Side | None, new: Side, load: "Load", include: "Given | None", exclude: "Given") -> Diff:
    """Return the changes of matching paths from one version to another; of None, all paths are added."""

    def changes() -> Iterator[Change]:
        if old is None:
            return (Change(entry.path, None, entry) for entry in new.tree.iterate())
        return diff(old.tree.digest, new.tree.digest, load)

    sides = (old, new)
    if include is None and not exclude:
        return Diff(changes, sides)
    trees = [Tree(each.tree.digest, load) for each in (old, new) if each is not None]
    matches = Selection.across(trees, include, exclude).matcher()
    return Diff(lambda: (change for change in changes() if matches(change.path)), sides)


def find_parent(core: "RepositoryCore", parents: Sequence[ParentRef], child: str) -> "Published | None":
    """Return the first parent of a version, or None if it has no parents.

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
    return found
