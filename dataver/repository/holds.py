"""Holds: how writers and sweeps detect each other without a lock, by writing a marker before they list.

    a writer   uploads and confirms its objects · puts a hold on its tree · lists sweeps · publishes
    a sweep    puts the keys it may delete · lists holds, then records · deletes unneeded objects

The later of the two detects the other: either the sweep lists the hold (or the record that follows it) and
keeps the tree, or the writer lists the sweep and starts again after its end. This needs neither a clock nor
create-if-absent; for the proof see `docs/decisions/0010-freeing-beside-uploads.md`.

Keeps invariants 3 (a record's objects exist) and 5, with sweeps of any grace period. The marker of a process
that is known to have ended is ignored. Otherwise a hold is valid for a day, and a writer that was suspended
for more than half of that starts again.

A marker may be damaged or of a newer version. An unreadable one has the widest meaning of its kind: a hold
keeps all objects, a sweep may delete all, a list of retired packs contains all packs, a turn belongs to an
unknown process. So damage costs time and space until the marker expires, and never a needed object.
"""

import contextlib
import os
import time
from collections.abc import Callable, Collection, Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple, TypeVar

from dataver.errors import Conflict, DataverError, FormatTooNew, IntegrityError, NotFound
from dataver.formats.canonical_json import MAX_JSON
from dataver.formats.keeping import Hold, parse_hold, parse_sweep
from dataver.machine.process_identity import is_gone, this_process
from dataver.machine.store_clock import Stopwatch
from dataver.repository.layout import HOLDS, SWEEPS, SWEPT, hold_key, swept_key
from dataver.storage import Store

__all__ = [
    "LASTS",
    "PATIENCE",
    "SweepListing",
    "WriterHold",
    "current_holds",
    "list_sweeps",
    "mark_external_layouts",
    "read_note",
    "wait_for_sweeps",
    "writer_hold",
]

LASTS: Final = timedelta(days=1)  # validity of a hold, by the store's clock
_TRUST: Final = 12 * 3600.0  # seconds for which a writer relies on its own hold
_ON_ITS_WAY: Final = timedelta(minutes=2)
_BOTH: Final = "keeping/swe"  # prefix of running and of finished sweeps
_TRIES: Final = 25  # sweeps that may interfere before a writer gives up
PATIENCE: Final = 120.0  # seconds that a writer waits for a sweep to end
_PAUSE: Final = 0.25
T = TypeVar("T")


class SweepListing(NamedTuple):
    """The sweeps at one moment.

    Attributes:
        keys: keys of all markers, including finished sweeps: they differ if a sweep began in between.
        named: the keys that running sweeps may delete.
        unread: whether the marker of a sweep is unreadable, so that it may delete any key.
    """

    keys: frozenset[str]
    named: frozenset[str]
    unread: bool

    def names(self, needed: Collection[str] | None) -> bool:
        """Return whether a sweep may delete one of these keys; None means all keys."""
        if needed is None or self.unread:
            return self.unread or bool(self.named)
        return not self.named.isdisjoint(needed)


class WriterHold:
    """A writer's hold on a tree, or if that is None on all objects; made by `writer_hold`."""

    def __init__(self, store: Store, tree: bytes | None) -> None:
        self._store = store
        self._hold = Hold(tree=tree, owner=this_process())
        self.key = hold_key(os.urandom(16).hex())
        self._since: Stopwatch | None = None

    def establish(self, prepare: Callable[[SweepListing], Collection[str] | None]) -> None:
        """Ensure that all needed objects exist, and are kept while the hold is valid.

        Args:
            prepare: uploads and confirms the needed objects and returns their keys, or None for all keys;
                receives the current sweeps, and is called again if a sweep interfered.

        Raises:
            Conflict: a sweep that may delete some of them does not end.
        """
        for _ in range(_TRIES):
            before = list_sweeps(self._store)
            needed = prepare(before)
            self._put()
            after = list_sweeps(self._store)
            if before.keys == after.keys and not after.names(needed):
                return
            if after.names(needed):
                wait_for_sweeps(self._store, needed)
        raise Conflict(f"gc runs continuously in {self._store.url}.", hint="try again when gc is done")

    def renew(self) -> None:
        """Extend the hold by a day.

        Raises:
            Conflict: this process was suspended for so long that the hold may have expired.
        """
        if not self.trusted:
            raise Conflict("this process was suspended too long to continue safely.", hint="start again")
        self._put()

    @property
    def trusted(self) -> bool:
        """Whether the hold is certainly still valid."""
        return self._since is not None and self._since.seconds() < _TRUST

    def release(self) -> None:
        """Delete the hold; if this fails, it expires after a day."""
        if self._since is not None:
            with contextlib.suppress(DataverError):
                self._store.delete(self.key)

    def _put(self) -> None:
        self._since = Stopwatch()
        self._store.put(self.key, self._hold.encode())


@contextlib.contextmanager
def writer_hold(store: Store, tree: bytes | None) -> Iterator[WriterHold]:
    """Yield a hold, to be established inside; release it at the end."""
    hold = WriterHold(store, tree)
    try:
        yield hold
    finally:
        hold.release()


def list_sweeps(store: Store) -> SweepListing:
    """Return running and finished sweeps; on a disk, those of ended processes are ignored.

    The keys of running sweeps sort before those of finished ones, and are deleted after the latter are
    written, so a sweep that ends during the listing appears at least once.
    """
    keys: set[str] = set()
    named: set[str] = set()
    unread = False
    for info in store.list(_BOTH):
        keys.add(info.key)
        if info.key.startswith(SWEEPS):
            with contextlib.suppress(NotFound):  # it has just ended
                sweep = read_note(store, info.key, parse_sweep)
                unread = unread or sweep is None
                if sweep is not None and (store.local_root is None or not is_gone(sweep.owner)):
                    named.update(sweep.keys)
    return SweepListing(frozenset(keys), frozenset(named), unread)


def wait_for_sweeps(store: Store, needed: Collection[str] | None) -> None:
    """Wait until no running sweep may delete one of these keys; None means any key.

    Raises:
        Conflict: a sweep does not end.
    """
    end = time.monotonic() + PATIENCE
    while list_sweeps(store).names(needed):
        if time.monotonic() > end:
            raise Conflict(
                f"a gc is about to delete objects in {store.url} that are needed here.",
                hint="repeat the command when gc is done; if gc was interrupted, run it again first",
            )
        time.sleep(_PAUSE)


def mark_external_layouts(store: Store, found: SweepListing) -> None:
    """Mark permanently that stored blocks may have another layout than a writer's own.

    Call before uploading a block whose layout refers to external packs. The marker is the same as that of a
    finished sweep. A writer that listed earlier lists again (`WriterHold.settle`).
    """
    if not any(key.startswith(SWEPT) for key in found.keys):
        store.put(swept_key(os.urandom(16).hex()), b"{}")


def current_holds(store: Store, now: datetime) -> dict[str, Hold | None]:
    """Return the valid holds by key, None for an unreadable one; delete the others first.

    So a hold that is not returned here is missing for its writer, too, if that still runs.
    """
    found: dict[str, Hold | None] = {}
    for info in list(store.list(HOLDS)):
        age = now - (info.modified or now)
        with contextlib.suppress(NotFound):  # released just now: the record is there
            hold = read_note(store, info.key, parse_hold)
            # a request of an ended process may still be in transit
            landed = store.local_root is not None or age > _ON_ITS_WAY
            if age > LASTS or (hold is not None and landed and is_gone(hold.owner)):
                store.delete(info.key)
            else:
                found[info.key] = hold
    return found


def read_note(store: Store, key: str, parse: Callable[[bytes], T]) -> T | None:
    """Return a marker, or None if it is unreadable.

    Raises:
        NotFound: it was deleted.
    """
    try:
        return parse(store.get_bounded(key, MAX_JSON))
    except (IntegrityError, FormatTooNew):
        return None
