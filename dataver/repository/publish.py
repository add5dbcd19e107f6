"""Publishing of records: one writer at a time for each state of a dataset.

The record is created exclusively, but two writers may choose different labels for the same next version. So a
writer first acquires a *turn*: an object whose key identifies the state of the dataset (its labels), and
which is also created exclusively. A record changes the state, so each state has one turn and one successor. A
writer that does not get the turn waits until the state changes, and checks again whether its version contains
the latest.

A crash

    before the turn is acquired     leaves nothing
    before the record is created    leaves a turn; others ignore it at once if its process is known to have
                                    ended, else after a minute
    after the record is created     leaves a published version

Turns of past states have no effect. gc deletes them after a day, and no position is used for that long. In a
store without exclusive create, a claim on the dataset replaces the turn (`dataver.repository.create_once`).
"""

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterator
from typing import Final

from dataver.errors import Conflict, NotFound
from dataver.formats.keeping import Turn, parse_turn
from dataver.formats.record import Record, record_id
from dataver.log import info
from dataver.machine.process_identity import is_gone, this_process
from dataver.machine.store_clock import Stopwatch
from dataver.repository.create_once import Outcome, claimed, create_once
from dataver.repository.holds import read_note
from dataver.repository.layout import record_key, record_prefix, turn_key
from dataver.repository.lines import Position
from dataver.repository.records import Published, Records
from dataver.storage import Store

__all__ = ["PATIENCE", "publish"]

PATIENCE: Final = 60.0  # seconds after which a turn without a record is ignored
_TRUST: Final = 30.0  # seconds for which a turn is certainly respected, even if its owner is slow
_PAUSE: Final = 0.05
_FRESH: Final = 6 * 3600.0  # seconds for which a position is used: less than gc keeps turns of past states


def publish(
    store: Store,
    records: Records,
    record: Record,
    position: Position,
    on_attempt: Callable[[str], None] = lambda _label: None,
) -> Published | None:
    """Create the record at a position, or return None if the dataset has changed since.

    Args:
        store: the repository's store.
        records: the published records.
        record: the record; its own label and line are ignored.
        position: the position; after None, it must be determined again.
        on_attempt: called with the label before the attempt, so that the caller can record it.

    Raises:
        Conflict: this process was suspended so long that another version was published in its turn.
        StoreError: the outcome is unknown; check for the record before calling again.
    """
    if position.found.seconds() > _FRESH:
        return None
    named = position.place(record)
    data = named.encode()
    since = Stopwatch()
    with _turn(store, records, named, position.state) as won:
        if not won:
            info("another process published a version of %s; looking again", named.dataset)
            return None
        on_attempt(named.label)
        if create_once(store, record_key(named.dataset, named.label), data) is Outcome.LOST:
            info("the label %s of %s was taken meanwhile; looking again", named.label, named.dataset)
            return None  # the label was published without a turn: pushed from another repository
    published = Published(named, record_id(data).hex())
    info("published %s", published.ref)
    if since.seconds() > _TRUST:
        _refuse_overtaken(records, published, position)
    return published


@contextlib.contextmanager
def _turn(store: Store, records: Records, record: Record, state: str) -> Iterator[bool]:
    """Acquire the turn for a state; yield False if the state has changed."""
    if store.exclusive_create:
        yield _acquire_turn(store, records, record, state)
        return
    with claimed(store, f"{record_prefix(record.dataset)}turn"):
        yield records.names(record.dataset).state == state


def _acquire_turn(store: Store, records: Records, record: Record, state: str) -> bool:
    attempt = 0
    while True:
        key = turn_key(state, attempt)
        turn = Turn(owner=this_process(), record=record.write_id, write_id=os.urandom(16).hex())
        if create_once(store, key, turn.encode()) is Outcome.WON:
            # an ignored owner may have created its record just before
            return attempt == 0 or records.names(record.dataset).state == state
        if not _lapses(store, records, record, key, state):
            return False
        attempt += 1


def _lapses(store: Store, records: Records, record: Record, key: str, state: str) -> bool:
    """Wait for the owner of a turn to publish; return whether it did not."""
    try:
        turn = read_note(store, key, parse_turn)
    except NotFound:  # deleted by gc, so the state has changed
        return False
    waiting = Stopwatch()
    while True:
        lapsed = (
            # an earlier, interrupted call of this very upload
            (turn is not None and turn.record == record.write_id)
            or (turn is not None and store.local_root is not None and is_gone(turn.owner))
            or waiting.seconds() > PATIENCE
        )
        if records.names(record.dataset).state != state:
            return False
        if lapsed:
            return True
        time.sleep(_PAUSE * random.uniform(0.5, 1.5))  # noqa: S311 - no secret


def _refuse_overtaken(records: Records, published: Published, position: Position) -> None:
    """Raise an error if another version was published for the same state meanwhile."""
    names = records.names(published.record.dataset)
    names.labels.pop(published.record.label, None)
    if names.state != position.state:
        raise Conflict(
            f"{published.ref} is published, but other versions were published at the same time and it may "
            "not contain them.",
            hint=f"see `dataver log {published.record.dataset}`; `dataver create` with both as --parent "
            "merges two versions",
        )
