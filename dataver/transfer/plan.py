"""Plan of a transfer: versions, packs, blocks, tags and lineage to send.

The idea: the objects of the target are determined first, so none is sent twice, and a repeated transfer sends
the rest. A version exists in the target if its record does (the same id). Another record with its label is a
conflict, which is reported and not changed (invariant 2).

A leaf that exists in the target keeps its layout there if the packs in it exist; so a target that has the
same files in packs of its own receives no packs of the source.

Read-only.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from dataver import parallel
from dataver.errors import DataverError, FormatTooNew, IntegrityError, InvalidInput, NotFound, StoreError
from dataver.formats.block import Leaf, parse_block
from dataver.formats.block_object import MAX_BLOCK
from dataver.formats.entry import is_external
from dataver.formats.record import Record
from dataver.repository.layout import PROFILES, block_key
from dataver.repository.profiles import Listed
from dataver.repository.records import Published
from dataver.repository.repository import RepositoryCore
from dataver.transfer.descriptions import DescriptionPlan, plan_descriptions
from dataver.transfer.inventory import Names, blocks_there, list_names, packs_there
from dataver.transfer.lineage import LineagePlan, plan_lineage
from dataver.transfer.needed_blocks import Needed, below, find_needed
from dataver.transfer.profiles import plan_profiles
from dataver.transfer.selection import Choice
from dataver.transfer.tag_moves import TagPlan, plan_tags

__all__ = ["Batch", "MovePlan", "plan_move"]

_TOGETHER = 32  # versions in a batch: an interrupted transfer has published the batches before


@dataclass
class Batch:
    """Versions that are published together, and the objects that they need.

    Attributes:
        versions: the versions, oldest first.
        needed: the blocks they need that no version in the target has.
        packs: the packs to send.
        size: bytes of the packs.
        blocks: the blocks to send, children before parents.
        replaced: those of `blocks` that exist in the target, but are unreadable.
        layouts: the packs that each leaf will refer to in the target.
        relied_packs: packs that exist in the target.
        relied_blocks: blocks that exist in the target.
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
    """Plan of a transfer.

    Attributes:
        source: the source repository.
        target: the target repository.
        choice: the selected versions and tags.
        versions: the versions to publish, oldest first.
        there: the selected versions that the target already has.
        extra: versions of the target that the source lacks, in a transfer of all versions; they are kept.
        problems: items that cannot be transferred, and the reasons.
        batches: `versions` in batches, with the objects they need.
        packs: number of packs to send.
        pack_size: bytes of the packs.
        blocks: number of tree blocks to send.
        block_size: bytes of the tree blocks.
        near: `(dataset, label, record id)` of versions in the target whose blocks are assumed to exist.
        deleted: `(dataset, label)` of versions whose tombstones the target lacks.
        doomed: versions that were deleted in the source but not in the target; they are kept.
        tags: the tags to move in the target.
        descriptions: the descriptions to copy.
        profiles: the objects with profiles to copy unchanged.
        lineage: the events and attachments to send; None if lineage is left out.
    """

    source: RepositoryCore
    target: RepositoryCore
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
    descriptions: list[DescriptionPlan] = field(default_factory=list)
    profiles: list[Listed] = field(default_factory=list)
    lineage: LineagePlan | None = None

    @property
    def size(self) -> int:
        """Bytes to send: packs, tree blocks, lineage."""
        return self.pack_size + self.block_size + (self.lineage.size if self.lineage else 0)

    @property
    def requests(self) -> int:
        """Approximate number of requests: a read, an existence check and a write for each object."""
        events = self.lineage.count if self.lineage else 0
        tags = sum(tag.moves for tag in self.tags)
        descriptions = sum(len(each.numbers) for each in self.descriptions)
        small = len(self.versions) + len(self.deleted) + events + tags + descriptions + len(self.profiles)
        return 3 * (self.packs + self.blocks) + 2 * small

    @property
    def empty(self) -> bool:
        """Whether there is nothing to send."""
        lineage = self.lineage is not None and self.lineage.count > 0
        beside = self.tags or self.descriptions or self.profiles or self.deleted
        return not (self.versions or beside or lineage)


def plan_move(
    source: RepositoryCore,
    target: RepositoryCore,
    choice: Choice,
    *,
    lineage: bool = True,
    exact: bool = False,
) -> MovePlan:
    """Return the plan of a transfer of `choice` from one repository to another.

    Args:
        source: the source.
        target: the target; its id and chunking may differ.
        choice: the selected versions and tags.
        lineage: also transfer the events of runs that are linked to the versions.
        exact: move back a tag that was moved further in the target.

    Raises:
        InvalidInput: both are the same repository.
        StoreError: one of them cannot be reached.
    """
    if source.url == target.url and source.id == target.id:
        raise InvalidInput(f"{source.url} cannot be transferred to itself.", hint="name another repository")
    plan = MovePlan(source, target, choice, problems=list(choice.problems))
    names = list_names(target.store, None if choice.whole else _datasets(choice))
    refused = _refused_datasets(plan, names)
    _compare(plan, names, refused)
    if choice.whole:
        ours = choice.names.versions
        plan.extra = [
            f"{name}@{label}"
            for name in sorted(names.versions)
            for label in sorted(names.versions[name].keys() - ours[name].keys())
            if (name, label) not in choice.names.deleted
        ]
    for dataset, label in choice.deleted:
        if label in names.versions[dataset]:
            plan.doomed.append(f"{dataset}@{label}")
        elif (dataset, label) not in names.deleted and dataset not in refused:
            plan.deleted.append((dataset, label))
    settled = _settled(plan, names)
    versions = iter(plan.versions)
    while together := list(islice(versions, _TOGETHER)):
        roots = [each.record.tree for each in together]
        batch = Batch(together, find_needed(source, roots, settled))
        if not _fill(plan, batch):  # cached layouts may be older than a repack
            source.blocks.refresh()
            batch = Batch(together, find_needed(source, roots, settled))
            _fill(plan, batch)
        _count(plan, batch)
        settled.update(batch.needed.inner, batch.needed.leaves)
        plan.batches.append(batch)
    plan.tags, problems = plan_tags(source, target, choice, plan.versions + plan.there, names, exact=exact)
    plan.problems += problems
    plan.descriptions = plan_descriptions(source, target, plan.versions + plan.there, whole=choice.whole)
    _plan_profiles(plan)
    plan.lineage = plan_lineage(source, target, choice) if lineage else None
    return plan


def _plan_profiles(plan: MovePlan) -> None:
    try:
        versions = plan.versions + plan.there
        plan.profiles = plan_profiles(plan.source, plan.target, versions, whole=plan.choice.whole)
    except StoreError as error:  # they can be made again
        plan.problems.append((PROFILES, error.message))


def _datasets(choice: Choice) -> set[str]:
    found = {name for name, _ in choice.tags}
    for version in choice.versions:
        found.add(version.record.dataset)
        found.update(parent.dataset for parent in version.record.parents)
    return found


def _refused_datasets(plan: MovePlan, names: Names) -> dict[str, str]:
    """Return the datasets that `create` would reject in the target, and the reasons."""
    choice, records = plan.choice, plan.target.records
    moved = [each.record.dataset for each in choice.versions] + [dataset for dataset, _ in choice.deleted]
    new = [dataset for dataset in dict.fromkeys(moved) if not names.versions[dataset]]
    there = {name for name, labels in names.versions.items() if labels}
    if new and not choice.whole:
        there = set(records.datasets())
    refused: dict[str, str] = {}
    for dataset in new:
        try:
            records.refuse_dataset(dataset, there)
            there.add(dataset)
        except InvalidInput as error:
            refused[dataset] = error.message
    return refused


def _compare(plan: MovePlan, names: Names, refused: dict[str, str]) -> None:
    """Divide the versions into those that the target has, lacks, and has conflicts with."""
    target = plan.target
    taken = [(name, label) for name, labels in names.versions.items() for label in labels]
    taken += [name for name, numbers in names.tags.items() if numbers]
    folded = {(dataset, name.casefold()): name for dataset, name in taken}
    both = [each for each in plan.choice.versions if each.record.label in names.versions[each.record.dataset]]
    theirs = dict(zip((each.ref for each in both), _records(target, both, names), strict=True))
    for version in plan.choice.versions:
        record = version.record
        found = theirs.get(version.ref)
        if isinstance(found, DataverError):
            plan.problems.append((version.ref, f"in {target.url}: {found.message}"))
        elif found is not None and found.record_id == version.record_id:
            plan.there.append(version)
        elif (record.dataset, record.label) in names.deleted:
            plan.problems.append((version.ref, f"was deleted in {target.url}"))
        elif found is not None:
            plan.problems.append(
                (version.ref, f"conflict: in {target.url} the label belongs to another version, {_of(found)}")
            )
        elif (record.dataset, record.label) in names.tags and target.tags.target(
            record.dataset, record.label
        ):
            plan.problems.append((version.ref, f"conflict: '{record.label}' is a tag in {target.url}"))
        elif record.dataset in refused:
            plan.problems.append((version.ref, refused[record.dataset]))
        else:
            other = folded.setdefault((record.dataset, record.label.casefold()), record.label)
            if other != record.label:
                reason = f"its label differs from '{other}' in {target.url} in upper and lower case only"
                plan.problems.append((version.ref, reason))
            elif (parent := _other_parent(target, record, names, theirs)) is not None:
                reason = f"conflict: {parent} in {target.url} is not the version that it was made from"
                plan.problems.append((version.ref, reason))
            else:
                plan.versions.append(version)


def _other_parent(
    target: RepositoryCore,
    record: Record,
    names: Names,
    theirs: Mapping[str, Published | DataverError | None],
) -> str | None:
    """Return a parent whose name belongs to another version in the target, or None.

    Readers would report such a parent as a replaced record.
    """
    for parent in record.parents:
        info = names.versions[parent.dataset].get(parent.label)
        if info is None:
            continue
        ref = f"{parent.dataset}@{parent.label}"
        try:
            found = theirs.get(ref) or target.records.get(parent.dataset, parent.label, info)
        except (IntegrityError, FormatTooNew, NotFound):
            continue  # damaged there: reported for the parent, not for its children
        if isinstance(found, Published) and found.record_id != parent.record:
            return ref
    return None


def _of(published: Published) -> str:
    return f"dv1:{published.record.tree.hex()[:16]} of {published.record.created:%Y-%m-%d %H:%M} UTC"


def _records(
    target: RepositoryCore, wanted: Sequence[Published], names: Names
) -> Iterator[Published | DataverError | None]:
    refs = [(each.dataset, each.label, names.versions[each.dataset][each.label]) for each, _ in wanted]
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
    """Return the blocks of versions in the target that probably share blocks with the new ones."""
    near = {}
    for version in plan.versions:
        for parent in version.record.parents:
            if parent.label in names.versions[parent.dataset]:
                near[parent.dataset, parent.label] = (parent.record, bytes.fromhex(parent.tree))
    moved = {version.record.dataset for version in plan.versions}
    for version in plan.there:  # the newest of each dataset is last
        record = version.record
        if record.dataset in moved:
            near[record.dataset, ""] = (version.record_id, record.tree)
    labels = {version.record.dataset: version.record.label for version in plan.there}
    settled: set[bytes] = set()
    for (dataset, label), (record_id, tree) in near.items():
        try:
            # without a cache: blocks that are not sent must exist
            found = plan.target.records.read_back(dataset, label or labels[dataset])
            if found is not None and found.record_id == record_id:
                settled |= below(plan.source, tree)
                plan.near.append((dataset, found.record.label, record_id))
        except (IntegrityError, FormatTooNew):
            continue  # its blocks are checked like all others
    return settled


def _fill(plan: MovePlan, batch: Batch) -> bool:
    """Determine which objects of a batch the target has, and which are to be sent.

    Returns:
        Whether the source has all packs to send.
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
    """Return the external packs: a layout without them is preferred."""
    return set(filter(is_external, packs))


def _count(plan: MovePlan, batch: Batch) -> None:
    plan.packs += len(batch.packs)
    plan.pack_size += batch.size
    plan.blocks += len(batch.blocks)
    plan.block_size += sum(blocks_there(plan.source.store, batch.blocks).values())


def _layouts(target: RepositoryCore, leaves: Iterable[bytes]) -> dict[bytes, frozenset[bytes] | None]:
    """Return the packs that leaves refer to in the target; None for an unreadable leaf."""

    def look(digest: bytes) -> frozenset[bytes] | None:
        def load(name: bytes) -> bytes:
            return target.store.get_bounded(block_key(name), MAX_BLOCK)  # without a cache

        try:
            block = parse_block(load(digest), digest, load)
            return frozenset(block.packs()) if isinstance(block, Leaf) else None
        except (IntegrityError, FormatTooNew, NotFound):
            return None

    wanted = list(leaves)
    with parallel.pool(parallel.REQUESTS, "look") as pool:
        return dict(zip(wanted, pool.map(look, wanted), strict=True))
