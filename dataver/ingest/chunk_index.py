"""The local chunk index: the locations of one repository's chunks that this machine has stored or read.

The idea: one SQLite row per chunk, keyed by the first 8 bytes of its digest, pointing into a pack's footer,
which is stored beside it. The footer, authenticated by the pack's id, decides: a prefix that leads to another
digest is a miss. A pack belongs to a draft (`owner`) until it is uploaded, then to all drafts.

Keeps invariant 5: the index is a hint. It may be deleted at any time, an unreadable one is deleted and
created again, and callers confirm that a pack found here exists. A missed duplicate costs only space.
"""

import sqlite3
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from dataver.errors import IntegrityError
from dataver.formats.pack import Footer, memory_of
from dataver.lru import LRUCache
from dataver.machine.paths import make_private

__all__ = ["ChunkIndex", "ChunkLocation"]

_SCHEMA = 1
_SHIFT = 20  # a place is pack number << 20 | chunk number; a pack holds less than 2**20 chunks
_MASK = (1 << _SHIFT) - 1
_ASK = 900  # keys per query; SQLite's historic limit of variables is 999
_ROWS = 450  # chunks per insertion: each step of a statement takes the GIL again
_KEPT = 64  # parsed footers in memory …
_KEPT_SIZE = 32 << 20  # … and their limit in bytes: packs of tiny files have large footers
_BUSY = 30.0  # seconds to wait for another process that writes

_CREATE = f"""
CREATE TABLE IF NOT EXISTS packs (
    number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, owner TEXT, footer BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS chunks (prefix INTEGER PRIMARY KEY, place INTEGER NOT NULL);
PRAGMA user_version = {_SCHEMA};
"""


class ChunkLocation(NamedTuple):
    """Where a known chunk begins in the raw stream of a pack."""

    footer: Footer
    start: int
    length: int


class ChunkIndex:
    """The index of one repository, with one draft's packs. Thread-safe."""

    def __init__(self, path: Path, owner: str) -> None:
        self._path = path
        self._owner = owner
        self._lock = threading.Lock()
        self._footers: LRUCache[int, Footer] = LRUCache(_KEPT, _KEPT_SIZE, memory_of)
        self._unusable: set[int] = set()  # packs that are damaged, or belong to another draft
        self._db = self._open()
        self.empty = self._count() == 0

    def close(self) -> None:
        """Close the file."""
        with self._lock, suppress(sqlite3.Error):
            self._db.close()

    def find(self, digests: Sequence[bytes]) -> dict[bytes, ChunkLocation]:
        """Return the places of those chunks that are known and usable by this draft."""
        if self.empty or not digests:
            return {}
        keys = {_prefix(digest): digest for digest in digests}
        found: dict[bytes, ChunkLocation] = {}
        with self._lock:
            for prefix, place in self._query(list(keys)):
                digest, chunk = keys[prefix], place & _MASK
                footer = self._footer(place >> _SHIFT)
                if footer and chunk < footer.chunk_count and footer.chunk_digest(chunk) == digest:
                    found[digest] = ChunkLocation(footer, footer.chunk_starts[chunk], footer.lengths[chunk])
        return found

    def add(self, footer: Footer, *, published: bool) -> None:
        """Record a pack and its chunks; the newest place of a chunk replaces older ones."""
        digests = footer.digests
        with self._lock, suppress(sqlite3.Error):
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                owner = None if published else self._owner
                number = self._number(footer, owner)
                base = number << _SHIFT
                rows = sorted(
                    (int.from_bytes(digests[32 * i : 32 * i + 8], "little", signed=True), base | i)
                    for i in range(footer.chunk_count)
                )
                for start in range(0, len(rows), _ROWS):
                    some = rows[start : start + _ROWS]
                    question = f"INSERT OR REPLACE INTO chunks VALUES {','.join(['(?,?)'] * len(some))}"  # noqa: S608
                    self._db.execute(question, list(chain.from_iterable(some)))
            self._unusable.discard(number)
            self._footers.put(number, footer)
            self.empty = False

    def known_packs(self, ids: Iterable[bytes]) -> set[bytes]:
        """Return those of these packs that the index has and this draft may use."""
        with self._lock:
            try:
                return {
                    pack
                    for pack in ids
                    if self._db.execute(
                        "SELECT 1 FROM packs WHERE id = ? AND (owner IS NULL OR owner = ?)",
                        (pack, self._owner),
                    ).fetchone()
                }
            except sqlite3.Error:
                return set()

    def footer(self, pack_id: bytes) -> Footer | None:
        """Return the footer of a pack that the index has and this draft may use, else None."""
        with self._lock:
            try:
                row = self._db.execute("SELECT number FROM packs WHERE id = ?", (pack_id,)).fetchone()
            except sqlite3.Error:
                return None
            return self._footer(row[0]) if row else None

    def forget(self, pack_id: bytes) -> None:
        """Drop a pack that does not exist."""
        with self._lock, suppress(sqlite3.Error), self._db:
            self._db.execute("DELETE FROM packs WHERE id = ?", (pack_id,))
            self._footers.clear()
            self._unusable.clear()

    def publish(self, pack_ids: Iterable[bytes]) -> None:
        """Make the draft's uploaded packs available to every draft."""
        with self._lock, suppress(sqlite3.Error), self._db:
            self._db.executemany("UPDATE packs SET owner = NULL WHERE id = ?", ((each,) for each in pack_ids))

    def disown(self) -> None:
        """Drop the packs that only this draft had, when it is discarded."""
        with self._lock, suppress(sqlite3.Error), self._db:
            self._db.execute("DELETE FROM packs WHERE owner = ?", (self._owner,))
            self._footers.clear()
            self._unusable.clear()

    def _open(self) -> sqlite3.Connection:
        try:
            make_private(self._path.parent)
            try:
                return self._connect(self._path)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                    raise
            for end in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + end).unlink(missing_ok=True)
            return self._connect(self._path)
        except (OSError, sqlite3.DatabaseError):
            return self._connect(":memory:")  # without a writable cache only duplicates are missed

    def _connect(self, path: Path | str) -> sqlite3.Connection:
        db = sqlite3.connect(path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA trusted_schema = OFF")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(
                "PRAGMA synchronous = OFF"
            )  # a hint: damage by a power cut is a miss, or the index is created again
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _SCHEMA):
                raise sqlite3.DatabaseError(f"schema {version}")
            if version == 0:
                db.executescript(_CREATE)
            db.execute("SELECT number FROM packs LIMIT 1").fetchone()
        except sqlite3.Error:
            db.close()
            raise
        return db

    def _count(self) -> int:
        try:
            row = self._db.execute("SELECT count(*) FROM (SELECT 1 FROM packs LIMIT 1)").fetchone()
        except sqlite3.Error:
            return 0
        return int(row[0])

    def _query(self, prefixes: list[int]) -> list[tuple[int, int]]:
        rows: list[tuple[int, int]] = []
        try:
            for start in range(0, len(prefixes), _ASK):
                some = prefixes[start : start + _ASK]
                marks = ",".join("?" * len(some))
                question = f"SELECT prefix, place FROM chunks WHERE prefix IN ({marks})"  # noqa: S608  # marks only
                rows += self._db.execute(question, some).fetchall()
        except sqlite3.Error:
            return []
        return rows

    def _number(self, footer: Footer, owner: str | None) -> int:
        self._db.execute(
            "INSERT INTO packs (id, owner, footer) VALUES (?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET owner = "
            "CASE WHEN owner IS NULL THEN NULL ELSE excluded.owner END",
            (footer.pack_id, owner, footer.raw),
        )
        row: Any = self._db.execute("SELECT number FROM packs WHERE id = ?", (footer.pack_id,)).fetchone()
        return int(row[0])

    def _footer(self, number: int) -> Footer | None:
        footer = self._footers.get(number)
        if footer is not None or number in self._unusable:
            return footer
        footer = self._load_footer(number)
        if footer is None:
            self._unusable.add(number)
        else:
            self._footers.put(number, footer)
        return footer

    def _load_footer(self, number: int) -> Footer | None:
        try:
            row = self._db.execute(
                "SELECT id, footer FROM packs WHERE number = ? AND (owner IS NULL OR owner = ?)",
                (number, self._owner),
            ).fetchone()
            footer = Footer(row[1]) if row else None
        except (sqlite3.Error, IntegrityError):
            return None
        return footer if footer and footer.pack_id == row[0] else None


def _prefix(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "little", signed=True)
