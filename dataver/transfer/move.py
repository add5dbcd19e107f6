"""Execution of a transfer: packs, blocks, records, then tags, descriptions and profiles, then lineage.

The idea: versions are published in batches (`plan.Batch`), each only when all its objects are in the target
(invariant 3). An interruption leaves complete published versions, and packs and blocks that the next attempt
need not send again (invariant 4).

An object that is unreadable in the source is reported; the versions that need it are left out, and all others
are transferred (invariant 10). During its writes a transfer has a hold on the target
(`dataver.repository.holds`), so no sweep deletes there. With the hold, it confirms the objects that the plan
found in the target, before a record refers to them (invariant 5).

A verification afterwards reads the trees of the versions from the target, without caches, and every pack in
them whole, and compares it with its id: so the versions are readable from the target alone.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from dataver import parallel
from dataver.errors import Conflict, DataverError, FormatTooNew, IntegrityError, InvalidInput, NotFound
from dataver.formats.block import Inner
from dataver.formats.canonical_json import MAX_JSON
from dataver.formats.entry import is_external
from dataver.formats.record import parse_record, record_id
from dataver.formats.tombstone import parse_tombstone
from dataver.machine.store_clock import Stopwatch
from dataver.progress import SILENT, Progress
from dataver.repository.create_once import Outcome, create_once
from dataver.repository.holds import WriterHold, list_sweeps, mark_external_layouts, writer_hold
from dataver.repository.layout import PROFILES, record_key, tombstone_key
from dataver.repository.marking import reach
from dataver.repository.records import Published
from dataver.repository.repository import RepositoryCore
from dataver.short_repr import short_repr
from dataver.transfer.descriptions import move_descriptions
from dataver.transfer.inventory import blocks_there, packs_there
from dataver.transfer.lineage import move_lineage
from dataver.transfer.needed_blocks import touches
from dataver.transfer.packs import BlockSender, read_pack, send_packs
from dataver.transfer.plan import Batch, MovePlan
from dataver.transfer.profiles import move_profiles, plan_profiles
from dataver.transfer.tag_moves import move_tag

__all__ = ["MoveReport", "check_moved", "execute_move"]

_RENEW = 3600.0  # seconds after which the hold is renewed


@dataclass
class MoveReport:
    """Result of a transfer.

    Attributes:
        versions: the versions published in the target, oldest first.
        there: number of versions that the target already had.
        packs: packs sent.
        blocks: tree blocks sent.
        tags: moves of tags written.
        descriptions: descriptions written.
        profiles: objects with profiles written.
        tombstones: tombstones of deleted versions written.
        events: objects of lineage events written.
        attachments: attachments written.
        size: bytes sent.
        checked: objects of the target that were read and verified afterwards.
        problems: objects that were not transferred or are damaged, and the reasons.
        seconds: duration.
    """

    versions: list[Published] = field(default_factory=list)
    there: int = 0
    packs: int = 0
    blocks: int = 0
    tags: int = 0
    descriptions: int = 0
    profiles: int = 0
    tombstones: int = 0
    events: int = 0
    attachments: int = 0
    size: int = 0
    checked: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0

    __repr__ = short_repr


def execute_move(
    plan: MovePlan, *, author: str, verify: bool = False, progress: Progress = SILENT
) -> MoveReport:
    """Execute a plan; after an error, a new plan contains the rest.

    Args:
        plan: a plan of `plan_move`.
        author: the author of the moves of tags.
        verify: read all selected versions from the target afterwards and verify them.
        progress: receives packs and their bytes.

    Raises:
        Conflict: a sweep in the target does not end, or deleted objects that the plan relies on.
        StoreError: the target failed, or the source cannot be reached.
    """
    began = time.perf_counter()
    report = MoveReport(there=len(plan.there), problems=list(plan.problems))
    if not plan.empty:
        with writer_hold(plan.target.store, None) as hold:
            hold.establish(lambda _found: None)
            _write(plan, report, _Transfer(plan, report, progress, hold), author)
    if verify:
        report.checked, found = check_moved(
            plan.source, plan.target, [*plan.there, *report.versions], progress
        )
        report.problems += found
    report.seconds = time.perf_counter() - began
    return report


def _write(plan: MovePlan, report: MoveReport, run: "_Transfer", author: str) -> None:
    run.confirm_assumed()
    run.progress.start(plan.packs, plan.pack_size)
    for batch in plan.batches:
        run.batch(batch)
    for dataset, label in plan.deleted:
        try:
            report.tombstones += copy_tombstone(plan.source, plan.target, dataset, label)
        except (IntegrityError, FormatTooNew, NotFound) as error:
            report.problems.append((f"tombstone of {dataset}@{label}", error.message))
    for tag in plan.tags:
        try:
            if tag.label is None or f"{tag.dataset}@{tag.label}" not in run.left_out:
                report.tags += move_tag(plan.source, plan.target, tag, author)
        except (Conflict, IntegrityError, InvalidInput, NotFound) as error:
            report.problems.append((f"tag {tag.ref}", error.message))
    for described in plan.descriptions:
        try:
            if described.ref not in run.left_out:
                report.descriptions += move_descriptions(plan.source, plan.target, described)
        except (Conflict, IntegrityError, FormatTooNew, NotFound) as error:
            report.problems.append((f"description of {described.ref}", error.message))
    if all(name != PROFILES for name, _ in plan.problems):
        try:
            _move_profiles(plan, report, run)
        except DataverError as error:  # they can be made again
            report.problems.append((PROFILES, error.message))
    if plan.lineage is not None:
        sent = move_lineage(plan.source, plan.target, plan.lineage)
        report.events, report.attachments = sent.events, sent.attachments
        report.size += sent.size
        report.problems += sent.problems


def _move_profiles(plan: MovePlan, report: MoveReport, run: "_Transfer") -> None:
    objects, published = plan.profiles, report.versions
    if run.left_out:  # and what was planned for them
        there = [*plan.there, *published]
        objects = plan_profiles(plan.source, plan.target, there, whole=plan.choice.whole)
    report.profiles = move_profiles(plan.source, plan.target, objects, published)


class _Transfer:
    """State of a running transfer.

    Attributes:
        bad: blocks that cannot be complete in the target, and the object that is the cause.
        left_out: names of the versions that were not published.
        progress: receives packs and their bytes.
    """

    def __init__(self, plan: MovePlan, report: MoveReport, progress: Progress, hold: WriterHold) -> None:
        self.bad: dict[bytes, str] = {}
        self.left_out: set[str] = set()
        self.progress = progress
        self._plan, self._report, self._hold = plan, report, hold
        self._renewed = Stopwatch()
        self._sender = BlockSender(plan.source, plan.target)
        self._lost: set[bytes] = set()  # unreadable packs
        self._sent: set[bytes] = set()

    def batch(self, batch: Batch) -> None:
        """Send the objects of a batch, and publish its complete versions."""
        report = self._report
        sent, lost = send_packs(
            self._plan.source, self._plan.target, batch.packs, self.progress, self._renew_hold
        )
        self._sent |= sent.keys()
        self._lost |= lost.keys()
        report.packs += len(sent)
        report.size += sum(sent.values())
        report.problems += [(f"pack {pack.hex()}", why) for pack, why in sorted(lost.items())]
        unreadable = batch.needed.unreadable
        report.problems += [
            (f"tree block {digest.hex()}", why)
            for digest, why in sorted(unreadable.items())
            if digest not in self.bad
        ]
        self.bad |= {digest: f"tree block {digest.hex()}" for digest in unreadable}
        self._confirm(batch)
        self._mark_incomplete(batch)
        if any(map(is_external, set[bytes]().union(*batch.layouts.values()))):
            mark_external_layouts(self._plan.target.store, list_sweeps(self._plan.target.store))
        blocks = [digest for digest in batch.blocks if digest not in self.bad]
        count, size, failed = self._sender.send(blocks, batch.replaced)
        report.blocks += count
        report.size += size
        if failed:
            report.problems += [(f"tree block {digest.hex()}", why) for digest, why in sorted(failed.items())]
            self.bad |= {digest: f"tree block {digest.hex()}" for digest in failed}
        for version in batch.versions:
            self._publish(version)

    def _mark_incomplete(self, batch: Batch) -> None:
        """Mark the blocks that refer to missing objects, which are then not written."""
        for leaf, packs in batch.layouts.items() if self._lost else ():
            if missing := packs & self._lost:
                self.bad.setdefault(leaf, f"pack {min(missing).hex()}")
        if self.bad:
            for digest in reversed(batch.needed.inner):  # children first
                blame = next(
                    (self.bad[child] for child in batch.needed.inner[digest] if child in self.bad), None
                )
                if blame is not None:
                    self.bad.setdefault(digest, blame)

    def confirm_assumed(self) -> None:
        """Check that the versions whose blocks were assumed to exist are still published."""
        target = self._plan.target
        for dataset, label, expected in self._plan.near:
            found = target.records.read_back(dataset, label)
            if found is None or found.record_id != expected or target.records.tombstone(dataset, label):
                raise Conflict(f"{dataset}@{label} was deleted in {target.url} meanwhile.", hint="try again")

    def _renew_hold(self) -> None:
        """Renew the hold in a transfer that takes hours."""
        if self._renewed.seconds() > _RENEW:
            self._hold.renew()
            self._renewed = Stopwatch()

    def _confirm(self, batch: Batch) -> None:
        """Confirm the objects that the versions need and this transfer did not send."""
        store = self._plan.target.store
        packs = batch.relied_packs - self._sent
        gone = packs - packs_there(store, packs).keys()
        blocks = batch.relied_blocks - blocks_there(store, batch.relied_blocks).keys()
        reason = "was deleted in the target during the transfer"
        self._report.problems += [(f"pack {pack.hex()}", reason) for pack in sorted(gone)]
        self._report.problems += [(f"tree block {digest.hex()}", reason) for digest in sorted(blocks)]
        self._lost |= gone
        self.bad |= {digest: f"tree block {digest.hex()}" for digest in blocks}

    def _publish(self, version: Published) -> None:
        """Create the record unchanged, or report the reason why not."""
        plan, record = self._plan, version.record
        self._renew_hold()  # raises an error if this process was suspended until the hold expired
        reason = self._obstacle(version)
        if reason is None:
            try:
                raw = self._record(version)
            except (IntegrityError, FormatTooNew, NotFound) as error:
                reason = error.message
            else:
                if (
                    create_once(plan.target.store, record_key(record.dataset, record.label), raw)
                    is Outcome.WON
                ):
                    self._report.versions.append(version)
                    return
                reason = (
                    f"conflict: another version of that name was published meanwhile in {plan.target.url}"
                )
        self.left_out.add(version.ref)
        self._report.problems.append((version.ref, reason))

    def _record(self, version: Published) -> bytes:
        """Return the record's bytes, which may contain keys unknown to this dataver."""
        record = version.record
        raw = self._plan.source.store.get_bounded(record_key(record.dataset, record.label), MAX_JSON)
        if record_id(raw).hex() != version.record_id or parse_record(raw) != record:
            raise IntegrityError("its record was replaced meanwhile")
        return raw

    def _obstacle(self, version: Published) -> str | None:
        if not self.bad:
            return None
        try:
            hit = touches(self._plan.source, version.record.tree, self.bad)
        except DataverError as error:
            return error.message
        return None if hit is None else f"needs {self.bad[hit]}, which could not be transferred"


def copy_tombstone(source: RepositoryCore, target: RepositoryCore, dataset: str, label: str) -> bool:
    """Copy the tombstone of a version that the target never had, so that its label is not used there.

    Raises:
        IntegrityError: it is damaged, or belongs to another version.
        NotFound: no such tombstone.
    """
    key = tombstone_key(dataset, label)
    raw = source.store.get_bounded(key, MAX_JSON)
    found = parse_tombstone(raw)
    if (found.dataset, found.label) != (dataset, label):
        raise IntegrityError(f"{key} in {source.url} is the tombstone of {found.ref}.")
    return create_once(target.store, key, raw) is Outcome.WON


def check_moved(
    source: RepositoryCore, target: RepositoryCore, versions: Sequence[Published], progress: Progress
) -> tuple[int, list[tuple[str, str]]]:
    """Return the number of objects read from the target, and the findings.

    Args:
        source: the source of the versions.
        target: the repository to verify.
        versions: the versions expected in the target.
        progress: receives packs and their bytes.

    Raises:
        StoreError: a store cannot be reached.
    """
    findings: list[tuple[str, str]] = []
    for version in versions:
        key = record_key(version.record.dataset, version.record.label)
        try:
            same = target.store.get_bounded(key, MAX_JSON) == source.store.get_bounded(key, MAX_JSON)
        except NotFound as error:
            findings.append((version.ref, error.message))
        else:
            if not same:
                findings.append((version.ref, f"its record in {target.url} differs"))
    blocks, packs = _walk(target, {version.record.tree for version in versions}, findings)
    sizes = packs_there(target.store, packs)
    progress.start(len(packs), sum(sizes.values()))

    def check(pack: bytes) -> tuple[str, str] | None:
        try:
            progress.advance(1, len(read_pack(target.store, pack)))
        except (IntegrityError, FormatTooNew, NotFound) as error:
            return f"pack {pack.hex()}", f"in {target.url}: {error.message}"
        return None

    with parallel.pool(parallel.PACKS, "check") as pool:
        findings += [found for found in pool.map(check, sorted(packs)) if found is not None]
    return len(versions) + blocks + len(packs), findings


def _walk(
    target: RepositoryCore, roots: set[bytes], findings: list[tuple[str, str]]
) -> tuple[int, set[bytes]]:
    """Read the blocks below the roots; return their number and the packs in them."""

    def note(digest: bytes, error: IntegrityError | FormatTooNew) -> None:
        findings.append((f"tree block {digest.hex()}", f"in {target.url}: {error.message}"))

    packs: set[bytes] = set()
    count = -len(findings)
    for block in reach(target.store, roots, on_error=note):
        count += 1
        if not isinstance(block, Inner):
            packs |= block.packs()
    return count + len(findings), packs
