"""Plan of an `add` or `sync`: what it would add, replace and remove, by names, sizes and times alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dataver.formats.entry import Entry, Kind
from dataver.ingest.add_operation import changes_with, stat_cache_of
from dataver.ingest.remains import Remains
from dataver.ingest.scan import Scan, ScannedItem, require_sources, scan
from dataver.repository import RepositoryCore
from dataver.short_repr import short_repr
from dataver.tree import Tree

__all__ = ["AddPlan", "plan_add"]


@dataclass
class AddPlan:
    """Plan of an `add` or `sync`. Sizes in bytes.

    Attributes:
        files: files, links and empty folders scanned.
        size: their bytes.
        unchanged: how many the draft holds already, with the same content.
        added: paths that the draft does not hold.
        changed: paths whose kind, size or link target differs.
        unknown: paths of the same size whose content is known once they are read.
        read: bytes that would be read.
        removed: paths that `sync` would remove, and files that a folder replaces.
        ignored: files and folders that patterns exclude.
        left_out: names excluded by default: clutter, repositories, a cache.
        problems: `(name, reason)` of everything that cannot be added.
    """

    files: int = 0
    size: int = 0
    unchanged: int = 0
    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    read: int = 0
    removed: list[str] = field(default_factory=list)
    ignored: int = 0
    left_out: list[str] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)

    __repr__ = short_repr


def plan_add(
    repository: RepositoryCore,
    tree: Tree | None,
    sources: Sequence[str | Path],
    how: Scan,
    *,
    mirror: bool = False,
    allow_shrink: bool = True,
) -> AddPlan:
    """Return the plan of adding sources to a tree; reads no content of files.

    Args:
        repository: the draft's, by which the stat cache is found.
        tree: the draft's; None is empty.
        sources: files and folders.
        how: options of the scan.
        mirror: whether paths that the source lacks would be removed.
        allow_shrink: as for `Draft.sync`.

    Raises:
        PathNotFound: a source does not exist, or a pattern of `include` matches no file.
        InvalidInput: the mirror would be refused.
    """
    require_sources(how, sources)
    plan = AddPlan()
    filled = None if tree is None or not tree.summary().entries else tree
    remains = Remains(filled) if mirror and filled is not None else None
    removed: dict[str, Entry | None] = {}
    for source in sources:
        stats = stat_cache_of(repository, source, how)
        for folder in scan(source, how):
            if remains is not None:
                remains.found(found.path for found in folder)
            plan.files += len(folder)
            plan.size += sum(found.stat.size for found in folder)
            changes: dict[str, Entry | None] = {}
            if filled is not None:
                changes = changes_with(filled, map(_entry, folder), how, mirror=mirror)
            removed |= {path: None for path, entry in changes.items() if entry is None}
            for found in folder:
                if filled is None or found.path in changes:  # else it is refused
                    _classify(plan, filled, found, stats.get(found.path, found.stat))
    if remains is not None and filled is not None:
        removed |= remains.removals(filled, how, allow_shrink=allow_shrink)
    plan.removed = sorted(removed)
    plan.ignored, plan.left_out, plan.problems = how.ignored, sorted(how.left_out), how.problems
    return plan


_READ = (Kind.FILE, Kind.EXECUTABLE)


def _entry(found: ScannedItem) -> Entry:
    """Return an entry of the item without its content."""
    return Entry(found.path, found.kind, found.stat.size, bytes(32), found.target, ())


def _classify(plan: AddPlan, tree: Tree | None, found: ScannedItem, known: bytes | None) -> None:
    """Count an item, given the digest of its content if the stat cache has it, by the rule of `Adder.add`."""
    place = None if tree is None else tree.locate(found.path)
    is_file, size = found.kind in _READ, found.stat.size
    if place is None:
        plan.added.append(found.path)
        plan.read += size if is_file else 0
        return
    leaf, number = place
    old = leaf.entry(number)
    if old.kind == found.kind and (known == old.digest if is_file else (old.target or "") == found.target):
        plan.unchanged += 1
        plan.read += size if is_file and leaf.is_outside(number) else 0  # it is stored from now on
        return
    plan.read += size if is_file else 0
    different = old.kind != found.kind or not is_file or old.size != size or known is not None
    (plan.changed if different else plan.unknown).append(found.path)
