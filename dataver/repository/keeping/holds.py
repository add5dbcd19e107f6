"""How writers and sweeps see each other without a lock: each says what it is about to do before it looks.

    a writer   sends and confirms all it needs · puts a hold on its tree · looks for sweeps · publishes
    a sweep    says which keys it may delete · looks for holds, then for records · deletes what nobody needs

Whoever looks second sees the other: either the sweep's last look finds the hold (or the record that follows
it) and keeps the tree, or the writer finds the sweep and begins again once that is over. Nothing depends on a
clock or on create-if-absent; the whole argument is in `docs/decisions/0010-freeing-beside-uploads.md`.

Keeps invariants 3 (once a record exists, what it needs is there) and 5, beside sweeps of any grace period. A
process that died leaves its note: known to be dead, it counts for nothing; else a hold counts for a day, and
a writer that was away for longer than half of that begins again.
"""

import contextlib
import os
import time
from collections.abc import Callable, Collection, Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from dataver.errors import Conflict, DataverError, FormatTooNew, IntegrityError, NotFound
from dataver.formats.keeping import Hold, parse_hold, parse_sweep
from dataver.repository.keeping.clock import Stopwatch
from dataver.repository.keeping.owner import is_gone, this_process
from dataver.repository.layout import HOLDS, SWEEPS, SWEPT, hold_key, swept_key
from dataver.storage import Store

__all__ = ["LASTS", "Found", "Holding", "current_holds", "holding", "look_for_sweeps", "note_external"]

LASTS: Final = timedelta(days=1)  # how long a hold counts, by the store's clock
_TRUST: Final = 12 * 3600.0  # seconds after which a writer no longer relies on its own
_ON_ITS_WAY: Final = timedelta(minutes=2)
_BOTH: Final = "keeping/swe"  # of notes and of finished sweeps
_TRIES: Final = 25  # sweeps that may come in between before a writer gives up
_PATIENCE: Final = 120.0  # seconds that a writer waits for a sweep to end
_PAUSE: Final = 0.25


class Found(NamedTuple):
    """What a look for sweeps found.

    Attributes:
        keys: of all notes, those of finished sweeps included: no two looks give the same if a sweep began in
            between.
        named: the keys that sweeps under way may delete.
    """

    keys: frozenset[str]
    named: frozenset[str]

    def names(self, needed: Collection[str] | None) -> bool:
        """Tell whether a sweep may delete one of these keys; None stands for all there are."""
        return bool(self.named) if needed is None else not self.named.isdisjoint(needed)


class Holding:
    """A writer's hold on a tree, or without one on everything. Get it from `holding`."""

    def __init__(self, store: Store, tree: bytes | None) -> None:
        self._store = store
        self._hold = Hold(tree=tree, owner=this_process())
        self.key = hold_key(os.urandom(16).hex())
        self._since: Stopwatch | None = None

    def settle(self, prepare: Callable[[Found], Collection[str] | None]) -> None:
        """Bring it about that all that is needed is there and stays there while the hold is kept.

        Args:
            prepare: sends and confirms what is needed, however much of it is there already, and returns its
                keys, or None for all there are; told of the sweeps there were, and called again where one
                came in between.

        Raises:
            Conflict: a sweep that may delete some of it does not end.
        """
        for _ in range(_TRIES):
            before = look_for_sweeps(self._store)
            needed = prepare(before)
            self._put()
            after = look_for_sweeps(self._store)
            if before.keys == after.keys and not after.names(needed):
                return
            if after.names(needed):
                self._wait(needed)
        raise Conflict(
            f"{self._store.url} is being cleaned up all the time.", hint="try again when gc is done"
        )

    def renew(self) -> None:
        """Make the hold count for another day, in work that takes long.

        Raises:
            Conflict: this process was away for so long that the hold may have been passed over.
        """
        if not self.trusted:
            raise Conflict("this process was stopped for too long to go on safely.", hint="begin again")
        self._put()

    @property
    def trusted(self) -> bool:
        """Whether so little time has passed that the hold certainly still counts."""
        return self._since is not None and self._since.seconds() < _TRUST

    def release(self) -> None:
        """Take the hold away; one that cannot be taken away stops counting after a day."""
        if self._since is not None:
            with contextlib.suppress(DataverError):
                self._store.delete(self.key)

    def _put(self) -> None:
        self._since = Stopwatch()
        self._store.put(self.key, self._hold.encode())

    def _wait(self, needed: Collection[str] | None) -> None:
        end = time.monotonic() + _PATIENCE
        while look_for_sweeps(self._store).names(needed):
            if time.monotonic() > end:
                raise Conflict(
                    f"a gc is about to delete objects in {self._store.url} that are needed here.",
                    hint="repeat the command when gc is done; if gc was interrupted, run it again first",
                )
            time.sleep(_PAUSE)


@contextlib.contextmanager
def holding(store: Store, tree: bytes | None) -> Iterator[Holding]:
    """Give a hold, to be settled inside; it is released at the end."""
    hold = Holding(store, tree)
    try:
        yield hold
    finally:
        hold.release()


def look_for_sweeps(store: Store) -> Found:
    """Return the sweeps there were and are; on a disk, dead processes no longer delete anything.

    Notes sort before what finished sweeps leave, and are taken away after that was written; so a sweep that
    ends while this lists cannot be missed in both places.
    """
    keys: set[str] = set()
    named: set[str] = set()
    for info in store.list(_BOTH):
        keys.add(info.key)
        if info.key.startswith(SWEEPS):
            with contextlib.suppress(NotFound):  # it has just ended
                sweep = parse_sweep(store.get(info.key))
                if store.local_root is None or not is_gone(sweep.owner):
                    named.update(sweep.keys)
    return Found(frozenset(keys), frozenset(named))


def note_external(store: Store, found: Found) -> None:
    """Let all writers know, from now on, that blocks may be stored with another layout than theirs.

    To be called before a block is sent whose layout names external packs; it is what the end of a sweep says,
    too, and stays. A writer that looked before it looks again (`Holding.settle`).
    """
    if not any(key.startswith(SWEPT) for key in found.keys):
        store.put(swept_key(os.urandom(16).hex()), b"{}")


def current_holds(store: Store, now: datetime) -> dict[str, Hold | None]:
    """Return the holds that count, by key, None for one that cannot be read; remove the others.

    Removing comes first: what is left out here is gone for its writer, too, if that still lives.
    """
    found: dict[str, Hold | None] = {}
    for info in list(store.list(HOLDS)):
        age = now - (info.modified or now)
        with contextlib.suppress(NotFound):  # released just now: the record is there
            hold = _hold(store.get(info.key))
            # what a dead process sent to a server may still be on its way
            landed = store.local_root is not None or age > _ON_ITS_WAY
            if age > LASTS or (hold is not None and landed and is_gone(hold.owner)):
                store.delete(info.key)
            else:
                found[info.key] = hold
    return found


def _hold(data: bytes) -> Hold | None:
    try:
        return parse_hold(data)
    except (IntegrityError, FormatTooNew):
        return None
