"""Packs of a repository: footers and byte ranges.

A range is returned as stored; the caller that decodes its frames verifies them (invariant 1). A footer is
compared with the pack's id, which is its BLAKE3, so every digest in it is authentic. External packs are read
with the same methods (`dataver.repository.externals`).
"""

from collections.abc import Collection, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

from dataver import parallel
from dataver.cache.object_cache import DiskCache
from dataver.errors import IntegrityError, NotFound
from dataver.formats.entry import is_external
from dataver.formats.pack import Footer, memory_of, parse_footer, parse_trailer
from dataver.lru import LRUCache
from dataver.repository.layout import pack_key
from dataver.repository.read_again import PackMissing, reread
from dataver.storage import Store

if TYPE_CHECKING:
    from dataver.repository.externals import Externals

# Imports in functions: few repositories have external packs.

__all__ = ["Packs", "footer_cost"]

_KEPT = 64  # parsed footers kept in memory, ~0.1 MB each for packs of 20 KB chunks …
_MEMORY = 96 << 20  # … and up to 3 MB each for packs of tiny files, which are read in any order
_GUESS = 256 * 1024  # the footer of a 64 MB pack of 20 KB chunks has ~130 KB, read with one request


class Packs:
    """The packs of one repository."""

    def __init__(self, store: Store, cache: DiskCache | None) -> None:
        self._store = store
        self._cache = cache
        self._footers: LRUCache[bytes, Footer] = LRUCache(_KEPT, _MEMORY, memory_of)

    @cached_property
    def externals(self) -> "Externals":
        """The packs whose bytes are outside the repository."""
        from dataver.repository.externals import Externals

        return Externals(self._store, self._cache)

    def footer(self, pack_id: bytes, end: int | None = None) -> Footer:
        """Return the footer of a pack.

        Args:
            pack_id: the pack's id.
            end: offset up to which it is known to have frames: a short pack has a short footer.

        Raises:
            IntegrityError: the pack is missing or its footer is damaged.
        """
        if is_external(pack_id):
            return self.externals.footer(pack_id)
        return self.kept_footer(pack_id) or self._keep(pack_id, self.stored_footer(pack_id, footer_cost(end)))

    def kept_footer(self, pack_id: bytes) -> Footer | None:
        """Return the footer of a pack if it was read before, from memory or from the cache."""
        found = self._footers.get(pack_id)
        if found is None and not is_external(pack_id):
            cached = self._cached_footer(pack_id)
            found = None if cached is None else self._keep(pack_id, cached)
        return found

    def _keep(self, pack_id: bytes, footer: Footer) -> Footer:
        self._footers.put(pack_id, footer)
        return footer

    def footers(
        self, pack_ids: Collection[bytes], ends: Mapping[bytes, int] = MappingProxyType({})
    ) -> dict[bytes, Footer]:
        """Return the footers of several packs; read concurrently from a remote store.

        Args:
            pack_ids: the packs' ids.
            ends: offsets up to which some of them are known to have frames.

        Raises:
            IntegrityError: a pack is missing or its footer is damaged.
        """
        if self._store.local_root is not None or len(pack_ids) < 2:
            return {each: self.footer(each, ends.get(each)) for each in pack_ids}
        with parallel.pool(parallel.RANGES, "footers") as pool:
            return dict(zip(pack_ids, pool.map(self.footer, pack_ids, map(ends.get, pack_ids)), strict=True))

    def read(self, pack_id: bytes, offset: int, length: int) -> bytes:
        """Return exactly `length` stored bytes from `offset` of a pack.

        Raises:
            PackMissing: no such pack.
            IntegrityError: it ends before the range does, or the object of an external one has changed.
        """
        if is_external(pack_id):
            return self.externals.read(pack_id, offset, length)
        try:
            return self._store.get(pack_key(pack_id), offset, length)
        except NotFound as error:
            raise _missing(pack_id, self._store.url) from error

    def exists(self, pack_id: bytes) -> bool:
        """Return whether a pack exists in the store."""
        return self._store.exists(pack_key(pack_id))

    def stored_footer(self, pack_id: bytes, guess: int = _GUESS) -> Footer:
        """Return the footer of a pack, read from the store; raises what `read_footer` does."""
        footer, tail, size = self.read_footer(pack_id, guess)
        if self._cache:
            self._cache.put(_footer_key(pack_id), size.to_bytes(8, "little") + tail)
        return footer

    def read_footer(self, pack_id: bytes, guess: int = _GUESS) -> tuple[Footer, bytes, int]:
        """Return the footer of a pack, its stored bytes and the size of the pack, without any cache.

        Args:
            pack_id: the pack's id.
            guess: bytes read at first; more only if the footer is longer.

        Raises:
            PackMissing: no such pack.
            IntegrityError: it is of a wrong size, or its footer is damaged.
        """
        return reread(lambda _: self._footer_of_store(pack_id, guess))

    def kept_size(self, pack_id: bytes) -> int | None:
        """Return the size of a pack whose footer is cached, else None."""
        kept = self._cache.get(_footer_key(pack_id)) if self._cache else None
        return None if kept is None else int.from_bytes(kept[:8], "little")

    def _cached_footer(self, pack_id: bytes) -> Footer | None:
        kept = self._cache.get(_footer_key(pack_id)) if self._cache else None
        if kept is None:
            return None
        try:
            return parse_footer(memoryview(kept)[8:], pack_id, int.from_bytes(kept[:8], "little"))
        except IntegrityError:
            return None  # a damaged cache is only a miss

    def _footer_of_store(self, pack_id: bytes, guess: int) -> tuple[Footer, bytes, int]:
        key = pack_key(pack_id)
        try:
            tail, size = self._store.get_tail(key, guess)
            need = parse_trailer(tail, size).tail_size
            if need > len(tail):
                tail, size = self._store.get_tail(key, need)
        except NotFound as error:
            raise _missing(pack_id, self._store.url) from error
        tail = tail[-need:]
        return parse_footer(tail, pack_id, size), tail, size


def footer_cost(end: int | None) -> int:
    """Return how many bytes are read for the footer of a pack with frames up to an offset, if it is known."""
    return _GUESS if end is None else min(_GUESS, 1024 + end // 256)


def _footer_key(pack_id: bytes) -> str:
    return f"footers/{pack_id.hex()}"


def _missing(pack_id: bytes, url: str) -> PackMissing:
    return PackMissing(
        f"pack {pack_id.hex()} is missing from {url}.",
        hint="run `dataver verify` to list all damage; restore the object from a copy",
    )
