"""The tree a draft starts from (empty, its parent's, or merged parents), and merging with newer versions.

A draft that is behind the latest version of its line is merged with it: the version becomes a parent and
replaces those parents that are its ancestors.
"""

from collections.abc import Callable, Sequence

from dataver.errors import Conflict
from dataver.formats.block import Encoded, Inner, Leaf
from dataver.formats.entry import Entry
from dataver.formats.record import ParentRef
from dataver.repository import Published, RepositoryCore
from dataver.repository.ancestry import Ancestry
from dataver.tree import Tree, build, diff, merge

__all__ = ["merge_onto", "merge_parents", "mirror_changes", "parents_onto"]

_SHOWN = 3  # paths in a message


def merge_parents(
    repository: RepositoryCore,
    parents: Sequence[Published],
    load: Callable[[bytes], Leaf | Inner],
    save: Callable[[Encoded], None],
    may_be_base: Callable[[bytes], bool],
) -> tuple[bytes, list[str]]:
    """Return the tree a draft of these parents starts from, and the paths in conflict.

    Later parents take precedence. Two parents are merged three-way against their newest common ancestor, so
    that paths one of them removed stay removed; without an ancestor, all paths of both are kept.
    """
    if not parents:
        return build((), save).digest, []
    root, conflicts = parents[0].record.tree, set[str]()
    ancestry = Ancestry(repository.records)
    for number, parent in enumerate(parents[1:], 1):
        base = _tree(ancestry.common(parents[:number], parent))
        result, clashes = merge(
            base, root, parent.record.tree, load, save, prefer="theirs", may_be_base=may_be_base
        )
        root = result.digest
        conflicts.update(clash.path for clash in clashes)
    return root, sorted(conflicts)


def parents_onto(
    repository: RepositoryCore, parents: Sequence[ParentRef], latest: Published
) -> tuple[list[ParentRef], bytes | None]:
    """Return the parents of a draft merged with the latest version, and the tree of the common ancestor.

    The tree is None if they have no common ancestor.
    """
    ancestry = Ancestry(repository.records)
    known = [(parent, found) for parent in parents if (found := ancestry.parent(parent)) is not None]
    older = [parent for parent, found in known if ancestry.descends(latest.record.parents, found)]
    if len(parents) == 1 and older:
        base: bytes | None = bytes.fromhex(older[0].tree)
    else:
        base = _tree(ancestry.common([found for _, found in known], latest))
    record = latest.record
    first = ParentRef(record.dataset, record.label, latest.record_id, record.tree.hex())
    return [first, *(parent for parent in parents if parent not in older)], base


def merge_onto(
    latest: Published,
    tree: bytes,
    base: bytes | None,
    load: Callable[[bytes], Leaf | Inner],
    save: Callable[[Encoded], None],
    may_be_base: Callable[[bytes], bool],
    *,
    keep: bool,
) -> bytes:
    """Apply a draft's changes to the latest version; return the tree.

    Args:
        latest: the version.
        tree: the draft's tree.
        base: the tree of the common ancestor.
        load: returns blocks of all three.
        save: receives new blocks.
        may_be_base: as for `edit`.
        keep: if both changed a path, keep the draft's content.

    Raises:
        Conflict: both changed the same paths, and `keep` is off.
    """
    result, clashes = merge(
        base, latest.record.tree, tree, load, save, prefer="theirs", may_be_base=may_be_base
    )
    if clashes and not keep:
        paths = sorted({clash.path for clash in clashes})
        more = f" and {len(paths) - _SHOWN:,} more" if len(paths) > _SHOWN else ""
        raise Conflict(
            f"{latest.ref} was published meanwhile, and both it and this draft changed "
            f"{', '.join(paths[:_SHOWN])}{more}.",
            hint="--rebase keeps the draft's content of these paths and takes the rest from "
            f"{latest.ref}; --allow-fork publishes the draft beside it, which stays the latest",
        )
    return result.digest


def mirror_changes(
    latest: Published, tree: Tree, dest: str, load: Callable[[bytes], Leaf | Inner]
) -> dict[str, Entry | None]:
    """Return the changes that make `dest` in the latest version equal to that in a mirror's tree."""
    below = f"{dest}/" if dest else ""
    changes: dict[str, Entry | None] = {
        change.path: change.new
        for change in diff(latest.record.tree, tree.digest, load)
        if change.path == dest or change.path.startswith(below)
    }
    theirs = Tree(latest.record.tree, load)
    folder = dest.rpartition("/")[0]
    while folder:  # the folder replaces a file or an empty folder of that name
        if theirs.get(folder) is not None:
            changes[folder] = None
        folder = folder.rpartition("/")[0]
    return changes


def _tree(ancestor: Published | None) -> bytes | None:
    return None if ancestor is None else ancestor.record.tree
