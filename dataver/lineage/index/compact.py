"""Compaction of old events into bundles, so that the events of a million runs can be listed.

The idea: plan, then execute. The plan contains the objects to replace; a bundle is written and read back
before the objects that it replaces are deleted (invariants 3 and 4). A crash in between leaves duplicate
events, which have no effect; two machines that bundle the same events write the same object. A reader that
finds an event missing lists again and finds the bundle.

Damaged objects and those of a newer dataver are not bundled, but reported. Recent events are not bundled,
since most readers read them one by one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from dataver import parallel
from dataver.errors import DataverError, IntegrityError, NotFound, StoreError
from dataver.formats.bundle import MAX_BUNDLE, MAX_BUNDLED
from dataver.progress import SILENT
from dataver.repository.layout import parse_event_key
from dataver.short_repr import short_repr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dataver.formats.event import Event
    from dataver.progress import Progress
    from dataver.repository import RepositoryCore
    from dataver.repository.events import Events
    from dataver.storage import ObjectInfo

__all__ = ["AGE", "CompactionPlan", "CompactionReport", "execute_compaction", "plan_compaction"]

AGE: Final = timedelta(days=3)  # longer than the period that pulls list again
_WORTH: Final = 50  # minimum number of objects in a month
_SMALL: Final = 512 << 10  # stored bytes up to which a bundle is merged into a larger one

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class CompactionPlan:
    """Plan of a compaction.

    Attributes:
        groups: the objects to bundle, by month, oldest first.
    """

    groups: list[list[ObjectInfo]] = field(default_factory=list)

    __repr__ = short_repr

    @property
    def objects(self) -> int:
        """Number of objects to replace."""
        return sum(map(len, self.groups))

    @property
    def size(self) -> int:
        """Their bytes."""
        return sum(info.size for group in self.groups for info in group)

    def lines(self) -> list[str]:
        """Return the plan as text: one line a month."""
        return [
            f"{group[0].key.split('/')[1]}: {len(group)} objects, {sum(info.size for info in group)} bytes"
            for group in self.groups
        ]


@dataclass
class CompactionReport:
    """Result of a compaction.

    Attributes:
        bundles: keys of the bundles written.
        deleted: number of objects replaced.
        problems: `(key, reason)` of objects that were not bundled.
    """

    bundles: list[str] = field(default_factory=list)
    deleted: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)

    __repr__ = short_repr


def plan_compaction(
    repo: RepositoryCore, *, older_than: timedelta = AGE, least: int = _WORTH, now: datetime | None = None
) -> CompactionPlan:
    """Return the plan of a compaction; read-only.

    Args:
        repo: the repository.
        older_than: minimum age of events, by their ids.
        least: minimum number of objects in a month.
        now: the current time; None reads the clock.
    """
    limit = ((now or datetime.now(UTC)) - older_than).timestamp() * 1000
    months: dict[str, list[ObjectInfo]] = {}
    for info in repo.events.list():
        key = parse_event_key(info.key)
        if key is None or int(key.id[:12], 16) > limit or (key.bundle and info.size > _SMALL):
            continue
        months.setdefault(info.key.split("/")[1], []).append(info)
    return CompactionPlan([group for _, group in sorted(months.items()) if len(group) >= max(least, 2)])


def execute_compaction(
    repo: RepositoryCore, plan: CompactionPlan, *, progress: Progress = SILENT
) -> CompactionReport:
    """Execute a plan; can be interrupted at any point and repeated.

    Raises:
        StoreError: the store cannot be reached or written; only bundled events were deleted.
    """
    report = CompactionReport()
    progress.start(plan.objects, plan.size)
    for group in plan.groups:
        gathered: dict[str, Event] = {}
        replaced: list[str] = []
        size = 0
        for info, events in _read(repo, group, report):
            fresh = {event.id: event for event in events}
            more = sum(len(event.encode()) + 1 for name, event in fresh.items() if name not in gathered)
            if any(gathered.get(name, event) != event for name, event in fresh.items()):
                report.problems.append((info.key, "it contradicts another event with the same id"))
                continue
            if gathered and (len(gathered) + len(fresh) > MAX_BUNDLED or size + more > MAX_BUNDLE):
                _bundle(repo.events, gathered, replaced, report)
                gathered, replaced, size = {}, [], 0
                more = sum(len(event.encode()) + 1 for event in fresh.values())
            gathered |= fresh
            size += more
            replaced.append(info.key)
            progress.advance(1, info.size)
        _bundle(repo.events, gathered, replaced, report)
    return report


def _bundle(
    events: Events, gathered: dict[str, Event], replaced: list[str], report: CompactionReport
) -> None:
    if len(replaced) < 2:
        return  # a bundle of one object has no benefit
    key = events.put_bundle(list(gathered.values()))
    there = {event.id: event for event in events.get(key)}
    if there != gathered:
        raise IntegrityError(f"the bundle {key} differs from what was written; nothing was deleted.")
    report.bundles.append(key)
    old = [each for each in replaced if each != key]
    events.delete(old)
    report.deleted += len(old)


def _read(
    repo: RepositoryCore, group: list[ObjectInfo], report: CompactionReport
) -> Iterator[tuple[ObjectInfo, list[Event]]]:
    def read(info: ObjectInfo) -> bytes | DataverError:
        try:
            return repo.events.read(info.key, info.size)
        except StoreError:
            raise
        except DataverError as error:
            return error

    for start in range(0, len(group), 4 * parallel.REQUESTS):
        some = group[start : start + 4 * parallel.REQUESTS]
        for info, data in zip(some, _in_parallel(read, some), strict=True):
            if isinstance(data, NotFound):
                continue  # another machine has bundled it
            try:
                if isinstance(data, DataverError):
                    raise data
                found = repo.events.parse(info.key, data)
            except DataverError as error:
                report.problems.append((info.key, error.message))
                continue
            if found.problems:
                report.problems.append((info.key, found.problems[0]))
            else:
                yield info, found.events


def _in_parallel(call: Callable[[T], R], items: list[T]) -> Iterator[R]:
    with parallel.pool(parallel.REQUESTS, "compact") as pool:
        yield from pool.map(call, items)
