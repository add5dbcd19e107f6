"""Bundling old events, so that a million runs stay listable.

The idea: plan, then execute. The plan names the objects and how many would take their place; a bundle is
written and read back before anything it replaces is deleted (invariants 3 and 4). A crash in between leaves
events twice, which changes nothing; two machines that bundle the same events make the same object. A reader
that finds an event gone lists again and finds the bundle.

Only what can be read without any doubt is bundled: damaged objects and those of a newer dataver stay where
they are and are named. Young events stay too, since most readers look for them one by one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from dataver.errors import DataverError, IntegrityError, NotFound, StoreError
from dataver.formats.bundle import MAX_BUNDLE, MAX_BUNDLED
from dataver.progress import SILENT
from dataver.repository.layout import parse_event_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dataver.formats.event import Event
    from dataver.progress import Progress
    from dataver.repository import Repository
    from dataver.repository.events import Events
    from dataver.storage import ObjectInfo

__all__ = ["AGE", "CompactionPlan", "CompactionReport", "execute_compaction", "plan_compaction"]

AGE: Final = timedelta(days=3)  # longer than readers look back
_WORTH: Final = 50  # objects of one month, below which nothing is gained
_SMALL: Final = 512 << 10  # stored bytes of a bundle that is put into a larger one
_PARALLEL: Final = 16

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class CompactionPlan:
    """What would be bundled.

    Attributes:
        groups: the objects of each month, oldest first.
    """

    groups: list[list[ObjectInfo]] = field(default_factory=list)

    @property
    def objects(self) -> int:
        """How many objects would be replaced."""
        return sum(map(len, self.groups))

    @property
    def size(self) -> int:
        """Their bytes."""
        return sum(info.size for group in self.groups for info in group)

    def lines(self) -> list[str]:
        """Return the plan for a person: one line a month."""
        return [
            f"{group[0].key.split('/')[1]}: {len(group)} objects, {sum(info.size for info in group)} bytes"
            for group in self.groups
        ]


@dataclass
class CompactionReport:
    """What was done.

    Attributes:
        bundles: keys written.
        deleted: objects that they replaced.
        problems: `(key, reason)` of objects that were left as they are.
    """

    bundles: list[str] = field(default_factory=list)
    deleted: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)


def plan_compaction(
    repo: Repository, *, older_than: timedelta = AGE, least: int = _WORTH, now: datetime | None = None
) -> CompactionPlan:
    """Return which objects are worth bundling; nothing is changed.

    Args:
        repo: the repository.
        older_than: events younger than this, by their ids, stay.
        least: objects a month has to have for it to be worth anything.
        now: the time; None asks the clock.
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
    repo: Repository, plan: CompactionPlan, *, progress: Progress = SILENT
) -> CompactionReport:
    """Carry out a plan; may be interrupted and repeated at any point.

    Raises:
        StoreError: the store cannot be reached or written; nothing that was not bundled is gone.
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
                report.problems.append((info.key, "it contradicts another event of the same id"))
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
        return  # one object would take the place of one
    key = events.put_bundle(list(gathered.values()))
    there = {event.id: event for event in events.get(key)}
    if there != gathered:
        raise IntegrityError(f"the bundle {key} does not hold what was written; nothing was deleted.")
    report.bundles.append(key)
    old = [each for each in replaced if each != key]
    list(_in_parallel(events.delete, old))
    report.deleted += len(old)


def _read(
    repo: Repository, group: list[ObjectInfo], report: CompactionReport
) -> Iterator[tuple[ObjectInfo, list[Event]]]:
    def read(info: ObjectInfo) -> bytes | DataverError:
        try:
            return repo.events.read(info.key, info.size)
        except StoreError:
            raise
        except DataverError as error:
            return error

    for start in range(0, len(group), 4 * _PARALLEL):
        some = group[start : start + 4 * _PARALLEL]
        for info, data in zip(some, _in_parallel(read, some), strict=True):
            if isinstance(data, NotFound):
                continue  # another machine is bundling, too
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
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="dataver-compact") as pool:
        yield from pool.map(call, items)
