"""Lineage on its way: events as they are, the attachments they speak of first.

With everything, every object of events that the target lacks is copied byte by byte. With some versions, the
events of the runs that touched one of them are: whole objects where all of their events are wanted, else a
bundle of those that are. Events only add up (`formats/event.py`), so one that arrives twice changes nothing.

Every object is compared with its name on the way (invariant 1); what cannot be read is named, and the rest is
moved.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from dataver.errors import DataverError, IntegrityError, NotFound
from dataver.formats.bundle import encode_attachment, encode_bundle
from dataver.formats.event import Event
from dataver.formats.jsontext import is_hex
from dataver.repository.layout import attachment_key, bundle_key, parse_event_key
from dataver.repository.moving.choosing import Choice
from dataver.repository.moving.holding import ASKING
from dataver.repository.publish import Outcome, create_once
from dataver.repository.repository import Repository
from dataver.storage import ObjectInfo

__all__ = ["LineagePlan", "LineageSent", "move_lineage", "plan_lineage"]

_ATTACHMENTS = "lineage/attachments/"


@dataclass
class LineagePlan:
    """The lineage that the target lacks.

    Attributes:
        objects: keys of events and bundles that are copied as they are, and their bytes.
        parts: bundles of which a part is copied, the ids of its events, and the bundle's bytes.
        attachments: names of attachments, and their bytes; 0 where nobody was asked.
        problems: what cannot be read, and why.
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
        """Bytes to send, at most."""
        return (
            sum(self.objects.values())
            + sum(self.attachments.values())
            + sum(size for _, size in self.parts.values())
        )


@dataclass
class LineageSent:
    """What was sent: objects of events, attachments, their bytes; and what was left out, and why."""

    events: int = 0
    attachments: int = 0
    size: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class _Spoken:
    """What an object of events says, as far as choosing needs it."""

    info: ObjectInfo
    events: list[tuple[str, str, bool]] = field(default_factory=list)  # id, run, whether it touches
    attachments: set[str] = field(default_factory=set)


def plan_lineage(source: Repository, target: Repository, choice: Choice) -> LineagePlan:
    """Return the events and attachments to move along with some versions."""
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
    with ThreadPoolExecutor(ASKING, thread_name_prefix="dataver-ask") as pool:
        answers = pool.map(lambda name: target.store.exists(attachment_key(name)), wanted)
        plan.attachments = {name: 0 for name, found in zip(wanted, answers, strict=True) if not found}
    return plan


def _choose(source: Repository, choice: Choice, plan: LineagePlan, theirs: set[str]) -> None:
    """Find the events of runs that touched one of the versions."""
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
    source: Repository, touching: Callable[[Event], bool], problems: list[tuple[str, str]]
) -> Iterator[_Spoken]:
    def read(info: ObjectInfo) -> _Spoken | tuple[str, str]:
        try:
            found = source.events.parse(info.key, source.events.read(info.key, info.size))
        except NotFound:
            return _Spoken(info)  # bundled meanwhile; the bundle is listed, or the next move finds it
        except DataverError as error:
            if getattr(error, "transient", False):
                raise
            return info.key, error.message
        spoken = _Spoken(info)
        for event in found.events:
            spoken.events.append((event.id, event.run.key, touching(event)))
            spoken.attachments.update(_attachments(event))
        return spoken

    with ThreadPoolExecutor(ASKING, thread_name_prefix="dataver-read") as pool:
        for found in pool.map(read, source.events.list()):
            if isinstance(found, tuple):
                problems.append(found)
            else:
                yield found


def _attachments(event: Event) -> set[str]:
    """Return the attachments that an event speaks of: lists of paths, and the run's uncommitted diff."""
    named = {link.subset.listed for link in event.links}
    git = event.run.facts.get("git")
    if isinstance(git, dict):
        named.add(git.get("diff"))
    return {name for name in named if isinstance(name, str) and is_hex(name, 64)}


def move_lineage(source: Repository, target: Repository, plan: LineagePlan) -> LineageSent:
    """Send what was planned, attachments first, so that no event speaks of what is not there.

    Raises:
        StoreError: a store failed; repeating it continues.
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
            return 0, None  # bundled meanwhile; the next move sends the bundle
        except DataverError as error:
            if getattr(error, "transient", False):
                raise
            return 0, error.message
        if create_once(target.store, key, data) is Outcome.LOST:
            parsed = parse_event_key(key)
            if parsed is None or not parsed.bundle:
                return 0, "the target holds another event of the same id"
            target.events.get(key)  # zstd may have written the same content differently
        return len(data), None

    def copy_part(key: str) -> tuple[int, str | None]:
        try:
            _, data, events = _part(source, key, plan.parts[key][0])
        except NotFound:
            return 0, None
        target.events.put_bundle(events)
        return len(data), None

    with ThreadPoolExecutor(ASKING, thread_name_prefix="dataver-lineage") as pool:
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
    """Send objects side by side; return how many were."""
    done = 0
    for name, (size, problem) in zip(names, pool.map(do, given), strict=True):
        if problem is not None:
            sent.problems.append((name, problem))
        elif size:
            done += 1
            sent.size += size
    return done


def _part(source: Repository, key: str, wanted: frozenset[str]) -> tuple[str, bytes, list[Event]]:
    found = source.events.parse(key, source.events.read(key))
    events = [event for event in found.events if event.id in wanted]
    return (*encode_bundle(events), events)
