"""Whole files in a given order, read ahead in groups.

The idea: one thread reads the next group while the caller uses the current one, so memory holds two groups,
and the requests of a group run in parallel. If the version was fetched to this machine, each file is read
when it is needed, from the page cache. All reads belong to the run in which the first file is requested.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataver import parallel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dataver.reading.files import Files

__all__ = ["contents"]


def contents(
    files: Files, groups: Iterable[Sequence[str]], *, opened: bool = False
) -> Iterator[tuple[str, Any]]:
    """Yield paths and the bytes of their files.

    Args:
        files: what is read.
        groups: paths, those together that are read together.
        opened: give open files instead, which the caller closes and which read ahead themselves.

    Raises:
        PathNotFound, IntegrityError, StoreError: as `Files.read_many`.
    """
    files = files.in_current_run()
    if opened:
        for group in groups:
            for path in group:
                yield path, files.open(path)
    elif files.fetched:
        for group in groups:
            for path in group:
                yield path, files.read(path)
    else:
        yield from _ahead(files, groups)


def _ahead(files: Files, groups: Iterable[Sequence[str]]) -> Iterator[tuple[str, bytes]]:
    coming = iter(groups)
    group = next(coming, None)
    if group is None:
        return
    pool = parallel.pool(1, "ahead")
    try:
        found = pool.submit(_read, files, group)
        while group is not None:
            following = next(coming, None)
            read = found.result()
            if following is not None:
                found = pool.submit(_read, files, following)
            read.reverse()
            for path in group:
                yield path, read.pop()  # bytes that were given out are not kept
            group = following
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _read(files: Files, group: Sequence[str]) -> list[bytes]:
    return files.read_many([(path, 0, None) for path in group])
