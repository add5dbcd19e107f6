"""What is stored, and for whom: per version and per dataset, in bytes that the store would count.

The idea: each block is read once; what a version needs follows from the graph in memory. An object belongs
to a version alone if no other version needs it: those bytes are what deleting it frees, no more and no less,
since `gc` frees whole objects. Packs of which a version needs a part are shared whole; `repack` splits them.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from dataver.formats.block import Block, Inner
from dataver.formats.entry import is_external
from dataver.repository.keeping.marking import Inventory, Marks, reach, take_inventory
from dataver.repository.layout import EXTERNALS, PACKS, TREES
from dataver.repository.records import Published
from dataver.repository.repository import Repository

__all__ = ["Node", "Usage", "UsageReport", "live_bytes", "node_of", "usage"]

_Run = tuple[bytes, int, int]
Frames = set[_Run]


_COUNTED = (EXTERNALS, PACKS, TREES)


@dataclass(frozen=True)
class Usage:
    """What one version, or one dataset, takes. All in bytes, but for the counts.

    Attributes:
        name: `dataset@label`, or the dataset's name.
        versions: how many versions these are.
        files: files of the newest version.
        logical: bytes of the files, of all versions together.
        compressed: stored bytes of the frames that hold the files' content, each frame once.
        external: bytes of the content that lies outside the repository, each run once.
        total: bytes of the packs and tree blocks that are needed.
        unique: of these, what nobody else needs: deleting it frees so much.
        shared: of these, what others need, too.
    """

    name: str
    versions: int
    files: int
    logical: int
    compressed: int
    total: int
    unique: int
    external: int

    @property
    def shared(self) -> int:
        """Bytes of the objects that others need, too."""
        return self.total - self.unique


@dataclass
class UsageReport:
    """What a repository takes.

    Attributes:
        versions: of each version asked for, oldest first.
        datasets: of each dataset asked for, by name.
        stored: bytes of all objects in the store.
        needed: bytes of the packs and tree blocks that versions need.
        unneeded: bytes of packs and tree blocks that no version needs; `gc` frees them in time.
        other: bytes of everything else: records, tags, lineage, configuration.
        external: bytes outside the repository that versions need, which the others do not count.
    """

    versions: list[Usage] = field(default_factory=list)
    datasets: list[Usage] = field(default_factory=list)
    stored: int = 0
    needed: int = 0
    unneeded: int = 0
    other: int = 0
    external: int = 0


class Node(NamedTuple):
    """What one block needs: the block it is stored against, those below it, and runs of frames.

    External packs have frames, too; `outside` says how many bytes those runs are: pack, offset, length.
    """

    base: bytes | None
    children: tuple[bytes, ...]
    frames: Frames
    outside: Frames


def node_of(block: Block) -> Node:
    """Return what a block needs."""
    if isinstance(block, Inner):
        return Node(block.base, tuple(child.digest for child in block.children), set(), set())
    return Node(block.base, (), block.ranges(), block.outside())


def usage(repo: Repository, dataset: str | None = None, label: str | None = None) -> UsageReport:
    """Find out what versions take.

    Args:
        repo: the repository.
        dataset: report on this one only; None means all.
        label: report on this version of it only.

    Raises:
        IntegrityError: a version cannot be read.
        NotFound: one was deleted meanwhile.
    """
    inventory = take_inventory(repo.store)
    refs = [(name, each) for name, labels in repo.records.datasets().items() for each in labels]
    published = sorted(repo.records.many(refs), key=lambda each: (each.record.created, each.ref))
    roots = {each.record.tree for each in published}
    nodes = {block.digest: node_of(block) for block in reach(repo.store, roots)}
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
    of_versions = _users(needs[each.record.tree] for each in published)
    of_datasets = _users(together.values())
    for name, some in sorted(by_dataset.items()):
        if dataset in (None, name):
            report.datasets.append(_usage(name, some, together[name], nodes, inventory, of_datasets))
    for each in published:
        if dataset in (None, each.record.dataset) and label in (None, each.record.label):
            report.versions.append(
                _usage(each.ref, [each], needs[each.record.tree], nodes, inventory, of_versions)
            )
    return report


def live_bytes(frames: Iterable[tuple[int, int]]) -> int:
    """Return how many bytes of a pack runs of frames cover, given as offset and stored bytes."""
    covered = end = 0
    for offset, stored in sorted(frames):
        covered += max(0, offset + stored - max(end, offset))
        end = max(end, offset + stored)
    return covered


def _total(repo: Repository, inventory: Inventory, needs: Iterable[Marks], report: UsageReport) -> None:
    everything = Marks()
    for each in needs:
        everything.add(each)
    there = sum(info.size for info in (*inventory.packs.values(), *inventory.blocks.values()))
    report.needed = inventory.size(everything)
    report.unneeded = there - report.needed
    report.other = sum(info.size for info in repo.store.list() if not info.key.startswith(_COUNTED))
    report.stored = there + report.other


def _needs(nodes: dict[bytes, Node], roots: Iterable[bytes]) -> Marks:
    marks = Marks()
    ahead, seen = list(roots), set(roots)
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
    """Return how many of these need each object; no pack has a block's name."""
    users: Counter[bytes] = Counter()
    for each in needs:
        users.update(each.blocks)
        users.update(each.packs)
    return users


def _usage(
    name: str,
    published: list[Published],
    marks: Marks,
    nodes: dict[bytes, Node],
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
