"""Tree blocks of a repository: loaded by digest, verified and cached.

Keeps invariant 1: `parse_block` compares every block with the requested digest. A block that fails the check,
in the disk cache or in the store, is read from the store again, at most twice. Does not write: blocks are
uploaded by `dataver.ingest.upload` only. A repack replaces the layouts of published blocks; a reader that
finds a pack missing calls `refresh` and looks up the extent again.
"""

from dataver.cache.object_cache import DiskCache
from dataver.errors import IntegrityError, NotFound
from dataver.formats.block import Inner, Leaf, parse_block
from dataver.formats.block_object import MAX_BLOCK
from dataver.lru import LRUCache
from dataver.repository.layout import block_key
from dataver.repository.read_again import reread
from dataver.storage import Store

__all__ = ["Blocks"]

_KEPT = 48  # parsed blocks kept in memory: a path from root to leaf and its neighbours, ~0.5 MB each


class Blocks:
    """The tree blocks of one repository."""

    def __init__(self, store: Store, cache: DiskCache | None) -> None:
        self._store = store
        self._cache = cache
        self._parsed: LRUCache[bytes, Leaf | Inner] = LRUCache(_KEPT)
        self._stale = False
        self._totals: dict[bytes, tuple[str, tuple[int, int, int]]] = {}

    def expect(self, root: bytes, ref: str, totals: tuple[int, int, int]) -> None:
        """Reject a root block whose numbers of entries, files and bytes differ from those of a record."""
        self._totals[root] = ref, totals

    def load(self, digest: bytes) -> Leaf | Inner:
        """Return the block `digest`.

        Raises:
            IntegrityError: it is missing from the repository, or damaged.
        """
        found = self._parsed.get(digest)
        if found is not None:
            return found
        block = self._parse(digest)
        self._parsed.put(digest, block)
        ref, totals = self._totals.pop(digest, ("", ()))
        if totals and (block.entry_count, block.file_count, block.byte_count) != totals:
            raise IntegrityError(f"the record of {ref} does not match the number of entries in its tree.")
        return block

    def object(self, digest: bytes) -> bytes:
        """Return the stored object of block `digest`, without verifying it."""
        key = block_key(digest)
        data = self._cache.get(key) if self._cache and not self._stale else None
        return self._fetch(digest) if data is None else data

    def refresh(self) -> None:
        """Read all blocks from the store from now on: the cached layouts are older than a repack."""
        self._stale = True
        self._parsed.clear()
        self._totals.clear()

    def forget(self) -> None:
        """Call `refresh`, and delete the cached layouts for all processes of this machine."""
        self.refresh()
        if self._cache:
            self._cache.clear()

    def exists(self, digest: bytes) -> bool:
        """Return whether block `digest` exists in the store, without the cache."""
        return self._store.exists(block_key(digest))

    def _fetch(self, digest: bytes) -> bytes:
        try:
            data = self._store.get_bounded(block_key(digest), MAX_BLOCK)
        except NotFound as error:
            raise IntegrityError(
                f"tree block {digest.hex()} is missing from {self._store.url}.",
                hint="run `dataver verify` to list all damage; restore the object from a copy",
            ) from error
        if self._cache:
            self._cache.put(block_key(digest), data)
        return data

    def _parse(self, digest: bytes) -> Leaf | Inner:
        def attempt(again: bool) -> Leaf | Inner:
            load = self._fetch if again else self.object  # the cached copy may be damaged
            return parse_block(load(digest), digest, load)

        return reread(attempt)
