"""Executing a move: packs, then blocks, then records, then tags, then lineage.

The idea: versions become visible a few at a time (`plan.Batch`), each only when everything it needs is in the
target (invariant 3). Whatever ends a move, at any moment, leaves published versions that are whole, and
packs and blocks that the next attempt finds and need not send again (invariant 4).

An object that the source cannot give is named; the versions that need it are left out, and all others are
moved (invariant 10). While a move writes, it has a hold on the target (`dataver.repository.keeping.holds`),
so no sweep deletes there; and once it has the hold, it asks again for what the target held when the plan was
made, before a record relies on it (invariant 5).
"""

import time
from dataclasses import dataclass, field

from dataver.errors import Conflict, DataverError, FormatTooNew, IntegrityError, NotFound
from dataver.formats.entry import is_external
from dataver.formats.record import parse_record, record_id
from dataver.formats.tombstone import parse_tombstone
from dataver.progress import SILENT, Progress
from dataver.repository.keeping.clock import Stopwatch
from dataver.repository.keeping.holds import Holding, holding, look_for_sweeps, note_external
from dataver.repository.layout import record_key, tombstone_key
from dataver.repository.moving.checking import check_moved
from dataver.repository.moving.holding import blocks_there, packs_there
from dataver.repository.moving.lineage import move_lineage
from dataver.repository.moving.needing import touches
from dataver.repository.moving.packs import BlockSender, send_packs
from dataver.repository.moving.plan import Batch, MovePlan
from dataver.repository.moving.tag_moves import move_tag
from dataver.repository.publish import Outcome, create_once
from dataver.repository.records import Published
from dataver.repository.repository import Repository

__all__ = ["MoveReport", "execute_move"]

_RENEW = 3600.0  # seconds after which the hold is renewed


@dataclass
class MoveReport:
    """What a move did.

    Attributes:
        versions: what it published in the target, oldest first.
        there: how many of the versions the target had already.
        packs: packs sent.
        blocks: tree blocks sent.
        tags: moves of tags written.
        tombstones: tombstones of deleted versions written.
        events: objects of lineage events written.
        attachments: attachments written.
        size: bytes sent.
        checked: objects of the target that were read and checked afterwards.
        problems: what was not moved, or is damaged, and why.
        seconds: how long it took.
    """

    versions: list[Published] = field(default_factory=list)
    there: int = 0
    packs: int = 0
    blocks: int = 0
    tags: int = 0
    tombstones: int = 0
    events: int = 0
    attachments: int = 0
    size: int = 0
    checked: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0


def execute_move(
    plan: MovePlan, *, author: str, verify: bool = False, progress: Progress = SILENT
) -> MoveReport:
    """Do what was planned; repeating it after an error does what is left, with a new plan.

    Args:
        plan: of `plan_move`.
        author: who moves tags.
        verify: read everything chosen back from the target afterwards, and check it.
        progress: told of packs and their bytes.

    Raises:
        Conflict: a sweep in the target does not end, or deleted what the plan relied on.
        StoreError: the target failed, or the source cannot be reached.
    """
    began = time.perf_counter()
    report = MoveReport(there=len(plan.there), problems=list(plan.problems))
    if not plan.empty:
        with holding(plan.target.store, None) as hold:
            hold.settle(lambda _found: None)
            _write(plan, report, _Run(plan, report, progress, hold), author)
    if verify:
        report.checked, found = check_moved(
            plan.source, plan.target, [*plan.there, *report.versions], progress
        )
        report.problems += found
    report.seconds = time.perf_counter() - began
    return report


def _write(plan: MovePlan, report: MoveReport, run: "_Run", author: str) -> None:
    run.confirm_near()
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
        except (Conflict, IntegrityError, NotFound) as error:
            report.problems.append((f"tag {tag.ref}", error.message))
    if plan.lineage is not None:
        sent = move_lineage(plan.source, plan.target, plan.lineage)
        report.events, report.attachments = sent.events, sent.attachments
        report.size += sent.size
        report.problems += sent.problems


class _Run:
    """A move under way.

    Attributes:
        bad: blocks that cannot be made whole in the target, and the object that is to blame.
        left_out: names of the versions that were not published.
        progress: told of packs and their bytes.
    """

    def __init__(self, plan: MovePlan, report: MoveReport, progress: Progress, hold: Holding) -> None:
        self.bad: dict[bytes, str] = {}
        self.left_out: set[str] = set()
        self.progress = progress
        self._plan, self._report, self._hold = plan, report, hold
        self._renewed = Stopwatch()
        self._sender = BlockSender(plan.source, plan.target)
        self._lost: set[bytes] = set()  # packs that could not be read
        self._sent: set[bytes] = set()

    def batch(self, batch: Batch) -> None:
        """Send what a batch needs, and publish those of its versions that are whole."""
        report = self._report
        sent, lost = send_packs(self._plan.source, self._plan.target, batch.packs, self.progress, self._beat)
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
        self._spread(batch)
        if any(map(is_external, set[bytes]().union(*batch.layouts.values()))):
            note_external(self._plan.target.store, look_for_sweeps(self._plan.target.store))
        blocks = [digest for digest in batch.blocks if digest not in self.bad]
        count, size, failed = self._sender.send(blocks, batch.replaced)
        report.blocks += count
        report.size += size
        if failed:
            report.problems += [(f"tree block {digest.hex()}", why) for digest, why in sorted(failed.items())]
            self.bad |= {digest: f"tree block {digest.hex()}" for digest in failed}
        for version in batch.versions:
            self._publish(version)

    def _spread(self, batch: Batch) -> None:
        """Mark the blocks that would lead to what is not there: they are not written."""
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

    def confirm_near(self) -> None:
        """Make sure that the versions whose blocks were taken to be there still are."""
        target = self._plan.target
        for dataset, label, expected in self._plan.near:
            found = target.records.read_back(dataset, label)
            if found is None or found.record_id != expected or target.records.tombstone(dataset, label):
                raise Conflict(f"{dataset}@{label} was deleted in {target.url} just now.", hint="begin again")

    def _beat(self) -> None:
        """Keep the hold alive in a move that takes hours."""
        if self._renewed.seconds() > _RENEW:
            self._hold.renew()
            self._renewed = Stopwatch()

    def _confirm(self, batch: Batch) -> None:
        """Ask again for what the versions rely on and this move did not send."""
        store = self._plan.target.store
        packs = batch.relied_packs - self._sent
        gone = packs - packs_there(store, packs).keys()
        blocks = batch.relied_blocks - blocks_there(store, batch.relied_blocks).keys()
        reason = "was in the target and is gone; somebody deletes there"
        self._report.problems += [(f"pack {pack.hex()}", reason) for pack in sorted(gone)]
        self._report.problems += [(f"tree block {digest.hex()}", reason) for digest in sorted(blocks)]
        self._lost |= gone
        self.bad |= {digest: f"tree block {digest.hex()}" for digest in blocks}

    def _publish(self, version: Published) -> None:
        """Create the record as it is in the source, or say why not."""
        plan, record = self._plan, version.record
        self._beat()  # raises where this process was away for so long that the hold may not have counted
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
                    f"conflict: somebody has just published another version of that name in {plan.target.url}"
                )
        self.left_out.add(version.ref)
        self._report.problems.append((version.ref, reason))

    def _record(self, version: Published) -> bytes:
        """Return the record's bytes, which may hold keys that this dataver does not know."""
        record = version.record
        raw = self._plan.source.store.get(record_key(record.dataset, record.label))
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
        return None if hit is None else f"needs {self.bad[hit]}, which could not be moved"


def copy_tombstone(source: Repository, target: Repository, dataset: str, label: str) -> bool:
    """Write the tombstone of a version that the target never had, so that its label is not used there.

    Raises:
        IntegrityError: it is damaged, or another version's.
        NotFound: there is none.
    """
    key = tombstone_key(dataset, label)
    raw = source.store.get(key)
    found = parse_tombstone(raw)
    if (found.dataset, found.label) != (dataset, label):
        raise IntegrityError(f"{key} in {source.url} is the tombstone of {found.ref}.")
    return create_once(target.store, key, raw) is Outcome.WON
