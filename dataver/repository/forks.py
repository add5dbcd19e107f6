"""Marks of drafts to which workers add, and the parts that these leave in the repository.

    keeping/parts/<draft>/fork    the draft was forked; valid for a day, by the store's clock
    keeping/parts/<draft>/<name>  blocks of one part

The idea: until the parts are joined, no process knows which packs the draft needs. So while a mark is valid,
gc keeps all objects that are younger than the mark, whatever its grace period; older garbage is deleted. The
mark and the parts are deleted when the draft is published or discarded; otherwise gc deletes them after its
grace period.
"""

import contextlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from dataver.errors import DataverError
from dataver.repository.layout import fork_key
from dataver.storage import ObjectInfo, Store

__all__ = ["FORK_LASTS", "age_of_forks", "end_fork", "mark_fork"]

FORK_LASTS: Final = timedelta(days=1)
"""Validity of a mark, and so the longest life of a token."""


def mark_fork(store: Store, draft: str) -> None:
    """Mark a draft as forked, or extend the mark."""
    store.put(fork_key(draft), b"{}")


def end_fork(store: Store, draft: str) -> None:
    """Delete a draft's mark and parts; after a failure gc deletes them."""
    with contextlib.suppress(DataverError):
        for info in list(store.list(fork_key(draft).removesuffix("fork"))):
            store.delete(info.key)


def age_of_forks(infos: Iterable[ObjectInfo], now: datetime) -> timedelta:
    """Return the age of the oldest valid mark among the objects below `keeping/parts/`; 0 without one."""
    marks = [info for info in infos if info.key.endswith("/fork")]
    ages = [now - info.modified if info.modified is not None else FORK_LASTS for info in marks]
    return max((age for age in ages if age <= FORK_LASTS), default=timedelta(0))
