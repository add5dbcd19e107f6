"""The lineage index: a local SQLite file for queries that can always be rebuilt.

The idea: the repository is the source of truth (records, tags, events), and the index is a function of it
(`event_rows.py`). So it can be deleted, and several processes can fill it concurrently, each in short
transactions whose order does not matter.

The file: `index.sqlite` is a symbolic link to `index-<16 hex>.sqlite`. A rebuilt index gets a new name and
the link is replaced atomically. So no reader sees an incomplete index, or applies the write-ahead log of
another file.

Keeps invariants 5 (the error for a damaged index contains the command to rebuild it; SQLite is used on the
local machine only) and 4 (a full disk or a permanent lock is an error without loss of data).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import time
from typing import TYPE_CHECKING, Final, Self

from dataver.errors import FormatTooNew, IntegrityError, InternalError, StoreError
from dataver.lineage.index import event_rows
from dataver.machine.paths import make_private, state_root

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from sqlite_utils import Migrations

    from dataver.formats.event import Event
    from dataver.repository.records import Published

# Imports in functions: sqlite_utils is needed to make or migrate the index, and not to open it.

__all__ = ["LineageIndex", "default_path", "publish_index"]

APPLICATION: Final = 0x4456_4C49  # "DVLI", in the file's header
SCHEMA: Final = 5  # migrations in `schema.py`
BUSY: Final = 30.0  # seconds to wait for another writer; the longest transaction takes ten

_REBUILD: Final = "run `dataver lineage rebuild` to make it again from the repository"
_BATCH: Final = 4_000  # events a transaction; keys are hashes, so each touches most pages of a table
_CACHE: Final = 64 << 10  # KiB of cached pages of an open index
_LOG: Final = 8_000  # pages of the log before a checkpoint; fewer checkpoints write fewer pages in total
_LEFT: Final = 3600.0  # seconds after which a file without a link is a leftover
_TRIES: Final = 20

_CORRUPT: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_LOCKED: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_REFUSED: Final = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "it cannot be written",
    sqlite3.SQLITE_IOERR: "the disk fails",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_PERM: "permission is denied",
}


def default_path(name: str) -> Path:
    """Return the default path of the index of a repository, by its `local_name`."""
    return state_root() / "lineage" / name / "index.sqlite"


class LineageIndex:
    """The open index of one repository, a context manager; for one thread at a time, and not across a fork.

    Attributes:
        path: the symbolic link to it.
        file: the file itself.
        db: the connection, for queries; `asking` translates its errors.
    """

    def __init__(self, path: Path, file: Path, db: sqlite3.Connection) -> None:
        self.path = path
        self.file = file
        self.db = db

    @classmethod
    def open(cls, name: str, path: Path | None = None, *, timeout: float = BUSY) -> LineageIndex:
        """Open the index of a repository; create an empty one if it does not exist.

        Args:
            name: the repository's `local_name`.
            path: its path; None means `default_path`.
            timeout: seconds to wait for other writers.

        Raises:
            FormatTooNew: a newer dataver made it.
            IntegrityError: it is damaged, or not a lineage index.
            StoreError: it cannot be opened or created.
        """
        link = default_path(name) if path is None else path
        with _translating(link):
            for _ in range(_TRIES):
                try:
                    file = link.resolve(strict=True)
                except FileNotFoundError:
                    fresh = cls.create(link, timeout=timeout)
                    if publish_index(fresh, replace=False):
                        return fresh
                    continue
                try:
                    return cls(link, file, _connect(file, timeout))
                except sqlite3.OperationalError:
                    if file.exists():
                        raise
                    # it was replaced and removed after `resolve`
        raise StoreError(f"the lineage index {link} keeps being replaced.", transient=True)

    @classmethod
    def create(cls, path: Path, *, timeout: float = BUSY) -> LineageIndex:
        """Create an empty index, which `publish_index` makes available at `path`.

        Raises:
            StoreError: it cannot be created.
        """
        with _translating(path):
            make_private(path.parent)
            file = path.parent.resolve() / f"{path.stem}-{secrets.token_hex(8)}{path.suffix}"
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            return cls(path, file, _connect(file, timeout))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(sqlite3.Error):
            self.db.close()

    def discard(self) -> None:
        """Close and remove a file without a link."""
        self.close()
        _remove(self.file)

    @contextlib.contextmanager
    def asking(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection; translate errors of SQLite into errors that name the index."""
        with _translating(self.path):
            yield self.db

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection inside one transaction, which is rolled back after an error.

        Raises:
            StoreError: the disk is full, or another process holds the index for too long.
            IntegrityError: the index is damaged.
        """
        with _translating(self.path):
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield self.db
                self.db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back already
                    self.db.execute("ROLLBACK")
                raise

    def apply_events(self, events: Iterable[Event]) -> int:
        """Add events, in any order and with duplicates; return their number."""
        count = 0
        batch: list[Event] = []
        for event in events:
            batch.append(event)
            if len(batch) == _BATCH:
                count += self.apply_batch(batch)
                batch = []
        return count + (self.apply_batch(batch) if batch else 0)

    def apply_batch(self, events: Sequence[Event], seen: Iterable[tuple[str, str | None]] = ()) -> int:
        """Add events in one transaction, with the `(key, problem)` of their objects."""
        rows = event_rows.rows_of(events)
        with self.writing() as db:
            event_rows.add_events(db, rows)
            db.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?)", seen)
        return len(events)

    def apply_versions(self, versions: Iterable[Published]) -> None:
        """Add records."""
        found = list(versions)
        with self.writing() as db:
            event_rows.add_versions(db, found)

    @contextlib.contextmanager
    def overlay(self, events: Iterable[Event]) -> Iterator[sqlite3.Connection]:
        """Yield the connection with these events added, and roll back afterwards.

        For events in the local queue, which may still change before they are sent. Other processes cannot
        write meanwhile.
        """
        rows = event_rows.rows_of(list(events))
        with _translating(self.path):
            self.db.execute("BEGIN IMMEDIATE")
            try:
                event_rows.add_events(self.db, rows)
                yield self.db
            finally:
                with contextlib.suppress(sqlite3.Error):
                    self.db.execute("ROLLBACK")

    def problems(self) -> list[tuple[str, str]]:
        """Return `(key, reason)` of every object of the repository that is unreadable, or partly so."""
        with self.asking() as db:
            return db.execute(
                "SELECT key, problem FROM seen WHERE problem IS NOT NULL ORDER BY key"
            ).fetchall()

    def state(self, name: str) -> str | None:
        """Return the value of a name in the table `state`, or None."""
        with self.asking() as db:
            row = db.execute("SELECT value FROM state WHERE name = ?", [name]).fetchone()
        return None if row is None else str(row[0])

    def check(self) -> list[str]:
        """Return the problems that SQLite finds in the file; reads all of it."""
        with self.asking() as db:
            found = [str(row[0]) for row in db.execute("PRAGMA integrity_check") if row[0] != "ok"]
            return found + [
                f"{row[0]} refers to no {row[2]}" for row in db.execute("PRAGMA foreign_key_check")
            ]


def publish_index(index: LineageIndex, *, replace: bool) -> bool:
    """Point the link at `path` to a complete index; remove old files without a link.

    Without `replace`, an existing index is kept: the new one is removed, and the result is False. Processes
    that have the former one open continue to use it.

    Raises:
        StoreError: the folder cannot be written, or does not support symbolic links.
    """
    link = index.path
    with _translating(link):
        former = link.resolve() if link.is_symlink() else None
        if replace or (former is not None and not former.exists()):
            temporary = link.with_name(f".{index.file.name}.link")
            temporary.symlink_to(index.file.name)
            temporary.replace(link)
        else:
            try:
                link.symlink_to(index.file.name)
            except FileExistsError:
                index.discard()
                return False
    if former is not None and former != index.file and former.parent == index.file.parent:
        _remove(former)
    _sweep(link)
    return True


def _sweep(link: Path) -> None:
    """Remove files of interrupted rebuilds."""
    current = link.resolve()
    for file in link.parent.glob(f"{link.stem}-{'[0-9a-f]' * 16}{link.suffix}"):
        with contextlib.suppress(OSError):
            if file.resolve() != current and time.time() - file.stat().st_mtime > _LEFT:
                _remove(file)


def _remove(file: Path) -> None:
    for end in ("", "-wal", "-shm"):
        with contextlib.suppress(OSError):
            file.with_name(file.name + end).unlink()


def _connect(file: Path, timeout: float) -> sqlite3.Connection:
    # without "c" in the mode: a file that was just removed is not created again
    uri = f"{file.as_uri()}?mode=rw"
    db = sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False)
    try:
        for pragma in (
            "trusted_schema = OFF",
            "cell_size_check = ON",
            "journal_mode = WAL",
            "synchronous = NORMAL",
            "foreign_keys = ON",
            f"cache_size = -{_CACHE}",
            f"wal_autocheckpoint = {_LOG}",
            "temp_store = FILE",
            f"journal_size_limit = {_CACHE << 10}",
        ):
            db.execute(f"PRAGMA {pragma}")
        _check_version(db, file)
        return db
    except BaseException:
        db.close()
        raise


def _check_version(db: sqlite3.Connection, file: Path) -> None:
    version = _number(db, "user_version")
    if version < SCHEMA:
        from dataver.lineage.index.schema import MIGRATIONS

        migrate(db, MIGRATIONS, file)
    elif version > SCHEMA:
        raise FormatTooNew(
            f"the lineage index {file} has schema {version}; this dataver supports {SCHEMA}.",
            hint="install a newer dataver, or set DATAVER_STATE to use another index",
        )
    if _number(db, "application_id") != APPLICATION:
        raise IntegrityError(f"{file} is not a lineage index.", hint=_REBUILD)


def migrate(db: sqlite3.Connection, migrations: Migrations, file: Path) -> None:
    """Apply the migrations that an index lacks, in one transaction."""
    import sqlite_utils

    database = sqlite_utils.Database(db, recursive_triggers=False, execute_plugins=False)
    db.execute("BEGIN IMMEDIATE")  # a concurrent process then finds the migrations applied
    try:
        if database.table_names() and not database.table(migrations.migrations_table).exists():
            raise IntegrityError(f"{file} is not a lineage index of this dataver.", hint=_REBUILD)
        migrations.apply(database)
        db.execute(f"PRAGMA application_id = {APPLICATION}")
        db.execute(f"PRAGMA user_version = {len(migrations.applied(database))}")
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _number(db: sqlite3.Connection, pragma: str) -> int:
    return int(db.execute(f"PRAGMA {pragma}").fetchone()[0])


@contextlib.contextmanager
def _translating(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _translated(error, path) from error
    except OSError as error:
        raise StoreError(
            f"the lineage index {path} cannot be used: {error.strerror or error}.",
            hint="set DATAVER_STATE to another folder",
        ) from error


def _translated(error: sqlite3.Error, path: Path) -> Exception:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    what = f"the lineage index {path}"
    if code in _CORRUPT:
        return IntegrityError(f"{what} is damaged: {error}.", hint=_REBUILD)
    if code in _LOCKED:
        return StoreError(
            f"{what} is locked by another process that writes to it.",
            hint="repeat the command",
            transient=True,
        )
    if code in _REFUSED:
        return StoreError(
            f"{what} cannot be used: {_REFUSED[code]}.", hint="set DATAVER_STATE to another folder"
        )
    if isinstance(error, sqlite3.OperationalError) and str(error).startswith("no such"):
        return IntegrityError(f"{what} is damaged: {error}.", hint=_REBUILD)
    return InternalError(f"{what} received an invalid query: {error}.")
