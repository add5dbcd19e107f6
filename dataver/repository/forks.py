"""Marks of drafts to which workers add, and the parts that these leave in the repository.

    keeping/parts/<draft>/fork-<name>  the draft was forked; valid for a day, by the store's clock
    keeping/parts/<draft>/<name>       blocks of one part

The idea: until the parts are joined, no process knows which packs the draft needs. So while a mark is valid,
gc keeps all objects that are younger than the mark, whatever its grace period; older garbage is deleted. Each
fork has a mark of its own, so a later one does not end the protection that an earlier one began. The marks
and the parts are deleted when the draft is published or discarded; otherwise gc deletes them after its grace
period.
"""

import contextlib
import os
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from dataver.errors import DataverError
from dataver.repository.layout import fork_key, parts_prefix
from dataver.storage import ObjectInfo, Store

__all__ = ["FORK_LASTS", "age_of_forks", "end_fork", "mark_fork"]

FORK_LASTS: Final = timedelta(days=1)
"""Validity of a mark, and so the longest life of a token."""

_COARSE: Final = timedelta(seconds=2)  # stores state times in whole seconds


def mark_fork(store: Store, draft: str) -> None:
    """Mark a draft as forked."""
    store.put(fork_key(draft, os.urandom(16).hex()), b"{}")


def end_fork(store: Store, draft: str) -> None:
    """Delete a draft's marks and parts; after a failure gc deletes them."""
    with contextlib.suppress(DataverError):
        for info in list(store.list(parts_prefix(draft))):
            store.delete(info.key)


def age_of_forks(infos: Iterable[ObjectInfo], now: datetime) -> timedelta:
    """Return an age to which gc keeps objects for the valid marks among those below `keeping/parts/`.

    It is more than the age of the oldest one, so that the mark is kept, too; 0 without one.
    """
    marks = [info for info in infos if info.key.rpartition("/")[2].startswith("fork-")]
    ages = [now - info.modified if info.modified is not None else FORK_LASTS for info in marks]
    return max((age + _COARSE for age in ages if age <= FORK_LASTS), default=timedelta(0))
