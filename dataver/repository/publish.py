"""Creating one object exclusively, when any reply may be lost; and publishing a record with it.

Keeps invariants 2, 3 and 4: nothing is overwritten; the record comes last; a lost reply is resolved by
reading the key back and comparing bytes, so the outcome is won, lost or unknown, and on unknown nothing is
deleted and a repeat is safe, because the random write id makes our object recognisable as ours.

Where the store has no exclusive create, writers take turns instead (`dataver.repository.claims`), and what
was written is read back.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from enum import Enum

from dataver.errors import AlreadyExists, Conflict, NotFound, StoreError
from dataver.formats.names import next_label
from dataver.formats.record import Record, record_id
from dataver.repository.claims import claimed
from dataver.repository.layout import DATASETS, record_key
from dataver.repository.records import Published, Records
from dataver.storage import Store
from dataver.storage.retry import pause_after

__all__ = ["Outcome", "create_once", "publish"]

_TRIES = 6  # of one key, while the store's answers stay unclear
_LABELS = 200  # automatic labels tried before giving up: that many writers would have to win in between


class Outcome(Enum):
    """Who owns the key now."""

    WON = "won"
    LOST = "lost"


def create_once(store: Store, key: str, data: bytes) -> Outcome:
    """Create `key` exclusively and say who owns it.

    Raises:
        StoreError: the store failed and the outcome is unknown; the same call may be made again.
    """
    if store.exclusive_create or not key.startswith(DATASETS):  # other keys are random, or the first of all
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
            pass  # perhaps by our own request, which a client below us sent twice
        except StoreError as failure:
            if not failure.transient:
                raise
            error = failure
        try:
            # the reply was lost: the object may be there, and be ours
            return _owner(store, key, data)
        except NotFound:
            continue
        except StoreError as failure:
            if not failure.transient:
                raise
            error = failure
    raise StoreError(
        f"it is not known whether {key} was written to {store.url}: {error}",
        hint="repeat the command: it recognises its own object and finishes",
        transient=True,
    ) from error


def publish(
    store: Store,
    records: Records,
    record: Record,
    *,
    label: str | None,
    bump: str = "patch",
    attempted: str | None = None,
    on_attempt: Callable[[str], None] = lambda _label: None,
) -> Published:
    """Create the record under `label`, or under the next automatic label that is free.

    Args:
        store: where records live.
        records: reads what is published.
        record: the record; its own label is ignored.
        label: the user's choice; None means automatic.
        bump: which part of the highest label grows: "major", "minor" or "patch".
        attempted: a label an earlier, interrupted call may have won.
        on_attempt: told every label before it is tried, so that the caller can remember it.

    Raises:
        Conflict: the chosen label is taken, or was a deleted version's, or the store is too busy.
        StoreError: the outcome is unknown; call again with `attempted`.
    """
    if attempted is not None:
        earlier = records.read_back(record.dataset, attempted)
        if earlier is not None and earlier.record.write_id == record.write_id:
            return earlier
    if label is not None and records.tombstone(record.dataset, label) is not None:
        raise Conflict(
            f"{record.dataset}@{label} was deleted, and a label never means another version.",
            hint="finalize again with another label, then upload",
        )
    for _ in range(1 if label is not None else _LABELS):
        chosen = label if label is not None else next_label(records.taken(record.dataset), bump)
        named = replace(record, label=chosen)
        data = named.encode()
        on_attempt(chosen)
        if create_once(store, record_key(record.dataset, chosen), data) is Outcome.WON:
            return Published(named, record_id(data).hex())
    if label is not None:
        raise Conflict(
            f"{record.dataset}@{label} is already published and is never overwritten.",
            hint="finalize again with another label, then upload",
        )
    raise Conflict(
        f"{record.dataset} gained {_LABELS} versions while this one was waiting.", hint="try again"
    )


def _owner(store: Store, key: str, data: bytes) -> Outcome:
    return Outcome.WON if store.get(key) == data else Outcome.LOST
