"""Update of the index from its repository: incremental, or a rebuild.

The idea: only objects that are listed in the repository and not recorded in the index are read. Events are
listed from two days before the last pull, since writers' clocks differ, and once a day completely, for
writers whose clocks are wrong. An unreadable object is reported and skipped.

A pull can be interrupted at any point: events are written to the index in one transaction with the keys of
their objects (invariant 4). Concurrent pulls only repeat work. `rebuild` is a pull into an empty index, which
then replaces the old one atomically (invariant 5).
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dataver import parallel
from dataver._about import __version__
from dataver.errors import DataverError, NotFound, StoreError
from dataver.formats.canonical_json import format_time
from dataver.lineage.index import event_rows
from dataver.lineage.index.changes import fill_changes
from dataver.lineage.index.event_rows import version_number
from dataver.lineage.index.index import LineageIndex, default_path, publish_index
from dataver.progress import SILENT
from dataver.repository.layout import (
    DATASETS,
    parse_event_key,
    parse_record_key,
    parse_tag_key,
    parse_tombstone_key,
    record_key,
)
from dataver.repository.records import Published
from dataver.short_repr import short_repr

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from dataver.formats.event import Event
    from dataver.formats.tombstone import Tombstone
    from dataver.progress import Progress
    from dataver.repository import RepositoryCore
    from dataver.repository.records import Listed
    from dataver.storage import ObjectInfo

__all__ = ["PullReport", "pull", "rebuild"]

_SLACK: Final = timedelta(days=2)  # tolerated difference of writers' clocks
_FULL: Final = timedelta(days=1)  # interval of complete listings
_WINDOW: Final = 64  # outstanding requests
_LISTED: Final = 2_000  # keys compared with the index at a time
_EVENTS: Final = 4_000  # events a transaction …
_BYTES: Final = 16 << 20  # … or bytes of their objects
_RECORDS: Final = 500  # records a transaction
_PASSES: Final = 3  # listings, if objects are bundled concurrently
_ABSENT: Final = "it is listed, but the store reports that it does not exist"
_BEHIND: Final = "lineage/3"  # sorts after the keys of all events


class _Known(NamedTuple):
    """A version in the index."""

    number: int
    deleted: bool


@dataclass
class PullReport:
    """Result of a pull.

    Attributes:
        versions: number of new records.
        tags: number of moved tags.
        events: number of events read.
        full: whether all events were listed.
        problems: `(key, reason)` of unreadable objects of this pull; `LineageIndex.problems` has all.
        seconds: duration.
    """

    versions: int = 0
    tags: int = 0
    events: int = 0
    full: bool = False
    problems: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0

    __repr__ = short_repr

    def values(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "events": self.events,
            "full": self.full,
            "problems": [{"key": key, "reason": reason} for key, reason in self.problems],
            "seconds": round(self.seconds, 3),
            "tags": self.tags,
            "versions": self.versions,
        }


def pull(
    repo: RepositoryCore,
    index: LineageIndex,
    *,
    full: bool = False,
    progress: Progress = SILENT,
    now: datetime | None = None,
) -> PullReport:
    """Read new objects of the repository into the index.

    Args:
        repo: the repository.
        index: its index.
        full: list all events, and read unreadable objects again.
        progress: receives objects and their bytes.
        now: the current time; None reads the clock.

    Raises:
        StoreError: the store cannot be reached, or the index not be written; what was read is kept.
        IntegrityError: the index is damaged.
    """
    began = time.perf_counter()
    moment = now or datetime.now(UTC)
    start = None if full else _start(index, moment)
    report = PullReport(full=start is None)
    if full or index.state("tool") != __version__:  # a newer dataver may read more objects
        with index.writing() as db:
            db.execute("DELETE FROM seen WHERE problem IS NOT NULL")
    _pull_versions(repo, index, report)
    before, absent = set[str](), set[str]()
    for _ in range(_PASSES):
        before, absent = absent, _pull_events(repo, index, start, report, progress)
        if not absent:
            break
        start = None  # objects were bundled meanwhile, and bundles can have any earlier key
    absent &= before  # a bundled object is not listed again
    report.problems += [(key, _ABSENT) for key in sorted(absent)]
    _remember(index, moment, full=report.full)
    if absent:
        with index.writing() as db:  # the next pull lists all events
            db.execute("DELETE FROM state WHERE name = 'pulled_fully'")
    report.seconds = time.perf_counter() - began
    return report


def rebuild(
    repo: RepositoryCore,
    path: Path | None = None,
    *,
    changes: bool = True,
    progress: Progress = SILENT,
    now: datetime | None = None,
) -> PullReport:
    """Build a new index from the repository and replace the old one.

    Args:
        repo: the repository.
        path: the path of the index; None means `default_path`.
        changes: also fill the changes of each version, which reads every tree.
        progress: receives objects, then versions.
        now: the current time; None reads the clock.

    Raises:
        StoreError: the store cannot be reached, or the index not be written; the old index is kept.
    """
    began = time.perf_counter()
    index = LineageIndex.create(default_path(repo.local_name) if path is None else path)
    try:
        report = pull(repo, index, full=True, progress=progress, now=now)
        if changes:
            report.problems += fill_changes(repo, index, progress=progress)
        with index.asking() as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        publish_index(index, replace=True)
    except BaseException:
        index.discard()
        raise
    index.close()
    report.seconds = time.perf_counter() - began
    return report


def _start(index: LineageIndex, now: datetime) -> date | None:
    """Return the day from which events are listed, or None for a complete listing."""
    last, fully = (_time(index.state(name)) for name in ("pulled", "pulled_fully"))
    if last is None or fully is None or not fully <= now < fully + _FULL or last > now + _SLACK:
        return None
    with index.asking() as db:
        row: Any = db.execute("SELECT max(key) FROM seen WHERE key < ?", [_BEHIND]).fetchone()
    newest = parse_event_key(row[0] or "")
    day = last.date()
    if newest is not None:  # earlier than `last` if this machine's clock was ahead
        day = min(day, datetime.fromtimestamp(int(newest.id[:12], 16) / 1000, UTC).date())
    return max(day, date(1970, 1, 10)) - _SLACK


def _remember(index: LineageIndex, moment: datetime, *, full: bool) -> None:
    text = format_time(moment, "a pull")
    values = [("pulled", text), ("tool", __version__)]
    if full:
        values.append(("pulled_fully", text))
    with index.writing() as db:
        db.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", values)


def _pull_versions(repo: RepositoryCore, index: LineageIndex, report: PullReport) -> None:
    """Add new records and moved tags; drop those that the repository no longer has.

    A restored repository may have another record or move under a known key. So keys are recorded with their
    stamps, and read again if the listing has another stamp.
    """
    with index.asking() as db:  # before the listing, so that a version missing from it was deleted
        known = {
            record_key(dataset, label): _Known(number, deleted is not None)
            for number, dataset, label, deleted in db.execute(
                "SELECT id, dataset, label, deleted FROM versions WHERE tree IS NOT NULL"
            )
        }
        tagged = set(db.execute("SELECT dataset, tag FROM tags"))
        seen = {row[0] for row in db.execute("SELECT key FROM seen WHERE key < 'lineage/'")}
    records: dict[str, Listed] = {}
    tombstones: dict[str, Listed] = {}  # by the key of the record
    highest: dict[tuple[str, str], tuple[int, ObjectInfo]] = {}
    for info in repo.store.list(DATASETS):
        if record := parse_record_key(info.key):
            records[info.key] = (*record, info)
        elif gone := parse_tombstone_key(info.key):
            tombstones[record_key(*gone)] = (*gone, info)
        elif tag := parse_tag_key(info.key):
            name = (tag.dataset, tag.tag)
            highest[name] = max(highest.get(name, (0, info)), (tag.number, info))
    versions = {key: (each, False) for key, each in records.items()}
    versions |= {
        key: (each, True) for key, each in tombstones.items()
    }  # overrides a record that still exists
    fresh = [
        each
        for key, each in versions.items()
        if key not in known or known[key].deleted != each[1] or _mark(each[0][2]) not in seen
    ]
    repo.records.prepare(listed for listed, deleted in fresh if not deleted)
    for some in _batches(fresh, _RECORDS):
        _pull_records(repo, index, report, some, known)
    lost = sorted(each.number for key, each in known.items() if key not in versions)
    if lost:
        with index.writing() as db:
            event_rows.drop_versions(db, lost)
    _pull_tags(repo, index, report, highest, seen, sorted(tagged - highest.keys()))
    infos = [each[2] for each, _ in versions.values()] + [info for _, info in highest.values()]
    _forget(index, seen - {_mark(info) for info in infos})


def _pull_records(
    repo: RepositoryCore,
    index: LineageIndex,
    report: PullReport,
    wanted: list[tuple[Listed, bool]],
    known: dict[str, _Known],
) -> None:
    """Add records and tombstones, which replace the records with the same names."""

    def get(listed: Listed, deleted: bool) -> Published | Tombstone:
        dataset, label, _ = listed
        try:
            if not deleted:
                return repo.records.get(*listed)
        except NotFound:
            pass  # the version was deleted meanwhile
        if (found := repo.records.tombstone(dataset, label)) is None:
            raise NotFound(_ABSENT)
        return found

    named = [(*each[0], each[1]) for each in wanted]
    found = _many(repo, lambda *name: get(name[:3], name[3]), named, report)
    read = [(each[0][2], one) for each, one in zip(wanted, found, strict=True) if one is not None]
    living = [each for _, each in read if isinstance(each, Published)]
    deleted = [each for _, each in read if not isinstance(each, Published)]
    names = [(each.record.dataset, each.record.label, each.record_id) for each in living]
    names += [(each.dataset, each.label, each.record) for each in deleted]
    before = {record: known.get(record_key(dataset, label)) for dataset, label, record in names}
    replaced = [was.number for record, was in before.items() if was and was.number != version_number(record)]
    with index.writing() as db:
        if replaced:
            event_rows.drop_versions(db, replaced)
        event_rows.add_versions(db, living)
        event_rows.add_tombstones(db, deleted)
        _record_seen(db, [_mark(info) for info, _ in read])
    report.versions += sum(before[each.record_id] is None for each in living) + len(replaced)


def _pull_tags(
    repo: RepositoryCore,
    index: LineageIndex,
    report: PullReport,
    highest: dict[tuple[str, str], tuple[int, ObjectInfo]],
    seen: set[str],
    gone: list[tuple[str, str]],
) -> None:
    wanted = sorted((*name, number) for name, (number, info) in highest.items() if _mark(info) not in seen)
    if not wanted and not gone:
        return
    moves = [move for move in _many(repo, repo.tags.read, wanted, report) if move is not None]
    with index.writing() as db:
        db.executemany("DELETE FROM tags WHERE dataset = ? AND tag = ?", gone)
        db.executemany(
            "DELETE FROM tags WHERE dataset = ? AND tag = ?", [(each.dataset, each.tag) for each in moves]
        )
        event_rows.put_tags(
            db, ((each.dataset, each.tag, each.record, each.number) for each in moves if each.record)
        )
        _record_seen(db, (_mark(highest[each.dataset, each.tag][1]) for each in moves))
        event_rows.remove_orphans(db)
    report.tags += len(moves)


def _mark(info: ObjectInfo | None) -> str:
    """Return the key under which a record or move is recorded in `seen`; empty if it has no stamp."""
    return f"{info.key}\n{info.stamp}" if info is not None and info.stamp else ""


def _record_seen(db: sqlite3.Connection, keys: Iterable[str]) -> None:
    db.executemany("INSERT OR REPLACE INTO seen VALUES (?, NULL)", [(key,) for key in keys if key])


def _many(
    repo: RepositoryCore, get: Callable[..., Any], names: list[Any], report: PullReport
) -> Iterator[Any]:
    """Yield `get(*name)` for each name, None if unreadable; concurrently for a remote store."""

    def safely(name: tuple[Any, ...]) -> Any:
        try:
            return get(*name)
        except StoreError:
            raise
        except DataverError as error:
            reason = _ABSENT if isinstance(error, NotFound) else error.message
            report.problems.append(("@".join(map(str, name[:2])), reason))
            return None

    yield from _mapped(repo, safely, names)


def _pull_events(
    repo: RepositoryCore, index: LineageIndex, start: date | None, report: PullReport, progress: Progress
) -> set[str]:
    """Read the events that the index lacks; return the keys of listed objects that do not exist."""
    batch = _EventBatch(repo, index, report, progress)
    for info, data in _mapped_window(repo, batch.read, _unseen(repo, index, start, batch.expect)):
        batch.add(info, data)
    batch.flush()
    return batch.absent


class _EventBatch:
    """Collects events into transactions of a minimum size."""

    def __init__(
        self, repo: RepositoryCore, index: LineageIndex, report: PullReport, progress: Progress
    ) -> None:
        self._repo, self._index, self._report, self._progress = repo, index, report, progress
        self._events: list[Event] = []
        self._seen: list[tuple[str, str | None]] = []
        self._bytes = self._objects = self._total = 0
        self.absent = set[str]()

    def expect(self, infos: list[ObjectInfo]) -> None:
        """Add objects to the totals of the progress."""
        self._objects += len(infos)
        self._total += sum(info.size for info in infos)
        self._progress.start(self._objects, self._total)

    def read(self, info: ObjectInfo) -> tuple[ObjectInfo, bytes | DataverError]:
        """Return an object's bytes; runs in several threads."""
        try:
            return info, self._repo.events.read(info.key, info.size)
        except StoreError:
            raise
        except DataverError as error:
            return info, error

    def add(self, info: ObjectInfo, data: bytes | DataverError) -> None:
        """Add the events of an object."""
        problem = None
        if isinstance(data, NotFound):
            self.absent.add(info.key)
            return
        try:
            if isinstance(data, DataverError):
                raise data
            found = self._repo.events.parse(info.key, data)
        except DataverError as error:
            problem = error.message
        else:
            self._events += found.events
            if found.problems:
                problem = f"{info.key}: {'; '.join(found.problems[:3])}"
        if problem is not None:
            self._report.problems.append((info.key, problem))
        self._seen.append((info.key, problem))
        self._bytes += info.size
        self._progress.advance(1, info.size)
        if len(self._events) >= _EVENTS or self._bytes >= _BYTES or len(self._seen) >= _EVENTS:
            self.flush()

    def flush(self) -> None:
        """Write the collected events."""
        if self._seen:
            self._index.apply_batch(self._events, self._seen)
        self._report.events += len(self._events)
        self._events, self._seen, self._bytes = [], [], 0


def _unseen(
    repo: RepositoryCore, index: LineageIndex, start: date | None, expect: Callable[[list[ObjectInfo]], None]
) -> Iterator[ObjectInfo]:
    """Yield the event objects that the index has not read; drop the keys of bundled ones."""
    listing = repo.events.list(start)
    behind = ""
    while chunk := list(islice(listing, _LISTED)):
        last = chunk[-1].key
        seen = _seen_between(index, chunk[0].key if start else behind, last)
        fresh = [info for info in chunk if info.key not in seen]
        if start is None:
            _forget(index, seen - {info.key for info in chunk})
        behind = last
        if fresh:
            expect(fresh)
        yield from fresh
    if start is None:
        _forget(index, _seen_between(index, behind, _BEHIND) - {behind})


def _seen_between(index: LineageIndex, first: str, last: str) -> set[str]:
    with index.asking() as db:
        rows = db.execute(
            "SELECT key FROM seen WHERE key >= ? AND key <= ? AND key > 'lineage/'", [first, last]
        )
        return {row[0] for row in rows}


def _forget(index: LineageIndex, keys: set[str]) -> None:
    if keys:
        with index.writing() as db:
            db.executemany("DELETE FROM seen WHERE key = ?", [(key,) for key in keys])


def _mapped(repo: RepositoryCore, call: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    return _mapped_window(repo, call, iter(items))


def _mapped_window(repo: RepositoryCore, call: Callable[[Any], Any], items: Iterator[Any]) -> Iterator[Any]:
    """Yield `call(item)` in order; concurrently for a remote store."""
    if repo.store.local_root is not None:
        yield from map(call, items)
        return

    pool = parallel.pool(parallel.REQUESTS, "pull")
    waiting: deque[Future[Any]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(call, item))
            if len(waiting) >= _WINDOW:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
