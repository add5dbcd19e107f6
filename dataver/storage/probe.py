"""Probe of whether a store honours create-if-absent.

Some servers accept `If-None-Match: *` and ignore it (`rclone serve s3`, old MinIO), so every racing writer
"wins". Therefore `init` creates one key twice with different bytes, and writes the result to `dataver.json`.
"""

import contextlib
import os

from dataver.errors import AlreadyExists, DataverError, NotFound, StoreError
from dataver.storage.base import Store

__all__ = ["probe_exclusive_create"]

_TRIES = 3  # with new keys, if a reply was lost and the result is unknown


def probe_exclusive_create(store: Store) -> bool:
    """Return whether `create` refuses an existing key, and set `store.exclusive_create` to the result.

    Writes and deletes a small object `.probe-<hex>`, so missing write permission shows early, too. A store of
    a kind that is known to race (`exclusive_create` is False beforehand) is only written to.

    Raises:
        StoreError: the store cannot be written.
    """
    for remaining in reversed(range(_TRIES)):
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
