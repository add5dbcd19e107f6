"""The contents of a version in order, for writers: small files many at a time, large ones as streams."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from dataver.api.version import Version
from dataver.formats.entry import Entry, Kind
from dataver.portions import portions
from dataver.progress import Progress
from dataver.storage.base import TEMPORARY

__all__ = ["contents", "is_file", "new_file", "unnamed_file"]

_GROUP: Final = 32 << 20  # bytes that are read together
_FILES: Final = 4096
_PIECE: Final = 8 << 20


def is_file(entry: Entry) -> bool:
    """Return whether an entry has bytes: it is neither a link nor an empty folder."""
    return entry.kind in (Kind.FILE, Kind.EXECUTABLE)


def contents(
    version: Version, entries: Iterable[Entry], progress: Progress
) -> Iterator[tuple[Entry, Iterable[bytes]]]:
    """Yield the entries, each with its bytes in verified pieces, to be used before the next entry."""
    files = version.files()
    for group in portions(entries, _GROUP, lambda entry: entry.size, _FILES):
        small = [entry for entry in group if is_file(entry) and entry.size <= _GROUP]
        found = iter(files.read_many([(entry.path, 0, None) for entry in small]))
        for entry in group:
            if entry.size > _GROUP:
                with files.open(entry.path) as large:
                    yield entry, iter(lambda large=large: large.read(_PIECE), b"")  # type: ignore[misc]
            else:
                yield entry, [next(found)] if is_file(entry) else ()
            progress.advance(1, entry.size)


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that gets its name once it is complete."""
    with unnamed_file(path.parent) as (partial, out):
        yield out
        out.close()
        partial.replace(path)


@contextmanager
def unnamed_file(folder: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    """Open a file of this call alone, which is deleted if it gets no other name."""
    partial = folder / f"{TEMPORARY}{os.urandom(8).hex()}"
    try:
        with partial.open("xb") as out:
            yield partial, out
    finally:
        partial.unlink(missing_ok=True)
