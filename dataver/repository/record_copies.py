"""Copies of many records in one object, so that a long history is read with few requests.

The idea: a store with S3's entity tags lists each record with the MD5 of its bytes. So a copy is recognised
by the listing, wherever it lies, and is not trusted: bytes that the listing does not name are ignored. In
other stores no copies are written.

Keeps invariants 1 and 5: copies can be deleted, be old or be incomplete; the missing records are read one by
one. Writers that publish add some from time to time, and a repack writes all anew; a failure is no error.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Final, TypeAlias

import zstandard

from dataver import parallel
from dataver.errors import DataverError, IntegrityError, StoreError
from dataver.formats.compression import decompress_exactly, make_compressor, make_decompressor
from dataver.hashing import digest
from dataver.log import info as log_info
from dataver.portions import portions
from dataver.repository.layout import COPIES, copies_key, copies_prefix, parse_copies_key
from dataver.storage import ObjectInfo, Store

__all__ = ["ADDED", "MANY", "RecordCopies", "md5_of"]

MANY: Final = 128
"""Missing records from which on copies are looked for: a shorter history has none."""

ADDED: Final = 128
"""Records that are copied together when a version is published."""

Read: TypeAlias = Callable[[list[str]], Iterable[bytes]]

_LEVEL: Final = 9
_CONTENT: Final = 16 << 20  # bytes of records in one object
_RECORDS: Final = 4096  # in one object
_NEWEST: Final = 1024  # records of which a writer makes copies at most; a repack makes those of all others
_OVERLAP: Final = 8  # earlier records, which were perhaps published while the last copies were made
_ETAG: Final = re.compile(r'"?([0-9a-f]{32})"?', re.ASCII)


def md5_of(info: ObjectInfo) -> str | None:
    """Return the MD5 of an object, 32 hex, as its listing states it; None if it does not.

    Of an object that is encrypted by a key of the user's, it is the MD5 of other bytes, and matches none.
    """
    found = _ETAG.fullmatch(info.etag or "")
    return found[1] if found else None


class RecordCopies:
    """The copies of records in one repository."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, datasets: Collection[str], wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Yield the MD5 and the bytes of each wanted record of some datasets of which there is a copy."""
        prefix = copies_prefix(next(iter(datasets))) if len(datasets) == 1 else COPIES
        try:
            keys = [each.key for each in self._store.list(prefix) if parse_copies_key(each.key) in datasets]
        except StoreError:
            return
        if keys:
            with parallel.pool(min(parallel.REQUESTS, len(keys)), "copies") as pool:
                for lines in pool.map(self._lines, keys):
                    for line in lines:
                        if (name := _md5(line)) in wanted:
                            yield name, line

    def extend(self, dataset: str, listed: Mapping[str, ObjectInfo], read: Read) -> None:
        """Copy the newest records of a dataset if many have no copy.

        Args:
            dataset: the dataset.
            listed: the listed records by label.
            read: returns the bytes of the records with these labels.
        """
        times = {label: info.modified for label, info in listed.items() if info.modified and md5_of(info)}
        if len(times) < ADDED:
            return
        try:
            there = [each.modified for each in self._store.list(copies_prefix(dataset)) if each.modified]
            newest = sorted(times, key=lambda label: (times[label], label))[-_NEWEST:]
            fresh = [label for label in newest if not there or times[label] > max(there)]
            if len(fresh) >= ADDED:
                some = newest[-len(fresh) - _OVERLAP :]
                self._write(dataset, _matching(read(some), listed.values()))
        except DataverError as error:
            log_info("copies of the records of %s were not written: %s", dataset, error.message)

    def rewrite(self, dataset: str, listed: Mapping[str, ObjectInfo], read: Read) -> None:
        """Replace the copies of a dataset's records by a few objects with all of them, if there are many."""
        if sum(md5_of(info) is not None for info in listed.values()) < ADDED:
            return
        try:
            old = [
                each.key
                for each in self._store.list(copies_prefix(dataset))
                if parse_copies_key(each.key) == dataset
            ]
            lines = _matching(read(list(listed)), listed.values())
            new = set(self._write(dataset, lines))
            self._store.delete_many([key for key in old if key not in new])
        except DataverError as error:
            log_info("copies of the records of %s were not written: %s", dataset, error.message)

    def _write(self, dataset: str, lines: Iterator[bytes]) -> list[str]:
        """Write copies of records; return the keys."""
        keys = []
        for content in _contents(lines):
            key = copies_key(dataset, digest(content).hex())
            self._store.put_new(key, make_compressor(_LEVEL)(content))
            keys.append(key)
        return keys

    def _lines(self, key: str) -> list[bytes]:
        """Return the records in an object; none if it was deleted or is damaged."""
        try:
            data = self._store.get_bounded(key, _CONTENT)
            size = zstandard.frame_content_size(data)
            if not 0 <= size <= _CONTENT:
                raise IntegrityError("its size is not stated")
            return decompress_exactly(data, size, make_decompressor(), key).split(b"\n")
        except (DataverError, zstandard.ZstdError) as error:
            log_info("%s is not used: %s", key, error)
            return []


def _contents(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the contents of objects, each with as many records as it may have."""
    for some in portions(lines, _CONTENT, lambda line: len(line) + 1, _RECORDS):
        yield b"".join(line + b"\n" for line in some)


def _matching(records: Iterable[bytes], infos: Iterable[ObjectInfo]) -> Iterator[bytes]:
    """Yield the records that a listing names."""
    names = {md5_of(info) for info in infos}
    return (record for record in records if _md5(record) in names)


def _md5(data: bytes) -> str:
    from hashlib import md5  # loads OpenSSL, which local repositories do not need

    return md5(data, usedforsecurity=False).hexdigest()
