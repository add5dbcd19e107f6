"""What a move is going to do: which versions, packs, blocks, tags and lineage, before anything is sent.

The idea: what the target holds is asked first, so nothing is sent twice, and an interrupted move that is
repeated does what is left. A version counts as there where the target has its very record (the same id);
another record under its label is a conflict, which is named and left alone (invariant 2).

A leaf that lies in the target already, from whatever source, keeps the layout it has there, provided that the
packs it names are there; so a target that holds the same files in packs of its own gets none of the source's.

Changes nothing.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

from dataver.errors import DataverError, FormatTooNew, IntegrityError, InvalidInput, NotFound
from dataver.formats.block import Leaf, parse_block
from dataver.formats.entry import is_external
from dataver.repository.layout import block_key
from dataver.repository.moving.choosing import Choice
from dataver.repository.moving.holding import ASKING, Names, blocks_there, list_names, packs_there
from dataver.repository.moving.lineage import LineagePlan, plan_lineage
from dataver.repository.moving.needing import Needed, below, find_needed
from dataver.repository.moving.tag_moves import TagPlan, plan_tags
from dataver.repository.records import Published
from dataver.repository.repository import Repository

__all__ = ["Batch", "MovePlan", "plan_move"]

_TOGETHER = 32  # versions that become visible together, so that an interrupted move has published the others


@dataclass
class Batch:
    """Some versions, and what has to be in the target before their records are.

    Attributes:
        versions: the versions, oldest first.
        needed: the blocks they need that no version in the target has.
        packs: the packs to send.
        size: bytes of them.
        blocks: the blocks to send, children before parents.
        replaced: those of `blocks` that lie in the target, but cannot be read there.
        layouts: the packs that each leaf will name in the target.
        relied_packs: packs that were in the target when it was asked.
        relied_blocks: blocks that were.
    """

    versions: list[Published]
    needed: Needed
    packs: list[bytes] = field(default_factory=list)
    size: int = 0
    blocks: list[bytes] = field(default_factory=list)
    replaced: set[bytes] = field(default_factory=set)
    layouts: dict[bytes, frozenset[bytes]] = field(default_factory=dict)
    relied_packs: set[bytes] = field(default_factory=set)
    relied_blocks: set[bytes] = field(default_factory=set)


@dataclass
class MovePlan:
    """What a move is going to do.

    Attributes:
        source: where versions come from.
        target: where they go.
        choice: what was asked for.
        versions: what will be published, oldest first.
        there: what the target has already.
        extra: versions that the target has and the source lacks, where everything is moved; they stay.
        problems: what cannot be moved, and why.
        batches: the versions again, with what they need.
        packs: packs to send.
        pack_size: bytes of them.
        blocks: tree blocks to send.
        block_size: bytes of them.
        near: `(dataset, label, record id)` of versions in the target whose blocks are not even looked at.
        deleted: `(dataset, label)` of versions whose tombstones the target lacks.
        doomed: versions that were deleted in the source and are still in the target; they stay.
        tags: the tags that will be moved in the target.
        lineage: the events and attachments to send; None where they are left out.
    """

    source: Repository
    target: Repository
    choice: Choice
    versions: list[Published] = field(default_factory=list)
    there: list[Published] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    packs: int = 0
    pack_size: int = 0
    blocks: int = 0
    block_size: int = 0
    near: list[tuple[str, str, str]] = field(default_factory=list)
    deleted: list[tuple[str, str]] = field(default_factory=list)
    doomed: list[str] = field(default_factory=list)
    tags: list[TagPlan] = field(default_factory=list)
    lineage: LineagePlan | None = None

    @property
    def size(self) -> int:
        """Bytes to send: packs, tree blocks, lineage."""
        return self.pack_size + self.block_size + (self.lineage.size if self.lineage else 0)

    @property
    def requests(self) -> int:
        """About how many requests it will take on stores: a read, a question and a write for each object."""
        events = self.lineage.count if self.lineage else 0
        tags = sum(tag.moves for tag in self.tags)
        small = len(self.versions) + len(self.deleted) + events + tags
        return 3 * (self.packs + self.blocks) + 2 * small

    @property
    def empty(self) -> bool:
        """Whether there is nothing to send."""
        lineage = self.lineage is not None and self.lineage.count > 0
        return not (self.versions or self.tags or self.deleted or lineage)


def plan_move(
    source: Repository, target: Repository, choice: Choice, *, lineage: bool = True, exact: bool = False
) -> MovePlan:
    """Return what moving `choice` from one repository to another takes.

    Args:
        source: where the versions are.
        target: where they go; its id and its chunking may be others.
        choice: what to move.
        lineage: whether the events of runs that touched the versions are moved, too.
        exact: whether a tag that was moved on in the target is moved back.

    Raises:
        InvalidInput: both are one repository.
        StoreError: one of them cannot be reached.
    """
    if source.url == target.url and source.id == target.id:
        raise InvalidInput(f"{source.url} cannot be moved to itself.", hint="name another repository")
    plan = MovePlan(source, target, choice, problems=list(choice.problems))
    names = list_names(target.store, None if choice.whole else _datasets(choice))
    _compare(plan, names)
    if choice.whole:
        ours = choice.names.versions
        plan.extra = [
            f"{name}@{label}"
            for name in sorted(names.versions)
            for label in sorted(names.versions[name] - ours[name])
            if (name, label) not in choice.names.deleted
        ]
    for dataset, label in choice.deleted:
        if label in names.versions[dataset]:
            plan.doomed.append(f"{dataset}@{label}")
        elif (dataset, label) not in names.deleted:
            plan.deleted.append((dataset, label))
    settled = _settled(plan, names)
    versions = iter(plan.versions)
    while together := list(islice(versions, _TOGETHER)):
        roots = [each.record.tree for each in together]
        batch = Batch(together, find_needed(source, roots, settled))
        if not _fill(plan, batch):  # was it repacked, and are the layouts at hand those of before?
            source.blocks.refresh()
            batch = Batch(together, find_needed(source, roots, settled))
            _fill(plan, batch)
        _count(plan, batch)
        settled.update(batch.needed.inner, batch.needed.leaves)
        plan.batches.append(batch)
    plan.tags, problems = plan_tags(source, target, choice, plan.versions + plan.there, names, exact=exact)
    plan.problems += problems
    plan.lineage = plan_lineage(source, target, choice) if lineage else None
    return plan


def _datasets(choice: Choice) -> set[str]:
    found = {name for name, _ in choice.tags}
    for version in choice.versions:
        found.add(version.record.dataset)
        found.update(parent.dataset for parent in version.record.parents)
    return found


def _compare(plan: MovePlan, names: Names) -> None:
    """Part what the target has from what it lacks and from what it has something else for."""
    target = plan.target
    both = [each for each in plan.choice.versions if each.record.label in names.versions[each.record.dataset]]
    theirs = dict(zip((each.ref for each in both), _records(target, both), strict=True))
    for version in plan.choice.versions:
        record = version.record
        found = theirs.get(version.ref)
        if isinstance(found, DataverError):
            plan.problems.append((version.ref, f"in {target.url}: {found.message}"))
        elif found is not None and found.record_id == version.record_id:
            plan.there.append(version)
        elif (record.dataset, record.label) in names.deleted:
            plan.problems.append((version.ref, f"was deleted in {target.url}, and stays so"))
        elif found is not None:
            plan.problems.append(
                (version.ref, f"conflict: in {target.url} the label belongs to another version, {_of(found)}")
            )
        elif (record.dataset, record.label) in names.tags and target.tags.target(
            record.dataset, record.label
        ):
            plan.problems.append((version.ref, f"conflict: '{record.label}' is a tag in {target.url}"))
        else:
            plan.versions.append(version)


def _of(published: Published) -> str:
    return f"dv1:{published.record.tree.hex()[:16]} of {published.record.created:%Y-%m-%d %H:%M} UTC"


def _records(target: Repository, wanted: Sequence[Published]) -> Iterator[Published | DataverError | None]:
    refs = [(each.record.dataset, each.record.label) for each in wanted]
    try:
        yield from target.records.many(refs)
    except (IntegrityError, FormatTooNew, NotFound):
        for ref in refs:
            try:
                yield target.records.get(*ref)
            except NotFound:
                yield None
            except (IntegrityError, FormatTooNew) as error:
                yield error


def _settled(plan: MovePlan, names: Names) -> set[bytes]:
    """Return the blocks of versions in the target that the new ones are likely to share much with."""
    near = {}
    for version in plan.versions:
        for parent in version.record.parents:
            if parent.label in names.versions[parent.dataset]:
                near[parent.dataset, parent.label] = (parent.record, bytes.fromhex(parent.tree))
    moved = {version.record.dataset for version in plan.versions}
    for version in plan.there:  # the newest of each dataset comes last
        record = version.record
        if record.dataset in moved:
            near[record.dataset, ""] = (version.record_id, record.tree)
    labels = {version.record.dataset: version.record.label for version in plan.there}
    settled: set[bytes] = set()
    for (dataset, label), (record_id, tree) in near.items():
        try:
            # past any cache: what is left out because of it must really be there
            found = plan.target.records.read_back(dataset, label or labels[dataset])
            if found is not None and found.record_id == record_id:
                settled |= below(plan.source, tree)
                plan.near.append((dataset, found.record.label, record_id))
        except (IntegrityError, FormatTooNew):
            continue  # then nothing is left out for its sake
    return settled


def _fill(plan: MovePlan, batch: Batch) -> bool:
    """Find out what of a batch's needs the target has, and note what is to be sent.

    Returns:
        Whether the source has all packs that are to be sent.
    """
    source, target, needed = plan.source, plan.target, batch.needed
    there = blocks_there(target.store, [*needed.inner, *needed.leaves])
    theirs = _layouts(target, [leaf for leaf in needed.leaves if leaf in there])
    asked = set[bytes]().union(*needed.leaves.values(), *(packs for packs in theirs.values() if packs))
    present = packs_there(target.store, asked)
    for leaf, ours in needed.leaves.items():
        found = theirs.get(leaf)
        if found is not None and found - present.keys() <= ours and not _outside(found) - ours:
            batch.relied_blocks.add(leaf)
            batch.layouts[leaf] = found
        else:
            batch.layouts[leaf] = ours
            if leaf in there:
                batch.replaced.add(leaf)
    packs = set[bytes]().union(*batch.layouts.values())
    batch.relied_blocks |= needed.inner.keys() & there.keys()
    batch.relied_packs = packs & present.keys()
    earlier = {pack for before in plan.batches for pack in before.packs}
    batch.packs = sorted(packs - present.keys() - earlier)
    order = [*reversed(needed.leaves), *reversed(needed.inner)]
    batch.blocks = [digest for digest in order if digest not in batch.relied_blocks]
    batch.size = sum((sizes := packs_there(source.store, batch.packs)).values())
    return len(sizes) == len(batch.packs)


def _outside(packs: frozenset[bytes]) -> set[bytes]:
    """Return the external packs: a layout that needs them gives way to one that does not."""
    return set(filter(is_external, packs))


def _count(plan: MovePlan, batch: Batch) -> None:
    plan.packs += len(batch.packs)
    plan.pack_size += batch.size
    plan.blocks += len(batch.blocks)
    plan.block_size += sum(blocks_there(plan.source.store, batch.blocks).values())


def _layouts(target: Repository, leaves: Iterable[bytes]) -> dict[bytes, frozenset[bytes] | None]:
    """Return the packs that leaves name in the target; None for a leaf that cannot be read there."""

    def look(digest: bytes) -> frozenset[bytes] | None:
        def load(name: bytes) -> bytes:
            return target.store.get(block_key(name))  # past any cache

        try:
            block = parse_block(load(digest), digest, load)
            return frozenset(block.packs()) if isinstance(block, Leaf) else None
        except (IntegrityError, FormatTooNew, NotFound):
            return None

    wanted = list(leaves)
    with ThreadPoolExecutor(ASKING, thread_name_prefix="dataver-look") as pool:
        return dict(zip(wanted, pool.map(look, wanted), strict=True))
