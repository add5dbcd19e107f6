"""Lock for one key in stores without exclusive create (`rclone serve s3`, old MinIO, SFTP).

The idea: write first, list second. A writer puts a claim of its own beside the key and then lists the claims.
Of two writers, the later one sees the other's claim, so they never both continue. A writer without rivals
continues. The others withdraw, except the one whose name sorts first, which waits until it has no rivals.

A writer that withdrew puts no new claim before it has seen a listing without any. Without this rule, in a
slow store, every listing would contain a claim, and no writer would continue.

Assumptions: a listing includes every object that was put before it began, and a writer that holds a claim
writes within a minute. A claim is ignored after two minutes, in case its writer died; so a writer that is
stopped for longer, between claim and write, can still replace another's object. Stores with exclusive create
do not use this module, and nothing depends on time there.
"""

import contextlib
import os
import random
import time
from collections.abc import Iterator

from dataver.errors import Conflict, DataverError
from dataver.repository.layout import claim_key, claim_prefix
from dataver.storage import Store

__all__ = ["claimed"]

_PATIENCE = 120.0  # seconds after which a claim counts as abandoned
_TRUST = 30.0  # seconds for which a writer relies on its claim; the write takes at most a minute
_TRIES = 2000
_PAUSE = 0.05


@contextlib.contextmanager
def claimed(store: Store, key: str) -> Iterator[None]:
    """Prevent other writers that use this lock from creating `key`.

    Raises:
        Conflict: other writers keep claiming the key.
    """
    mine = claim_key(key, os.urandom(16).hex())
    seen: dict[str, float] = {}
    for _ in range(_TRIES):
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
            with contextlib.suppress(DataverError):  # it expires
                store.delete(mine)
        _pause()
        while _living(store, key, mine, seen):
            _pause()
    raise Conflict(f"other processes keep writing {key} in {store.url}.", hint="try again")


def _pause() -> None:
    time.sleep(_PAUSE * random.uniform(0.5, 2.0))  # noqa: S311 - no secret


def _living(store: Store, key: str, mine: str, seen: dict[str, float]) -> list[str]:
    """Return the claims of other writers, except those seen for longer than `_PATIENCE`."""
    now = time.monotonic()
    there = [info.key for info in store.list(claim_prefix(key)) if info.key != mine]
    for gone in seen.keys() - set(there):
        del seen[gone]
    return [other for other in there if now - seen.setdefault(other, now) < _PATIENCE]
