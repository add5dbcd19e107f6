"""Taking turns at one key where the store has no exclusive create (`rclone serve s3`, old MinIO, SFTP).

One idea: write first, look second. A writer puts a claim of its own beside the key and then lists the claims.
Of two writers the later one to put sees the other's claim, so both never go on; who is alone goes on, the
others withdraw, but for the one whose name sorts first, which waits until it is alone.

What it rests on: a listing shows every object that was put before it began; and who claimed writes within
a minute. A claim whose writer died is passed over after two minutes, so a writer that is stopped for longer
than that, right between claiming and writing, may still replace another's object. Where the store has
exclusive create nothing of this is used, and nothing depends on time.
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

_PATIENCE = 120.0  # seconds after which a claim that stays is that of a dead writer
_TRUST = 30.0  # seconds that a claim is relied on; the write that follows takes a minute at most
_TRIES = 2000
_PAUSE = 0.05


@contextlib.contextmanager
def claimed(store: Store, key: str) -> Iterator[None]:
    """Keep other writers from creating `key` meanwhile, if they ask here, too.

    Raises:
        Conflict: there was no end to other writers.
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
                time.sleep(_PAUSE * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
        finally:
            with contextlib.suppress(DataverError):  # it is passed over after a while
                store.delete(mine)
        time.sleep(_PAUSE * random.uniform(1.0, 4.0))  # noqa: S311 - no secret
    raise Conflict(f"others never stopped writing {key} in {store.url}.", hint="try again")


def _living(store: Store, key: str, mine: str, seen: dict[str, float]) -> list[str]:
    """Return others' claims, but for those that were there all the time for longer than a writer takes."""
    now = time.monotonic()
    there = [info.key for info in store.list(claim_prefix(key)) if info.key != mine]
    for gone in seen.keys() - set(there):
        del seen[gone]
    return [other for other in there if now - seen.setdefault(other, now) < _PATIENCE]
