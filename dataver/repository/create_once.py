"""Exclusive creation of one object, even if replies are lost.

Keeps invariants 2 and 4: no object is overwritten. After a lost reply the key is read back and compared, so
the outcome is won, lost or unknown. On unknown nothing is deleted, and a repeated call is safe, because the
random write id identifies the writer's own object.

In a store without exclusive create, writers use a lock instead (`dataver.repository.create_lock`), and the
object is read back after the write.
"""

import time
from enum import Enum

from dataver.errors import AlreadyExists, NotFound, StoreError, message_of
from dataver.formats.canonical_json import MAX_JSON
from dataver.repository.create_lock import claimed
from dataver.repository.layout import DATASETS, DESCRIPTIONS
from dataver.storage import Store
from dataver.storage.retry import pause_after

__all__ = ["Outcome", "create_once"]

_TRIES = 6  # while the outcome is unclear


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
