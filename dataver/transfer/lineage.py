"""Transfer of lineage: attachments first, then the events that refer to them.

In a transfer of all versions, all event objects that the target lacks are copied unchanged. In a transfer of
some versions, the events of the runs that are linked to one of them are copied: an object unchanged if all of
its events are selected, else a bundle of the selected ones. Events only add facts (`formats/event.py`), so a
repeated one has no effect.

Every object is compared with its name (invariant 1); an unreadable one is reported, and the rest is copied.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from dataver import parallel
from dataver.errors import DataverError, IntegrityError, NotFound
from dataver.formats.bundle import encode_attachment, encode_bundle
from dataver.formats.canonical_json import is_hex
from dataver.formats.event import Event
from dataver.repository.create_once import Outcome, create_once
from dataver.repository.layout import attachment_key, bundle_key, parse_event_key
from dataver.repository.repository import RepositoryCore
from dataver.storage import ObjectInfo
from dataver.transfer.selection import Choice

__all__ = ["LineagePlan", "LineageSent", "move_lineage", "plan_lineage"]

_ATTACHMENTS = "lineage/attachments/"


@dataclass
class LineagePlan:
    """The lineage that the target lacks.

    Attributes:
        objects: keys of events and bundles that are copied unchanged, and their bytes.
        parts: keys of bundles copied in part, the ids of the selected events, and the bundle's bytes.
        attachments: names of attachments, and their bytes; 0 if unknown.
        problems: unreadable objects, and the reasons.
    """

    objects: dict[str, int] = field(default_factory=dict)
    parts: dict[str, tuple[frozenset[str], int]] = field(default_factory=dict)
    attachments: dict[str, int] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Objects to send."""
        return len(self.objects) + len(self.parts) + len(self.attachments)

    @property
    def size(self) -> int:
        """Upper bound of the bytes to send."""
        return (
            sum(self.objects.values())
            + sum(self.attachments.values())
            + sum(size for _, size in self.parts.values())
        )


@dataclass
class LineageSent:
    """Number of sent event objects and attachments, their bytes, and the objects left out with reasons."""

    events: int = 0
    attachments: int = 0
    size: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class _EventSummary:
    """The attributes of an event object by which events are selected."""

    info: ObjectInfo
    events: list[tuple[str, str, bool]] = field(default_factory=list)  # id, run, whether it is linked
    attachments: set[str] = field(default_factory=set)


def plan_lineage(source: RepositoryCore, target: RepositoryCore, choice: Choice) -> LineagePlan:
    """Return the events and attachments to transfer with the selected versions."""
    plan = LineagePlan()
    theirs = set(target.events.keys())
    if choice.whole:
        plan.objects = {info.key: info.size for info in source.events.list() if info.key not in theirs}
        there = {info.key for info in target.store.list(_ATTACHMENTS)}
        for info in source.store.list(_ATTACHMENTS):
            name = info.key.rpartition("/")[2]
            if is_hex(name, 64) and info.key == attachment_key(name) and info.key not in there:
                plan.attachments[name] = info.size
        return plan
    _choose(source, choice, plan, theirs)
    wanted = sorted(plan.attachments)
    with parallel.pool(parallel.REQUESTS, "ask") as pool:
        answers = pool.map(lambda name: target.store.exists(attachment_key(name)), wanted)
        plan.attachments = {name: 0 for name, found in zip(wanted, answers, strict=True) if not found}
    return plan


def _choose(source: RepositoryCore, choice: Choice, plan: LineagePlan, theirs: set[str]) -> None:
    """Select the events of runs that are linked to one of the versions."""
    trees = {version.record.tree.hex() for version in choice.versions}
    records = {version.record_id for version in choice.versions}
    writes = {version.record.write_id for version in choice.versions}

    def touching(event: Event) -> bool:
        return any(
            link.tree in trees or link.record in records or (link.write_id or "") in writes
            for link in event.links
        )

    spoken = list(_spoken(source, touching, plan.problems))
    runs = {run for each in spoken for _, run, touches in each.events if touches}
    for each in spoken:
        wanted = frozenset(name for name, run, _ in each.events if run in runs)
        if not wanted:
            continue
        plan.attachments.update(dict.fromkeys(each.attachments, 0))
        if len(wanted) < len(each.events):
            if bundle_key(_part(source, each.info.key, wanted)[0]) not in theirs:
                plan.parts[each.info.key] = (wanted, each.info.size)
        elif each.info.key not in theirs:
            plan.objects[each.info.key] = each.info.size


def _spoken(
    source: RepositoryCore, touching: Callable[[Event], bool], problems: list[tuple[str, str]]
) -> Iterator[_EventSummary]:
    def read(info: ObjectInfo) -> _EventSummary | tuple[str, str]:
        try:
            found = source.events.parse(info.key, source.events.read(info.key, info.size))
        except NotFound:
            return _EventSummary(
                info
            )  # bundled meanwhile; the bundle is in this listing, or the next transfer copies it
        except DataverError as error:
            if getattr(error, "transient", False):
                raise
            return info.key, error.message
        spoken = _EventSummary(info)
        for event in found.events:
            spoken.events.append((event.id, event.run.key, touching(event)))
            spoken.attachments.update(_attachments(event))
        return spoken

    with parallel.pool(parallel.REQUESTS, "read") as pool:
        for found in pool.map(read, source.events.list()):
            if isinstance(found, tuple):
                problems.append(found)
            else:
                yield found


def _attachments(event: Event) -> set[str]:
    """Return the attachments that an event refers to: lists of paths, and the run's uncommitted diff."""
    named = {link.subset.listed for link in event.links}
    git = event.run.facts.get("git")
    if isinstance(git, dict):
        named.add(git.get("diff"))
    return {name for name in named if isinstance(name, str) and is_hex(name, 64)}


def move_lineage(source: RepositoryCore, target: RepositoryCore, plan: LineagePlan) -> LineageSent:
    """Execute a plan, attachments first, so that no event refers to a missing one.

    Raises:
        StoreError: a store failed; a repeated call continues.
    """
    sent = LineageSent(problems=list(plan.problems))

    def attach(name: str) -> tuple[int, str | None]:
        try:
            raw = source.events.attachment(name)
        except (IntegrityError, NotFound) as error:
            return 0, error.message
        data = encode_attachment(raw)
        target.store.put_new(attachment_key(name), data)
        return len(data), None

    def copy(key: str) -> tuple[int, str | None]:
        try:
            data = source.events.read(key)
            source.events.parse(key, data)
        except NotFound:
            return 0, None  # bundled meanwhile; the next transfer copies the bundle
        except DataverError as error:
            if getattr(error, "transient", False):
                raise
            return 0, error.message
        if create_once(target.store, key, data) is Outcome.LOST:
            parsed = parse_event_key(key)
            if parsed is None or not parsed.bundle:
                return 0, "the target has another event with the same id"
            target.events.get(key)  # zstd output may differ for equal content
        return len(data), None

    def copy_part(key: str) -> tuple[int, str | None]:
        try:
            _, data, events = _part(source, key, plan.parts[key][0])
        except NotFound:
            return 0, None
        target.events.put_bundle(events)
        return len(data), None

    with parallel.pool(parallel.REQUESTS, "lineage") as pool:
        sent.attachments = _run(
            pool, attach, [attachment_key(name) for name in plan.attachments], list(plan.attachments), sent
        )
        sent.events = _run(pool, copy, list(plan.objects), list(plan.objects), sent)
        sent.events += _run(pool, copy_part, list(plan.parts), list(plan.parts), sent)
    return sent


def _run(
    pool: ThreadPoolExecutor,
    do: Callable[[str], tuple[int, str | None]],
    names: list[str],
    given: list[str],
    sent: LineageSent,
) -> int:
    """Send objects concurrently; return their number."""
    done = 0
    for name, (size, problem) in zip(names, pool.map(do, given), strict=True):
        if problem is not None:
            sent.problems.append((name, problem))
        elif size:
            done += 1
            sent.size += size
    return done


def _part(source: RepositoryCore, key: str, wanted: frozenset[str]) -> tuple[str, bytes, list[Event]]:
    found = source.events.parse(key, source.events.read(key))
    events = [event for event in found.events if event.id in wanted]
    return (*encode_bundle(events), events)
