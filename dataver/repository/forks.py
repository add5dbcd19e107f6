"""Marks of drafts to which workers add, and the parts that these leave in the repository.

    keeping/parts/<draft>/fork-<name>  the draft was forked; valid for two days, by the store's clock
    keeping/parts/<draft>/<name>       blocks of one part

The idea: until the parts are joined, no process knows which packs the draft needs. These may be old ones that
no version names: a worker finds its chunks in them, and does not send them again. So while a mark is valid,
gc deletes neither packs nor parts, with any grace period. Each fork writes a new mark, so a later fork does
not end the protection of an earlier one. The marks and the parts are deleted when the draft is published or
discarded; otherwise gc deletes them after its grace period.

A fork puts its mark, then lists sweeps; a sweep puts its keys, then lists marks. So the later of the two
detects the other (`dataver.repository.holds`).
"""

import contextlib
import os
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from dataver.errors import DataverError
from dataver.repository.holds import wait_for_sweeps
from dataver.repository.layout import fork_key, parts_prefix
from dataver.storage import ObjectInfo, Store

__all__ = ["TOKEN_LASTS", "end_fork", "forked_until", "mark_fork"]

TOKEN_LASTS: Final = timedelta(days=1)
"""Longest life of a token: the time within which a worker must begin."""

_MARK_LASTS: Final = timedelta(days=2)  # so that a worker that begins last has a day for its work


def mark_fork(store: Store, draft: str) -> None:
    """Mark a draft as forked, and wait for the end of sweeps that may not have listed the mark.

    Raises:
        Conflict: a sweep does not end.
    """
    store.put(fork_key(draft, os.urandom(16).hex()), b"{}")
    wait_for_sweeps(store, None)


def end_fork(store: Store, draft: str) -> None:
    """Delete a draft's marks and parts; after a failure gc deletes them."""
    with contextlib.suppress(DataverError):
        for info in list(store.list(parts_prefix(draft))):
            store.delete(info.key)


def forked_until(infos: Iterable[ObjectInfo], now: datetime) -> datetime | None:
    """Return the time until which a mark among the objects below `keeping/parts/` is valid; None without one.

    A mark without a time is valid.
    """
    marks = [info for info in infos if info.key.rpartition("/")[2].startswith("fork-")]
    ends = [(info.modified or now) + _MARK_LASTS for info in marks]
    return max((end for end in ends if end >= now), default=None)
