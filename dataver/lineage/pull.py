"""Bringing the index up to date with its repository, a little or from nothing.

The idea: listings say what there is, the index says what it has read, and only the difference is read. Events
are listed from two days before the last pull on, since writers' clocks differ; once a day, all of them are,
for writers whose clocks are wrong. What cannot be read is left out by name and stops nothing.

A pull may end anywhere: what was read is in the index together with the note that it was (invariant 4). Two
pulls at once do each other's work and nothing worse. `rebuild` is a pull into an empty index, which then
takes the old one's place in one step (invariant 5).
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from dataver._about import __version__
from dataver.errors import DataverError, NotFound, StoreError
from dataver.formats.jsontext import format_time
from dataver.lineage import applying
from dataver.lineage.changes import fill_changes
from dataver.lineage.index import LineageIndex, default_path, publish_index
from dataver.progress import SILENT
from dataver.repository.layout import (
    DATASETS,
    parse_event_key,
    parse_record_key,
    parse_tag_key,
    record_key,
    tag_key,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from dataver.formats.event import Event
    from dataver.progress import Progress
    from dataver.repository import Repository
    from dataver.storage import ObjectInfo

__all__ = ["PullReport", "pull", "rebuild"]

_SLACK: Final = timedelta(days=2)  # by which writers' clocks may differ without anybody noticing
_FULL: Final = timedelta(days=1)  # how often everything is listed
_PARALLEL: Final = 16  # requests in flight
_WINDOW: Final = 64  # objects asked for before the first is taken
_LISTED: Final = 2_000  # keys compared with what was read at a time
_EVENTS: Final = 4_000  # events a transaction …
_BYTES: Final = 16 << 20  # … or bytes of their objects
_RECORDS: Final = 500  # records a transaction
_PASSES: Final = 3  # listings, while objects are bundled under our hands
_BEHIND: Final = "lineage/3"  # behind the keys of all events


@dataclass
class PullReport:
    """What a pull found.

    Attributes:
        versions: records that were new to the index.
        tags: tags that had moved.
        events: events read.
        full: whether everything was listed.
        problems: `(key, reason)` of what was left out, each time it is read; `LineageIndex.problems` has all.
        seconds: how long it took.
    """

    versions: int = 0
    tags: int = 0
    events: int = 0
    full: bool = False
    problems: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0

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
    repo: Repository,
    index: LineageIndex,
    *,
    full: bool = False,
    progress: Progress = SILENT,
    now: datetime | None = None,
) -> PullReport:
    """Read what is new in the repository into the index.

    Args:
        repo: the repository.
        index: its index.
        full: list all events, and read again what could not be read before.
        progress: told of objects and their bytes.
        now: the time; None asks the clock.

    Raises:
        StoreError: the store cannot be reached, or the index not be written; what was read stays.
        IntegrityError: the index is damaged.
    """
    began = time.perf_counter()
    moment = now or datetime.now(UTC)
    start = None if full else _start(index, moment)
    report = PullReport(full=start is None)
    if full or index.state("tool") != __version__:  # a newer dataver may read what this one could not
        with index.writing() as db:
            db.execute("DELETE FROM seen WHERE problem IS NOT NULL")
    _pull_versions(repo, index, report)
    for _ in range(_PASSES):
        if not _pull_events(repo, index, start, report, progress):
            break
        start = None  # something was bundled meanwhile: its bundle may stand anywhere
    _remember(index, moment, full=report.full)
    report.seconds = time.perf_counter() - began
    return report


def rebuild(
    repo: Repository,
    path: Path | None = None,
    *,
    changes: bool = True,
    progress: Progress = SILENT,
    now: datetime | None = None,
) -> PullReport:
    """Make the index anew from the repository, beside the old one, and put it in the old one's place.

    Args:
        repo: the repository.
        path: where the index is; None means this machine's usual place.
        changes: also fill what each version changes, which reads every tree.
        progress: told of objects, then of versions.
        now: the time; None asks the clock.

    Raises:
        StoreError: the store cannot be reached, or the index not be written; the old index stays.
    """
    began = time.perf_counter()
    index = LineageIndex.create(default_path(repo.id) if path is None else path)
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
    """Return the day from which on events are listed, or None where all are to be."""
    last, fully = (_time(index.state(name)) for name in ("pulled", "pulled_fully"))
    if last is None or fully is None or not fully <= now < fully + _FULL or last > now + _SLACK:
        return None
    with index.asking() as db:
        row: Any = db.execute("SELECT max(key) FROM seen WHERE key < ?", [_BEHIND]).fetchone()
    newest = parse_event_key(row[0] or "")
    day = last.date()
    if newest is not None:  # if our own clock was ahead, the newest event is not
        day = min(day, datetime.fromtimestamp(int(newest.id[:12], 16) / 1000, UTC).date())
    return max(day, date(1970, 1, 10)) - _SLACK


def _remember(index: LineageIndex, moment: datetime, *, full: bool) -> None:
    text = format_time(moment, "a pull")
    values = [("pulled", text), ("tool", __version__)]
    if full:
        values.append(("pulled_fully", text))
    with index.writing() as db:
        db.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", values)


def _pull_versions(repo: Repository, index: LineageIndex, report: PullReport) -> None:
    """Take in new records and moved tags; forget those that the repository no longer holds."""
    with index.asking() as db:  # before the listing: what is missing from it then is really gone
        known = {
            record_key(dataset, label): number
            for number, dataset, label in db.execute(
                "SELECT id, dataset, label FROM versions WHERE tree IS NOT NULL"
            )
        }
        moved = {(row[0], row[1]): row[2] for row in db.execute("SELECT dataset, tag, number FROM tags")}
    there: set[str] = set()
    fresh: list[tuple[str, str]] = []
    highest: dict[tuple[str, str], int] = {}
    for info in repo.store.list(DATASETS):
        if info.key in known:
            there.add(info.key)
        elif record := parse_record_key(info.key):
            fresh.append(record)
        elif tag := parse_tag_key(info.key):
            name = (tag.dataset, tag.tag)
            highest[name] = max(highest.get(name, 0), tag.number)
    for some in _batches(fresh, _RECORDS):
        found = [each for each in _many(repo, repo.records.get, some, report) if each is not None]
        index.apply_versions(found)
        report.versions += len(found)
    gone = sorted(number for key, number in known.items() if key not in there)
    if gone:
        with index.writing() as db:
            applying.drop_versions(db, gone)
    _pull_tags(repo, index, report, moved, highest)


def _pull_tags(
    repo: Repository,
    index: LineageIndex,
    report: PullReport,
    moved: dict[tuple[str, str], int],
    highest: dict[tuple[str, str], int],
) -> None:
    keys = {name: tag_key(*name, number) for name, number in highest.items()}
    removed = _seen_among(index, [key for name, key in keys.items() if name not in moved])
    wanted = sorted(
        (*name, number)
        for name, number in highest.items()
        if moved.get(name) != number and keys[name] not in removed
    )
    gone = sorted(moved.keys() - highest.keys())
    if not wanted and not gone:
        return
    moves = [move for move in _many(repo, repo.tags.read, wanted, report) if move is not None]
    with index.writing() as db:
        db.executemany("DELETE FROM tags WHERE dataset = ? AND tag = ?", gone)
        db.executemany(
            "DELETE FROM tags WHERE dataset = ? AND tag = ?", [(each.dataset, each.tag) for each in moves]
        )
        applying.put_tags(
            db, ((each.dataset, each.tag, each.record, each.number) for each in moves if each.record)
        )
        db.executemany(
            "INSERT OR REPLACE INTO seen VALUES (?, NULL)",
            [(keys[each.dataset, each.tag],) for each in moves],
        )
        applying.remove_orphans(db)
    report.tags += len(moves)


def _many(repo: Repository, get: Callable[..., Any], names: list[Any], report: PullReport) -> Iterator[Any]:
    """Yield what `get` returns for each name, None where it cannot be read; in parallel where that is far."""

    def safely(name: tuple[Any, ...]) -> Any:
        try:
            return get(*name)
        except NotFound:
            return None  # it was removed a moment ago
        except StoreError:
            raise
        except DataverError as error:
            report.problems.append(("@".join(map(str, name[:2])), error.message))
            return None

    yield from _mapped(repo, safely, names)


def _pull_events(
    repo: Repository, index: LineageIndex, start: date | None, report: PullReport, progress: Progress
) -> bool:
    """Read the events that the index lacks; tell whether any object was gone when it was asked for."""
    taker = _Taker(repo, index, report, progress)
    for info, data in _mapped_window(repo, taker.read, _unseen(repo, index, start, taker.expect)):
        taker.take(info, data)
    taker.flush()
    return taker.gone


class _Taker:
    """Gathers what objects hold until it is worth a transaction."""

    def __init__(self, repo: Repository, index: LineageIndex, report: PullReport, progress: Progress) -> None:
        self._repo, self._index, self._report, self._progress = repo, index, report, progress
        self._events: list[Event] = []
        self._seen: list[tuple[str, str | None]] = []
        self._bytes = self._objects = self._total = 0
        self.gone = False

    def expect(self, infos: list[ObjectInfo]) -> None:
        """Hear of objects that will be read."""
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

    def take(self, info: ObjectInfo, data: bytes | DataverError) -> None:
        """Take in an object."""
        problem = None
        if isinstance(data, NotFound):
            self.gone = True
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
        """Write what was gathered."""
        if self._seen:
            self._index.apply_batch(self._events, self._seen)
        self._report.events += len(self._events)
        self._events, self._seen, self._bytes = [], [], 0


def _unseen(
    repo: Repository, index: LineageIndex, start: date | None, expect: Callable[[list[ObjectInfo]], None]
) -> Iterator[ObjectInfo]:
    """Yield the objects with events that the index has not read; forget those that are bundled by now."""
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


def _seen_among(index: LineageIndex, keys: list[str]) -> set[str]:
    with index.asking() as db:
        found = (db.execute("SELECT key FROM seen WHERE key = ?", [key]).fetchone() for key in keys)
        return {row[0] for row in found if row}


def _forget(index: LineageIndex, keys: set[str]) -> None:
    if keys:
        with index.writing() as db:
            db.executemany("DELETE FROM seen WHERE key = ?", [(key,) for key in keys])


def _mapped(repo: Repository, call: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    return _mapped_window(repo, call, iter(items))


def _mapped_window(repo: Repository, call: Callable[[Any], Any], items: Iterator[Any]) -> Iterator[Any]:
    """Yield `call(item)` in order; several at a time where the store is not on this machine."""
    if repo.store.local_root is not None:
        yield from map(call, items)
        return
    from concurrent.futures import Future, ThreadPoolExecutor

    pool = ThreadPoolExecutor(_PARALLEL, thread_name_prefix="dataver-pull")
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
