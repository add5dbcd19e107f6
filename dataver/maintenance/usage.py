"""Usage of storage by version and by dataset, in bytes of objects in the store.

The idea: each block is read once, and the needs of each version follow from the graph in memory. An object is
unique to a version if no other version needs it: the deletion of the version frees exactly these bytes, since
`gc` deletes whole objects. A pack that two versions need in part counts as shared; `repack` splits packs.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from dataver.formats.block import Block, Inner
from dataver.formats.entry import is_external
from dataver.repository.frame_copier import live_bytes
from dataver.repository.layout import EXTERNALS, PACKS, TREES
from dataver.repository.marking import Inventory, Marks, list_inventory, reach
from dataver.repository.records import Published
from dataver.repository.repository import RepositoryCore
from dataver.short_repr import short_repr

__all__ = ["BlockNeeds", "Usage", "UsageReport", "added_bytes", "needs_of", "usage"]

_Run = tuple[bytes, int, int]
Frames = set[_Run]


_COUNTED = (EXTERNALS, PACKS, TREES)


@dataclass(frozen=True)
class Usage:
    """Usage of one version or dataset, in bytes except for the counts.

    Attributes:
        name: `dataset@label`, or the dataset's name.
        versions: number of versions.
        files: files of the newest version.
        logical: bytes of the files of all versions.
        compressed: stored bytes of the frames with the files' content, each frame once.
        external: bytes of content outside the repository, each range once.
        total: bytes of the packs and tree blocks that are needed.
        unique: bytes of those that no other version needs, which a deletion frees.
        shared: bytes of those that other versions need, too.
        added: bytes of those that no older version needs; of a dataset, the sum of its versions'.
    """

    name: str
    versions: int
    files: int
    logical: int
    compressed: int
    total: int
    unique: int
    external: int
    added: int = 0

    @property
    def shared(self) -> int:
        """Bytes of the objects that other versions need, too."""
        return self.total - self.unique


@dataclass
class UsageReport:
    """Usage of a repository.

    Attributes:
        versions: usage of each selected version, oldest first.
        datasets: usage of each selected dataset, by name.
        stored: bytes of all objects in the store.
        needed: bytes of the packs and tree blocks that versions need.
        unneeded: bytes of packs and tree blocks that no version needs; `gc` deletes them after a time.
        other: bytes of all other objects: records, tags, lineage, configuration.
        external: bytes outside the repository that versions need, not included in the others.
    """

    versions: list[Usage] = field(default_factory=list)
    datasets: list[Usage] = field(default_factory=list)
    stored: int = 0
    needed: int = 0
    unneeded: int = 0
    other: int = 0
    external: int = 0

    __repr__ = short_repr


class BlockNeeds(NamedTuple):
    """Needs of one block: its base, its children, and runs of frames.

    External packs have frames, too; `outside` contains their runs as pack, offset and length in bytes.
    """

    base: bytes | None
    children: tuple[bytes, ...]
    frames: Frames
    outside: Frames


def needs_of(block: Block) -> BlockNeeds:
    """Return the needs of a block."""
    if isinstance(block, Inner):
        return BlockNeeds(block.base, tuple(child.digest for child in block.children), set(), set())
    return BlockNeeds(block.base, (), block.ranges(), block.outside())


def usage(repo: RepositoryCore, dataset: str | None = None, label: str | None = None) -> UsageReport:
    """Determine the usage of versions and datasets.

    Args:
        repo: the repository.
        dataset: report only this one; None means all.
        label: report only this version of it.

    Raises:
        IntegrityError: a version is unreadable.
        NotFound: a version was deleted meanwhile.
    """
    inventory = list_inventory(repo.store)
    published = repo.records.many(repo.records.everything())
    published.sort(key=lambda each: (each.record.created, each.ref))
    roots = {each.record.tree for each in published}
    nodes = {block.digest: needs_of(block) for block in reach(repo.store, roots)}
    needs = {root: _needs(nodes, [root]) for root in roots}
    report = UsageReport()
    _total(repo, inventory, needs.values(), report)
    report.external = sum(
        length for _, _, length in set[_Run]().union(*(each.outside for each in nodes.values()))
    )

    by_dataset: dict[str, list[Published]] = {}
    for each in published:
        by_dataset.setdefault(each.record.dataset, []).append(each)
    together = {name: _needs(nodes, {each.record.tree for each in some}) for name, some in by_dataset.items()}
    added = _added(published, nodes, inventory)
    of_versions = _users(needs[each.record.tree] for each in published)
    of_datasets = _users(together.values())
    for name, some in sorted(by_dataset.items()):
        if dataset in (None, name):
            whole = _usage(name, some, together[name], nodes, inventory, of_datasets)
            report.datasets.append(replace(whole, added=sum(added[each.ref] for each in some)))
    for each in published:
        if dataset in (None, each.record.dataset) and label in (None, each.record.label):
            alone = _usage(each.ref, [each], needs[each.record.tree], nodes, inventory, of_versions)
            report.versions.append(replace(alone, added=added[each.ref]))
    return report


def added_bytes(repo: RepositoryCore, dataset: str) -> dict[str, int]:
    """Return the bytes of packs and tree blocks that each version of a dataset added to those before it.

    Reads each block of the dataset once; `Usage.added` counts the versions of other datasets, too.

    Raises:
        IntegrityError: a version is unreadable.
    """
    published = repo.records.versions(dataset)
    published.sort(key=lambda each: (each.record.created, each.ref))
    blocks = reach(repo.store, {each.record.tree for each in published})
    nodes = {block.digest: needs_of(block) for block in blocks}
    return _added(published, nodes, list_inventory(repo.store))


def _added(
    published: list[Published], nodes: dict[bytes, BlockNeeds], inventory: Inventory
) -> dict[str, int]:
    """Return the bytes that each version added to those before it; `published` is oldest first."""
    added, known, seen = {}, Marks(), set[bytes]()
    for each in published:
        marks = _needs(nodes, [each.record.tree], seen)
        added[each.ref] = inventory.size(Marks(marks.blocks - known.blocks, marks.packs - known.packs))
        known.add(marks)
    return added


def _total(repo: RepositoryCore, inventory: Inventory, needs: Iterable[Marks], report: UsageReport) -> None:
    everything = Marks()
    for each in needs:
        everything.add(each)
    there = sum(info.size for info in (*inventory.packs.values(), *inventory.blocks.values()))
    report.needed = inventory.size(everything)
    report.unneeded = there - report.needed
    report.other = sum(info.size for info in repo.store.list() if not info.key.startswith(_COUNTED))
    report.stored = there + report.other


def _needs(nodes: dict[bytes, BlockNeeds], roots: Iterable[bytes], seen: set[bytes] | None = None) -> Marks:
    """Return the needs of some trees, without those of blocks in `seen`, to which their blocks are added."""
    marks, seen = Marks(), set() if seen is None else seen
    ahead = [each for each in roots if each not in seen]
    seen.update(ahead)
    while ahead:
        digest = ahead.pop()
        node = nodes[digest]
        marks.blocks.add(digest)
        if node.base is not None:
            marks.blocks.add(node.base)
        marks.packs.update(pack for pack, _, _ in node.frames)
        fresh = [child for child in node.children if child not in seen]
        seen.update(fresh)
        ahead += fresh
    return marks


def _users(needs: Iterable[Marks]) -> Counter[bytes]:
    """Return the number of users of each object; packs and blocks never have equal names."""
    users: Counter[bytes] = Counter()
    for each in needs:
        users.update(each.blocks)
        users.update(each.packs)
    return users


def _usage(
    name: str,
    published: list[Published],
    marks: Marks,
    nodes: dict[bytes, BlockNeeds],
    inventory: Inventory,
    users: Counter[bytes],
) -> Usage:
    alone = Marks(
        {each for each in marks.blocks if users[each] == 1},
        {each for each in marks.packs if users[each] == 1},
    )
    frames: dict[bytes, set[tuple[int, int]]] = {}
    outside: Frames = set()
    for digest in marks.blocks & nodes.keys():
        outside |= nodes[digest].outside
        for pack, offset, stored in nodes[digest].frames:
            if not is_external(pack):
                frames.setdefault(pack, set()).add((offset, stored))
    return Usage(
        name=name,
        versions=len(published),
        files=published[-1].record.files,
        logical=sum(each.record.size for each in published),
        compressed=sum(live_bytes(runs) for runs in frames.values()),
        total=inventory.size(marks),
        unique=inventory.size(alone),
        external=sum(length for _, _, length in outside),
    )
