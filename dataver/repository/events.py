"""Lineage events of a repository, alone or in bundles, and what is attached to them.

One idea: every object is written once, exclusively, and never changed; what it says only adds up
(`formats/event.py`), so who reads need not know in which order things were written. A bundle says again what
its events said; only then are they deleted, and a reader that finds a key gone lists again.

Keeps invariants 1 (objects are bounded before they are read and compared with their names) and 2. Which
events matter, and what follows from them, is for `dataver.lineage`.
"""

from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

from dataver.errors import Conflict, DataverError, FormatTooNew, IntegrityError, InvalidInput, NotFound
from dataver.formats.bundle import (
    MAX_ATTACHMENT,
    MAX_BUNDLE,
    attachment_digest,
    encode_attachment,
    encode_bundle,
    parse_attachment,
    parse_bundle,
)
from dataver.formats.event import Event, parse_event
from dataver.formats.jsontext import MAX_SIZE, is_hex
from dataver.repository.layout import (
    EVENT_PREFIXES,
    attachment_key,
    bundle_key,
    event_key,
    events_after,
    parse_event_key,
)
from dataver.repository.publish import Outcome, create_once
from dataver.storage import ObjectInfo, Store

__all__ = ["EventObject", "Events"]

_MORE = 1 << 16  # that zstd may make of bytes it cannot compress


class EventObject(NamedTuple):
    """What an object holds.

    Attributes:
        events: what could be read.
        problems: one sentence about each part that could not.
    """

    events: list[Event]
    problems: list[str]


class Events:
    """The events of one repository."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, event: Event) -> str:
        """Write an event and return its key; writing it again changes nothing.

        Raises:
            InvalidInput: the event holds what no event can.
            Conflict: there is another event of that id.
            StoreError: the store failed, and the same call may be made again.
        """
        return self._create(event_key(event.id), event.encode())

    def put_bundle(self, events: list[Event]) -> str:
        """Write many events as one object and return its key; writing it again changes nothing.

        Raises:
            InvalidInput: none, or more than a bundle may hold.
            StoreError: the store failed, and the same call may be made again.
        """
        name, data = encode_bundle(events)
        key = bundle_key(name)
        if create_once(self._store, key, data) is Outcome.LOST:
            self.get(key)  # zstd may have written the same content differently: what counts is that it reads
        return key

    def get(self, key: str) -> list[Event]:
        """Return the events in an object.

        Raises:
            NotFound: no such key; the event may be in a bundle by now.
            IntegrityError: it is no event or bundle of that name, or a part of it is none; names the key.
            FormatTooNew: a newer dataver wrote it.
        """
        found = self.parse(key, self.read(key))
        if found.problems:
            raise IntegrityError(f"{key} in {self._store.url} is damaged: {found.problems[0]}.")
        return found.events

    def read(self, key: str, size: int | None = None) -> bytes:
        """Return the bytes of an object, never more than an event or a bundle may have.

        Args:
            key: an event or a bundle.
            size: what a listing said; None asks the store.

        Raises:
            NotFound: no such key.
            IntegrityError: it is too long.
        """
        parsed = parse_event_key(key)
        if parsed is None:
            raise InvalidInput(f"{key[:200]!r} is not the key of an event.")
        return self._bounded(key, MAX_BUNDLE + _MORE if parsed.bundle else MAX_SIZE, size)

    def parse(self, key: str, data: bytes) -> EventObject:
        """Return what the bytes of an object hold.

        Raises:
            IntegrityError: no event or bundle of that name; names the key.
            FormatTooNew: a newer dataver wrote it.
        """
        parsed = parse_event_key(key)
        try:
            if parsed is None or key != (bundle_key if parsed.bundle else event_key)(parsed.id):
                raise IntegrityError("its time is not of that month")
            if parsed.bundle:
                return EventObject(*parse_bundle(data, parsed.id))
            event = parse_event(data)
            if event.id != parsed.id:
                raise IntegrityError(f"it is the event {event.id}")
        except FormatTooNew as error:
            raise FormatTooNew(f"{key} in {self._store.url}: {error.message}.", hint=error.hint) from error
        except DataverError as error:
            raise IntegrityError(f"{key} in {self._store.url} is damaged: {error.message}.") from error
        return EventObject([event], [])

    def list(self, after_day: date | None = None) -> Iterator[ObjectInfo]:
        """Yield the objects that hold events, oldest key first; `after_day` leaves out those before it."""
        after = None if after_day is None else events_after(after_day)
        for prefix in EVENT_PREFIXES:
            if after is not None and after > f"{prefix}~":
                continue
            for info in self._store.list(prefix, after=after):
                if parse_event_key(info.key):
                    yield info

    def keys(self, after_day: date | None = None) -> Iterator[str]:
        """Yield the keys that `list` yields the objects of."""
        return (info.key for info in self.list(after_day))

    def delete(self, key: str) -> None:
        """Remove an object whose events a bundle holds; a missing one is no error."""
        if parse_event_key(key) is None:
            raise InvalidInput(f"{key[:200]!r} is not the key of an event.")
        self._store.delete(key)

    def attach(self, raw: bytes) -> str:
        """Keep bytes that an event speaks of and return their name, 64 hex; equal bytes are kept once.

        Raises:
            InvalidInput: they are more than 16 MiB.
        """
        digest = attachment_digest(raw)
        self._store.put_new(attachment_key(digest), encode_attachment(raw))
        return digest

    def attachment(self, digest: str) -> bytes:
        """Return the bytes of that name.

        Raises:
            NotFound: they are not there.
            IntegrityError: others are there, or no attachment can have that name.
        """
        if not is_hex(digest, 64):
            raise IntegrityError(f"{digest[:80]!r} does not name an attachment.")
        key = attachment_key(digest)
        data = self._bounded(key, MAX_ATTACHMENT + _MORE, None)
        try:
            return parse_attachment(data, digest)
        except IntegrityError as error:
            raise IntegrityError(f"{key} in {self._store.url} is damaged: {error.message}.") from error

    def _create(self, key: str, data: bytes) -> str:
        if create_once(self._store, key, data) is Outcome.LOST:
            raise Conflict(
                f"{key} in {self._store.url} holds another event of the same id.",
                hint="events are never overwritten; write this one under a new id",
            )
        return key

    def _bounded(self, key: str, most: int, size: int | None) -> bytes:
        try:
            if size is not None and size <= most:
                return self._store.get(key, 0, size)
            if size is None:
                data, size = self._store.get_tail(key, most)
                if size <= most:
                    return data
        except NotFound as error:
            raise NotFound(f"there is no {key} in {self._store.url}.") from error
        raise IntegrityError(f"{key} in {self._store.url} has {size} bytes; {most} is the most.")
