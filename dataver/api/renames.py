"""Renamed files of a large difference: pairs of a removed and an added file with the same content.

The idea: one bit is kept for each content, and files whose bit is not set on the other side have no partner.
SQLite pairs the others, in a temporary file of its own if they are many, so memory is bounded.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from dataver.errors import StoreError
from dataver.formats.entry import Entry, Kind
from dataver.tree import Change

if TYPE_CHECKING:
    from sqlite3 import Connection

# Imports in functions: sqlite3, which a draft without renames does not need.

__all__ = ["Renames"]

_BITS: Final = 1 << 26  # in 8 MB; with 10 million files, one in seven is examined without need

_PAIR: Final = """
    create table pairs as
    with numbered as (
        select *, row_number() over (partition by content, size, new order by rowid) as number from files
    )
    select gone.path as old, arrived.path as new, arrived.kind as kind, size, content
    from (select * from numbered where not new) as gone
    join (select * from numbered where new) as arrived using (content, size, number)
"""


class Renames:
    """The renamed files of a difference, paired as by `dataver.tree.find_renames`.

    Args:
        walk: returns the changes, each time it is called.

    Attributes:
        count: the number of pairs.
        size: the bytes of their new files.

    Raises:
        StoreError: the disk has no room for the temporary file.
    """

    def __init__(self, walk: Callable[[], Iterator[Change]]) -> None:
        self.count = self.size = 0
        self._database: Connection | None = None
        gone, arrived = _Contents(), _Contents()
        for entry, new in _moved(walk()):
            (arrived if new else gone).add(entry)
        rows = (
            (new, entry.path, entry.kind, entry.size, entry.digest)
            for entry, new in _moved(walk())
            if entry in (gone if new else arrived)
        )
        first = next(rows, None)
        if first is None:
            return
        import sqlite3

        with _translated():
            database = sqlite3.connect("", check_same_thread=False)
            database.execute(
                "create table files (new bool, path text, kind integer, size integer, content blob)"
            )
            database.executemany("insert into files values (?, ?, ?, ?, ?)", chain((first,), rows))
            database.execute(_PAIR)
            found = database.execute("select count(*), coalesce(sum(size), 0) from pairs")
            self.count, self.size = found.fetchone()
        self._database = database

    def by_old(self) -> Iterator[tuple[str, Entry]]:
        """Yield the old path and the new entry, without extents, of each pair, in the order of old paths."""
        for old, new, kind, size, content in self._read("select * from pairs order by old"):
            yield old, Entry(new, Kind(kind), size, content)

    def by_new(self) -> Iterator[str]:
        """Yield the new paths in order."""
        return (new for (new,) in self._read("select new from pairs order by new"))

    def _read(self, query: str) -> Iterator[tuple[Any, ...]]:
        if self._database is not None:
            with _translated():
                yield from self._database.execute(query)


class _Contents:
    """A set of contents, which may seem to have some that it does not have."""

    def __init__(self) -> None:
        self._bits = bytearray(_BITS // 8)

    def add(self, entry: Entry) -> None:
        number = int.from_bytes(entry.digest[:4], "little") % _BITS
        self._bits[number >> 3] |= 1 << (number & 7)

    def __contains__(self, entry: Entry) -> bool:
        number = int.from_bytes(entry.digest[:4], "little") % _BITS
        return bool(self._bits[number >> 3] >> (number & 7) & 1)


def _moved(changes: Iterable[Change]) -> Iterator[tuple[Entry, bool]]:
    """Yield the files that were removed or added, and whether they are new; empty files are all equal."""
    for _, old, new in changes:
        entry = old if new is None else new if old is None else None
        if entry is not None and entry.size:
            yield entry, old is None


@contextmanager
def _translated() -> Iterator[None]:
    import sqlite3

    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(
            f"the renamed files cannot be found: {error}.",
            hint="free space in the folder of temporary files, or choose another one with TMPDIR",
        ) from error
