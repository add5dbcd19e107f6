"""External packs of a repository: their bytes are read from objects outside of it and verified.

The idea: `read` returns the bytes that a stored pack would have in that range. It reads the pieces from the
objects outside the repository, compares each with its digest in the external pack (invariant 1) and adds the
frame headers. So readers of packs need not distinguish external ones.

A changed object is detected before a transfer if the store has entity tags or version ids (each read requests
the recorded one), and otherwise by the digests. The user of this machine determines which places are read
(`dataver.repository.external_trust`).
"""

import os
from bisect import bisect_left, bisect_right
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from typing import Final

from dataver import parallel
from dataver.cache.object_cache import DiskCache
from dataver.errors import IntegrityError, NotFound
from dataver.formats.external import MAX_EXTERNAL, ExternalPack, ExternalSource, PieceRun, parse_external
from dataver.formats.frame import encode_frame
from dataver.formats.pack import MAGIC, Footer
from dataver.hashing.digest import digest
from dataver.lru import LRUCache
from dataver.repository.external_trust import folder_of, open_place, refuse_unless_allowed
from dataver.repository.layout import pack_key
from dataver.repository.read_again import ExternalChanged, PackMissing, reread
from dataver.storage import ObjectChanged, Pin, Store

__all__ = ["Externals", "pin_of"]

_KEPT: Final = 64  # external packs kept in memory, ~0.2 MB each


class Externals:
    """The external packs of one repository."""

    def __init__(self, store: Store, cache: DiskCache | None) -> None:
        self._store = store
        self._cache = cache
        self._packs: LRUCache[bytes, ExternalPack] = LRUCache(_KEPT)
        self._stores: dict[str, Store] = {}

    def load(self, pack_id: bytes, path: Path | None = None) -> ExternalPack:
        """Return an external pack.

        Args:
            pack_id: its id.
            path: its local file, if it may not be in the store yet.

        Raises:
            IntegrityError: it is missing, or damaged.
        """
        found = self._packs.get(pack_id)
        if found is not None:
            return found
        local = path is not None and path.is_file()
        found = parse_external(path.read_bytes(), pack_id) if path and local else self._read_pack(pack_id)
        self._packs.put(pack_id, found)
        return found

    def footer(self, pack_id: bytes) -> Footer:
        """Return the footer of the pack."""
        return self.load(pack_id).footer

    def read(self, pack_id: bytes, offset: int, length: int) -> bytes:
        """Return exactly the bytes of a range of the pack, made of verified pieces.

        Raises:
            ExternalChanged: an object was deleted or changed; names its URL.
            IntegrityError: the external pack is missing, damaged, or ends before the range does.
            StoreError: the place is not permitted, or fails.
        """
        pack = self.load(pack_id)
        offsets, end = pack.footer.frame_offsets, offset + length
        if not 0 <= offset < end <= offsets[-1]:
            raise IntegrityError(f"external pack {pack_id[1:].hex()} ends before byte {end}.")
        first = max(0, bisect_right(offsets, offset) - 1)
        base = 0 if offset < offsets[0] else offsets[first]
        runs = list(pack.runs(first, bisect_left(offsets, end)))
        if len(runs) > 1 and self._place(pack).local_root is None:
            with parallel.pool(min(parallel.RANGES, len(runs)), "external") as pool:
                parts = list(pool.map(lambda run: self._frames(pack, run), runs))
        else:
            parts = [self._frames(pack, run) for run in runs]
        whole = b"".join((b"" if base else MAGIC, *parts))
        return whole if base == offset and len(whole) == length else whole[offset - base : end - base]

    def are_unchanged(self, pack_id: bytes, first: int, behind: int) -> bool:
        """Return whether the objects of frames `first` to `behind` are certainly unchanged.

        Compares size, ETag, version and time, without reading their bytes.

        Raises:
            ExternalChanged: an object was deleted, or certainly changed.
            StoreError: the place is not permitted, or fails.
        """
        pack = self.load(pack_id)
        store, sure = self._place(pack), True
        for run in pack.runs(first, behind):
            self._inside(pack, run.source)
            want = pin_of(run.source)
            try:
                # a version of an object outlives the object: check it by reading one byte
                found = want if want.version and store.get_pinned(run.source.key, want, 0, 1) else None
                found = found or store.pin(run.source.key)
            except NotFound as error:
                raise _changed(pack, run.source, "it was deleted") from error
            except ObjectChanged as error:
                raise _changed(pack, run.source, error.how) from error
            if found.size != want.size or (want.etag and found.etag != want.etag):
                raise _changed(pack, run.source, "it has another size or ETag")
            sure = sure and bool(want.etag or found.modified == want.modified)
        return sure

    def _read_pack(self, pack_id: bytes) -> ExternalPack:
        key = pack_key(pack_id)
        data = self._cache.get(key) if self._cache else None
        return reread(
            lambda again: parse_external(self._fetch(key) if again or data is None else data, pack_id)
        )

    def _fetch(self, key: str) -> bytes:
        try:
            data = self._store.get_bounded(key, MAX_EXTERNAL)
        except NotFound as error:
            raise PackMissing(
                f"{key} is missing from {self._store.url}: it contains the location of external files.",
                hint="run `dataver verify` to list all damage; restore the object from a copy",
            ) from error
        if self._cache:
            self._cache.put(key, data)
        return data

    def _place(self, pack: ExternalPack) -> Store:
        """Return the store of a pack's place, if it is permitted."""
        found = self._stores.get(pack.place)
        if found is None:
            refuse_unless_allowed(pack.place, self._store.url)
            found = self._stores[pack.place] = open_place(pack.place, self._store.url)
        return found

    def _inside(self, pack: ExternalPack, source: ExternalSource) -> None:
        """Raise an error if a link leads out of the place's folder."""
        folder = folder_of(pack.place)
        if folder is not None:
            path = os.path.realpath(folder / source.key)
            if not path.startswith(os.path.realpath(folder).rstrip("/") + "/"):
                raise _changed(pack, source, "a link leads out of its folder")

    def _frames(self, pack: ExternalPack, run: PieceRun) -> bytes:
        """Return the frames of a range of one object."""
        data = self._checked(pack, run)
        lengths = pack.footer.lengths[run.first : run.behind]
        parts: list[bytes | memoryview] = []
        for start, length in zip(accumulate(lengths, initial=0), lengths, strict=False):
            header, stored = encode_frame(data[start : start + length], [length], None)
            parts += (header, memoryview(stored))
        return b"".join(parts)

    def _checked(self, pack: ExternalPack, run: PieceRun) -> memoryview:
        """Return a range of an object, every piece compared with its digest."""
        store, source, footer = self._place(pack), run.source, pack.footer
        self._inside(pack, source)

        def attempt(_again: bool) -> memoryview:
            try:
                data = memoryview(store.get_pinned(source.key, pin_of(source), run.start, run.length))
            except ObjectChanged as error:
                raise _changed(pack, source, error.how) from error
            at = 0
            for number in range(run.first, run.behind):
                length = footer.lengths[number]
                if digest(data[at : at + length]) != footer.chunk_digest(number):
                    raise IntegrityError(f"the content differs at byte {run.start + at}")
                at += length
            return data

        try:
            return reread(attempt)
        except ExternalChanged:
            raise
        except IntegrityError as error:
            raise _changed(pack, source, error.message) from error


def pin_of(source: ExternalSource) -> Pin:
    """Return the recorded attributes of an object, by which changes are detected."""
    modified = None if source.modified is None else datetime.fromisoformat(source.modified)
    return Pin(source.size, source.etag, source.version, modified)


def _changed(pack: ExternalPack, source: ExternalSource, how: str) -> ExternalChanged:
    when = f" ({source.modified[:19]} UTC)" if source.modified else ""
    return ExternalChanged(
        f"{pack.uri(source)} was changed after it was recorded{when}: {how}.",
        hint="restore the old object, or add it again and publish a new version",
    )
