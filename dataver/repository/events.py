"""Lineage events of a repository, single or in bundles, and their attachments.

The idea: every object is created once, exclusively, and never changed. Events only add facts
(`formats/event.py`), so their order does not matter to readers. A bundle repeats its events, which are
deleted only afterwards; a reader that finds a key missing lists again.

Keeps invariants 1 (sizes are limited before objects are read, and contents compared with names) and 2. Does
not interpret events: `dataver.lineage` does.
"""

from collections.abc import Iterator, Sequence
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
from dataver.formats.canonical_json import MAX_JSON, is_hex
from dataver.formats.event import Event, parse_event
from dataver.repository.create_once import Outcome, create_once
from dataver.repository.layout import (
    EVENT_PREFIXES,
    attachment_key,
    bundle_key,
    event_key,
    events_after,
    parse_event_key,
)
from dataver.storage import ObjectInfo, Store

__all__ = ["EventObject", "Events"]

_MORE = 1 << 16  # overhead of zstd for incompressible bytes


class EventObject(NamedTuple):
    """The events in an object.

    Attributes:
        events: the readable events.
        problems: one sentence for each unreadable part.
    """

    events: list[Event]
    problems: list[str]


class Events:
    """The events of one repository."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, event: Event) -> str:
        """Write an event and return its key; idempotent.

        Raises:
            InvalidInput: the event is not valid.
            Conflict: another event has the same id.
            StoreError: the store failed; the same call can be repeated.
        """
        return self._create(event_key(event.id), event.encode())

    def put_bundle(self, events: list[Event]) -> str:
        """Write many events as one object and return its key; idempotent.

        Raises:
            InvalidInput: no events, or too many for a bundle.
            StoreError: the store failed; the same call can be repeated.
        """
        name, data = encode_bundle(events)
        key = bundle_key(name)
        if create_once(self._store, key, data) is Outcome.LOST:
            self.get(key)  # zstd output may differ for equal content: only check that it is readable
        return key

    def get(self, key: str) -> list[Event]:
        """Return the events in an object.

        Raises:
            NotFound: no such key; the event may have been moved to a bundle.
            IntegrityError: it is not the event or bundle of that name, or is damaged in part.
            FormatTooNew: a newer dataver wrote it.
        """
        found = self.parse(key, self.read(key))
        if found.problems:
            raise IntegrityError(f"{key} in {self._store.url} is damaged: {found.problems[0]}.")
        return found.events

    def read(self, key: str, size: int | None = None) -> bytes:
        """Return the bytes of an object, up to the size limit of its kind.

        Args:
            key: an event or a bundle.
            size: its size from a listing; None requests it from the store.

        Raises:
            NotFound: no such key.
            IntegrityError: it is too large.
        """
        parsed = parse_event_key(key)
        if parsed is None:
            raise InvalidInput(f"{key[:200]!r} is not the key of an event.")
        return self._bounded(key, MAX_BUNDLE + _MORE if parsed.bundle else MAX_JSON, size)

    def parse(self, key: str, data: bytes) -> EventObject:
        """Parse the bytes of an object.

        Raises:
            IntegrityError: they are not the event or bundle of that name.
            FormatTooNew: a newer dataver wrote it.
        """
        parsed = parse_event_key(key)
        try:
            if parsed is None or key != (bundle_key if parsed.bundle else event_key)(parsed.id):
                raise IntegrityError("its time is not in that month")
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
        """Yield the objects with events, oldest key first; with `after_day`, only that day and later."""
        after = None if after_day is None else events_after(after_day)
        for prefix in EVENT_PREFIXES:
            if after is not None and after > f"{prefix}~":
                continue
            for info in self._store.list(prefix, after=after):
                if parse_event_key(info.key):
                    yield info

    def keys(self, after_day: date | None = None) -> Iterator[str]:
        """Yield the keys of the objects that `list` yields."""
        return (info.key for info in self.list(after_day))

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects whose events are in a bundle; a missing one is not an error.

        Raises:
            StoreError: the store refuses to delete one, or failed.
        """
        for key in keys:
            if parse_event_key(key) is None:
                raise InvalidInput(f"{key[:200]!r} is not the key of an event.")
        for error in self._store.delete_many(keys).values():
            raise error

    def attach(self, raw: bytes) -> str:
        """Store bytes that an event refers to and return their name, 64 hex; equal bytes are stored once.

        Raises:
            InvalidInput: more than 16 MiB.
        """
        digest = attachment_digest(raw)
        self._store.put_new(attachment_key(digest), encode_attachment(raw))
        return digest

    def attachment(self, digest: str) -> bytes:
        """Return the bytes of an attachment.

        Raises:
            NotFound: no such attachment.
            IntegrityError: it is damaged, or the name is not valid.
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
                f"{key} in {self._store.url} is another event with the same id.",
                hint="events are never overwritten; write this one under a new id",
            )
        return key

    def _bounded(self, key: str, most: int, size: int | None) -> bytes:
        try:
            if size is not None and size <= most:
                return self._store.get(key, 0, size)
            return self._store.get_bounded(key, most)
        except NotFound as error:
            raise NotFound(f"there is no {key} in {self._store.url}.") from error
