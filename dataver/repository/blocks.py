"""Tree blocks of a repository: loaded by digest, checked, and kept near.

Keeps invariant 1: `parse_block` compares every block with the digest it is asked for before anybody sees it.
What fails the check, be it a copy in the disk cache, is read from the store again, twice at most. Does not
write: blocks reach a repository through `dataver.ingest.upload` only. A repack replaces the layouts of
published blocks; whoever meets a pack that is gone calls `refresh` and looks the place up again.
"""

import threading
from collections import OrderedDict

from dataver.errors import FormatTooNew, IntegrityError, NotFound
from dataver.formats.block import Inner, Leaf, parse_block
from dataver.repository.layout import block_key
from dataver.storage import DiskCache, Store

__all__ = ["Blocks"]

_REREADS = 2  # of a block that seems damaged
_KEPT = 48  # parsed blocks kept in memory: a path from root to leaf and its neighbours, ~0.5 MB each


class Blocks:
    """The tree blocks of one repository."""

    def __init__(self, store: Store, cache: DiskCache | None) -> None:
        self._store = store
        self._cache = cache
        self._parsed: OrderedDict[bytes, Leaf | Inner] = OrderedDict()
        self._lock = threading.Lock()
        self._stale = False

    def load(self, digest: bytes) -> Leaf | Inner:
        """Return the block `digest`.

        Raises:
            IntegrityError: the repository does not hold it, or holds something else under its name.
        """
        with self._lock:
            found = self._parsed.get(digest)
            if found is not None:
                self._parsed.move_to_end(digest)
                return found
        block = self._parse(digest)
        with self._lock:
            self._parsed[digest] = block
            while len(self._parsed) > _KEPT:
                self._parsed.popitem(last=False)
        return block

    def object(self, digest: bytes) -> bytes:
        """Return the stored object of block `digest`, unchecked."""
        key = block_key(digest)
        data = self._cache.get(key) if self._cache and not self._stale else None
        return self._fetch(digest) if data is None else data

    def refresh(self) -> None:
        """Read every block from the store from now on: the layouts at hand are those of before a repack."""
        with self._lock:
            self._parsed.clear()
            self._stale = True

    def exists(self, digest: bytes) -> bool:
        """Tell whether the repository holds block `digest` (asks the store, never the cache)."""
        return self._store.exists(block_key(digest))

    def _fetch(self, digest: bytes) -> bytes:
        try:
            data = self._store.get(block_key(digest))
        except NotFound as error:
            raise IntegrityError(
                f"tree block {digest.hex()} is missing from {self._store.url}.",
                hint="`dataver verify` tells what else is damaged; a copy of the repository may have it",
            ) from error
        if self._cache:
            self._cache.put(block_key(digest), data)
        return data

    def _parse(self, digest: bytes) -> Leaf | Inner:
        load = self.object
        for left in reversed(range(_REREADS + 1)):
            try:
                return parse_block(load(digest), digest, load)
            except (IntegrityError, FormatTooNew):
                if not left:
                    raise
            load = self._fetch  # the copy in the cache may be the damaged one, or a bit flipped on the way
        raise AssertionError("the last attempt returns or raises")
