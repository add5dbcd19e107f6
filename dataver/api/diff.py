"""Public differences between two trees."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from dataver.errors import NotFound
from dataver.formats.entry import Entry
from dataver.formats.record import ParentRef
from dataver.tree import Change, Selection, Tree, diff, find_renames

if TYPE_CHECKING:
    from dataver.repository import RepositoryCore
    from dataver.tree.checked_descent import Load
    from dataver.tree.selection import Given

__all__ = ["Diff", "compare", "parent_tree"]


@dataclass(frozen=True)
class Diff:
    """Difference between two trees.

    Attributes:
        added: new paths.
        removed: paths that no longer exist.
        modified: paths whose content, kind or link target differs.
        renamed: `(old, new)` entries of equal content that changed their path; in neither list above.
    """

    added: list[Entry] = field(default_factory=list)
    removed: list[Entry] = field(default_factory=list)
    modified: list[Change] = field(default_factory=list)
    renamed: list[tuple[Entry, Entry]] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"Diff({', '.join(f'{each.name}={len(getattr(self, each.name))}' for each in fields(self))})"

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.modified or self.renamed)

    @classmethod
    def of(cls, changes: Iterator[Change]) -> "Diff":
        """Group the changes of a tree diff by kind."""
        everything = list(changes)
        pairs = find_renames(everything)
        left = {old.path for old, _ in pairs}
        arrived = {new.path for _, new in pairs}
        diff = cls(renamed=list(pairs))
        for change in everything:
            if change.old is None and change.new is not None:
                if change.path not in arrived:
                    diff.added.append(change.new)
            elif change.new is None and change.old is not None:
                if change.path not in left:
                    diff.removed.append(change.old)
            else:
                diff.modified.append(change)
        return diff

    def summary(self) -> dict[str, int]:
        """Return the numbers of paths, by the names of the attributes, and `size_added` and `size_removed`.

        The sizes are bytes of whole files. A modified file counts with its new size as added and with its old
        size as removed.
        """
        grown = sum(change.new.size for change in self.modified if change.new)
        shrunk = sum(change.old.size for change in self.modified if change.old)
        return {
            "added": len(self.added),
            "removed": len(self.removed),
            "modified": len(self.modified),
            "renamed": len(self.renamed),
            "size_added": sum(entry.size for entry in self.added) + grown,
            "size_removed": sum(entry.size for entry in self.removed) + shrunk,
        }


def compare(old: Tree | None, new: Tree, load: "Load", include: "Given | None", exclude: "Given") -> Diff:
    """Return the changes of matching paths from one tree to another; of None, all paths are added."""
    changes = (
        (Change(entry.path, None, entry) for entry in new.iterate())
        if old is None
        else diff(old.digest, new.digest, load)
    )
    if include is None and not exclude:
        return Diff.of(changes)
    trees = [Tree(tree.digest, load) for tree in (old, new) if tree is not None]
    matches = Selection.across(trees, include, exclude).matcher()
    return Diff.of(change for change in changes if matches(change.path))


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
