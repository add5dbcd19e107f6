"""Exclusive creation of one object, even if replies are lost or the store has no exclusive create.

Keeps invariants 2 and 4: no object is overwritten. After a lost reply the key is read back and compared, so
the outcome is won, lost or unknown. On unknown nothing is deleted, and a repeated call is safe, because the
random write id identifies the writer's own object.

Some servers accept `If-None-Match: *` and ignore it (`rclone serve s3`, old MinIO), and SFTP has no such
condition. So `init` creates one key twice with different bytes, and writes the result to `dataver.json`. In a
store without exclusive create, writers use a lock (`claimed`), and the object is read back after the write.

The lock: write first, list second. A writer puts a claim of its own beside the key and then lists the claims.
Of two writers, the later one sees the other's claim, so they never both continue. A writer without rivals
continues. The others withdraw, except the one whose name sorts first, which waits until it has no rivals. A
writer that withdrew puts no new claim before it has seen a listing without any. Without this rule, in a slow
store, every listing would contain a claim, and no writer would continue.

Assumptions of the lock: a listing includes every object that was put before it began, and a writer that holds
a claim writes within a minute. A writer that sees a claim of another one for two minutes deletes it, because
the other one must have died; so a writer that is stopped for longer, between claim and write, can still
replace another's object.
"""

import contextlib
import os
import random
import time
from collections.abc import Iterator
from enum import Enum
from typing import Final

from dataver.errors import AlreadyExists, Conflict, DataverError, NotFound, StoreError, message_of
from dataver.formats.canonical_json import MAX_JSON
from dataver.repository.layout import DATASETS, DESCRIPTIONS, claim_key, claim_prefix
from dataver.storage import Store
from dataver.storage.retry import pause_after

__all__ = ["PATIENCE", "Outcome", "claimed", "create_once", "probe_exclusive_create"]

_TRIES = 6  # while the outcome is unclear
PATIENCE: Final = 120.0  # seconds after which a claim counts as abandoned
_TRUST = 30.0  # seconds for which a writer relies on its claim; the write takes at most a minute
_CLAIMS = 2000  # claims that a writer puts at most
_PAUSE = 0.05
_PROBES = 3  # with new keys, if a reply was lost and the result is unknown


class Outcome(Enum):
    """Whether the object under the key is the caller's."""

    WON = "won"
    LOST = "lost"


def create_once(store: Store, key: str, data: bytes) -> Outcome:
    """Create `key` exclusively and return whether it is the caller's.

    Raises:
        StoreError: the store failed and the outcome is unknown; the same call can be repeated.
    """
    # other keys are random, or only used by `init`
    if store.exclusive_create or not key.startswith((DATASETS, DESCRIPTIONS)):
        return _create(store, key, data)
    with claimed(store, key):
        _create(store, key, data)
        return _owner(store, key, data)


def _create(store: Store, key: str, data: bytes) -> Outcome:
    error = StoreError("its answers contradict each other.", transient=True)
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(pause_after(error, attempt))
        try:
            store.create(key, data)
            return Outcome.WON
        except AlreadyExists:
            pass  # possibly our own request, which the client library repeated
        except StoreError as failure:
            if not failure.transient:
                raise
            error = failure
        try:
            # the reply was lost: the object may exist and be ours
            return _owner(store, key, data)
        except NotFound:
            continue
        except StoreError as failure:
            if not failure.transient:
                raise
            error = failure
    raise StoreError(
        f"unknown whether {key} was written to {store.url}: {message_of(error)}",
        hint="repeat the command: it recognises its own object and completes",
        transient=True,
    ) from error


def _owner(store: Store, key: str, data: bytes) -> Outcome:
    return Outcome.WON if store.get_bounded(key, MAX_JSON) == data else Outcome.LOST


@contextlib.contextmanager
def claimed(store: Store, key: str) -> Iterator[None]:
    """Prevent other writers that use this lock from creating `key`.

    Raises:
        Conflict: other writers keep claiming the key.
    """
    mine = claim_key(key, os.urandom(16).hex())
    seen: dict[str, float] = {}
    for _ in range(_CLAIMS):
        since = time.monotonic()
        store.put(mine, b"")
        try:
            while time.monotonic() - since < _TRUST:
                others = _living(store, key, mine, seen)
                if not others:
                    if time.monotonic() - since < _TRUST:
                        yield
                        return
                elif min(others) < mine:
                    break
                _pause()
        finally:
            with contextlib.suppress(DataverError):  # another writer deletes it
                store.delete(mine)
        _pause()
        while _living(store, key, mine, seen):
            _pause()
    raise Conflict(f"other processes keep writing {key} in {store.url}.", hint="try again")


def _pause() -> None:
    time.sleep(_PAUSE * random.uniform(0.5, 2.0))  # noqa: S311 - no secret


def _living(store: Store, key: str, mine: str, seen: dict[str, float]) -> list[str]:
    """Return the claims of other writers; delete those seen for longer than `PATIENCE`."""
    now = time.monotonic()
    there = [info.key for info in store.list(claim_prefix(key)) if info.key != mine]
    for gone in seen.keys() - set(there):
        del seen[gone]
    living = [other for other in there if now - seen.setdefault(other, now) < PATIENCE]
    for abandoned in seen.keys() - set(living):
        with contextlib.suppress(DataverError):  # if it stays, each writer waits for it anew
            store.delete(abandoned)
    return living


def probe_exclusive_create(store: Store) -> bool:
    """Return whether `create` refuses an existing key, and set `store.exclusive_create` to the result.

    Writes and deletes a small object `.probe-<hex>`, so missing write permission shows early, too. A store of
    a kind that is known to race (`exclusive_create` is False beforehand) is only written to.

    Raises:
        StoreError: the store cannot be written.
    """
    for remaining in reversed(range(_PROBES)):
        key = f".probe-{os.urandom(16).hex()}"
        try:
            store.exclusive_create = _refuses_second(store, key) and store.exclusive_create
            return store.exclusive_create
        except (StoreError, NotFound) as error:
            temporary = isinstance(error, NotFound) or error.transient
            if not temporary or not remaining:
                raise
        finally:
            with contextlib.suppress(DataverError):  # a bucket that forbids deleting keeps a few bytes
                store.delete(key)
    raise AssertionError("the loop returns or raises")


def _refuses_second(store: Store, key: str) -> bool:
    first, second = os.urandom(16), os.urandom(16)
    with contextlib.suppress(AlreadyExists):  # our own first request, repeated by the client
        store.create(key, first)
    try:
        store.create(key, second)
    except AlreadyExists:
        return store.get(key) == first
    return False
