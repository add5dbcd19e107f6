"""External packs of a repository: what their frames are made of is read where it lies, and checked.

The idea: `read` gives the bytes that a pack would hold there. It finds the pieces that are asked for, reads
them from the objects outside the repository, compares each with its digest in the external pack (invariant 1)
and puts the frames around them. So nobody who reads packs need know that there are external ones.

That an object changed is noticed before its bytes come where the store has entity tags or version ids (each
read names the one that was recorded), and by the digests everywhere. Which places are read from is for the
user of this machine to say (`dataver.repository.allowing`).
"""

import os
import threading
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from typing import Final

from dataver.errors import FormatTooNew, IntegrityError, NotFound
from dataver.formats.external import ExternalPack, Run, Source, parse_external
from dataver.formats.frame import encode_frame
from dataver.formats.pack import MAGIC, Footer
from dataver.hashing.digest import digest
from dataver.repository.allowing import folder_of, refuse_unless_allowed
from dataver.repository.configuration import options_for
from dataver.repository.layout import pack_key
from dataver.storage import DiskCache, ObjectChanged, Pin, Store, open_store

__all__ = ["ExternalChanged", "Externals", "pin_of"]

_REREADS: Final = 2  # of bytes that seem damaged, and of an external pack that does
_KEPT: Final = 64  # external packs kept in memory, ~0.2 MB each
_AT_ONCE: Final = 8  # objects that one range is put together from


class ExternalChanged(IntegrityError):
    """An object outside the repository is gone, or holds other bytes than when it was recorded."""


class Externals:
    """The external packs of one repository."""

    def __init__(self, store: Store, cache: DiskCache | None) -> None:
        self._store = store
        self._cache = cache
        self._packs: OrderedDict[bytes, ExternalPack] = OrderedDict()
        self._stores: dict[str, Store] = {}
        self._lock = threading.Lock()

    def load(self, pack_id: bytes, path: Path | None = None) -> ExternalPack:
        """Return an external pack.

        Args:
            pack_id: which.
            path: where it lies on this machine, if the store may not hold it yet.

        Raises:
            IntegrityError: it is missing, or damaged.
        """
        with self._lock:
            found = self._packs.get(pack_id)
            if found is not None:
                self._packs.move_to_end(pack_id)
                return found
        local = path is not None and path.is_file()
        found = parse_external(path.read_bytes(), pack_id) if path and local else self._read_pack(pack_id)
        with self._lock:
            self._packs[pack_id] = found
            while len(self._packs) > _KEPT:
                self._packs.popitem(last=False)
        return found

    def footer(self, pack_id: bytes) -> Footer:
        """Return what the footer of the pack would say."""
        return self.load(pack_id).footer

    def read(self, pack_id: bytes, offset: int, length: int) -> bytes:
        """Return exactly the bytes that the pack would have there, made of pieces that were checked.

        Raises:
            ExternalChanged: an object is gone or another one, by its URL.
            IntegrityError: the external pack is missing or damaged, or ends before the range does.
            StoreError: the place may not be read from here, or fails.
        """
        pack = self.load(pack_id)
        offsets, end = pack.footer.frame_offsets, offset + length
        if not 0 <= offset < end <= offsets[-1]:
            raise IntegrityError(f"external pack {pack_id[1:].hex()} ends before byte {end}.")
        first = max(0, bisect_right(offsets, offset) - 1)
        base = 0 if offset < offsets[0] else offsets[first]
        runs = list(pack.runs(first, bisect_left(offsets, end)))
        if len(runs) > 1 and self._place(pack).local_root is None:
            with ThreadPoolExecutor(min(_AT_ONCE, len(runs)), "dataver-external") as pool:
                parts = list(pool.map(lambda run: self._frames(pack, run), runs))
        else:
            parts = [self._frames(pack, run) for run in runs]
        whole = b"".join((b"" if base else MAGIC, *parts))
        return whole if base == offset and len(whole) == length else whole[offset - base : end - base]

    def look(self, pack_id: bytes, first: int, behind: int) -> bool:
        """Tell whether the objects that some frames are made of look as they did; reads none of their bytes.

        Raises:
            ExternalChanged: one is gone, or certainly another one.
            StoreError: the place may not be read from here, or fails.
        """
        pack = self.load(pack_id)
        store, sure = self._place(pack), True
        for run in pack.runs(first, behind):
            self._inside(pack, run.source)
            want = pin_of(run.source)
            try:
                # a version of an object stays, whatever became of the object: reading a byte of it tells
                found = want if want.version and store.get_pinned(run.source.key, want, 0, 1) else None
                found = found or store.pin(run.source.key)
            except NotFound as error:
                raise _changed(pack, run.source, "it is gone") from error
            except ObjectChanged as error:
                raise _changed(pack, run.source, error.how) from error
            if found.size != want.size or (want.etag and found.etag != want.etag):
                raise _changed(pack, run.source, "it has another size or ETag")
            sure = sure and bool(want.etag or found.modified == want.modified)
        return sure

    def _read_pack(self, pack_id: bytes) -> ExternalPack:
        key = pack_key(pack_id)
        data = self._cache.get(key) if self._cache else None
        for left in reversed(range(_REREADS + 1)):
            try:
                return parse_external(self._fetch(key) if data is None else data, pack_id)
            except (IntegrityError, FormatTooNew):
                if not left:
                    raise
            data = None  # the copy in the cache may be the damaged one, or a bit flipped on the way
        raise AssertionError("the last attempt returns or raises")

    def _fetch(self, key: str) -> bytes:
        try:
            data = self._store.get(key)
        except NotFound as error:
            from dataver.repository.packs import PackMissing

            raise PackMissing(
                f"{key} is missing from {self._store.url}: it says where external files lie.",
                hint="`dataver verify` tells what else is damaged; a copy of the repository may have it",
            ) from error
        if self._cache:
            self._cache.put(key, data)
        return data

    def _place(self, pack: ExternalPack) -> Store:
        """Return the store of a place that may be read from."""
        found = self._stores.get(pack.place)
        if found is None:
            refuse_unless_allowed(pack.place, self._store.url)
            folder = folder_of(pack.place)
            found = open_store(pack.place if folder is None else folder, options_for(pack.place))
            self._stores[pack.place] = found
        return found

    def _inside(self, pack: ExternalPack, source: Source) -> None:
        """Refuse a file that a link leads out of its folder."""
        folder = folder_of(pack.place)
        if folder is not None:
            path = os.path.realpath(folder / source.key)
            if not path.startswith(os.path.realpath(folder).rstrip("/") + "/"):
                raise _changed(pack, source, "a link leads out of its folder")

    def _frames(self, pack: ExternalPack, run: Run) -> bytes:
        """Return frames that are made of one object."""
        data = self._checked(pack, run)
        lengths = pack.footer.lengths[run.first : run.behind]
        parts: list[bytes | memoryview] = []
        for start, length in zip(accumulate(lengths, initial=0), lengths, strict=False):
            header, stored = encode_frame(data[start : start + length], [length], None)
            parts += (header, memoryview(stored))
        return b"".join(parts)

    def _checked(self, pack: ExternalPack, run: Run) -> memoryview:
        """Return an object's bytes, every piece compared with its digest."""
        store, source, footer = self._place(pack), run.source, pack.footer
        self._inside(pack, source)
        bad = ""
        for _ in range(_REREADS + 1):
            try:
                data = memoryview(store.get_pinned(source.key, pin_of(source), run.start, run.length))
            except ObjectChanged as error:
                raise _changed(pack, source, error.how) from error
            at = 0
            for number in range(run.first, run.behind):
                length = footer.lengths[number]
                if digest(data[at : at + length]) != footer.chunk_digest(number):
                    bad = f"other bytes stand at byte {run.start + at}"
                    break
                at += length
            else:
                return data
        raise _changed(pack, source, bad)


def pin_of(source: Source) -> Pin:
    """Return how an object looked when it was recorded."""
    modified = None if source.modified is None else datetime.fromisoformat(source.modified)
    return Pin(source.size, source.etag, source.version, modified)


def _changed(pack: ExternalPack, source: Source, how: str) -> ExternalChanged:
    when = f" ({source.modified[:19]} UTC)" if source.modified else ""
    return ExternalChanged(
        f"{pack.uri(source)} is not what it was when it was recorded{when}: {how}.",
        hint="put the old object back, or add it again and publish a new version",
    )
