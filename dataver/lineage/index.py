"""The lineage index: a local SQLite file that answers questions and can always be made anew.

The idea: the repository carries the truth (records, tags, events); the index is a function of it
(`applying.py`), so it may be deleted, and several processes may fill it at once, each in short transactions
that say the same whoever says it first.

The file: `index.sqlite` is a symbolic link to `index-<16 hex>.sqlite`. A rebuilt index gets a name of its own
and the link is replaced in one step; so no reader ever meets half an index, and none meets the write-ahead
log of another file, which SQLite would play into it.

Keeps invariants 5 (an index that is damaged says so and how it is made anew; SQLite lives on this machine
only) and 4 (a full disk or a lock that does not go away is an error, and what was there stays).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Self

from dataver.errors import FormatTooNew, IntegrityError, InternalError, StoreError
from dataver.lineage import applying
from dataver.lineage.schema import MIGRATIONS
from dataver.repository.places import state_root

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from dataver.formats.event import Event
    from dataver.repository.records import Published

__all__ = ["LineageIndex", "default_path", "publish_index"]

APPLICATION: Final = 0x4456_4C49  # "DVLI", in the file's header
BUSY: Final = 30.0  # seconds to wait for another process that writes; the longest transaction takes ten

_REBUILD: Final = "`dataver lineage rebuild` makes it anew from the repository"
_BATCH: Final = 4_000  # events a transaction; keys are hashes, so each touches most pages of a table
_CACHE: Final = 64 << 10  # KiB of pages kept while one index is open
_LOG: Final = 8_000  # pages of the log, after which SQLite copies them back; more together are fewer in all
_LEFT: Final = 3600.0  # seconds after which a file that no link names is somebody's leftover
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


def default_path(repository_id: str) -> Path:
    """Return where this machine keeps the index of a repository."""
    return state_root() / "lineage" / repository_id / "index.sqlite"


class LineageIndex:
    """The index of one repository, opened; a context manager. For one thread, and not across a fork.

    Attributes:
        path: the link that names it.
        file: the file itself.
        db: the connection, for questions; `asking` translates its errors.
    """

    def __init__(self, path: Path, file: Path, db: sqlite3.Connection) -> None:
        self.path = path
        self.file = file
        self.db = db

    @classmethod
    def open(cls, repository_id: str, path: Path | None = None, *, timeout: float = BUSY) -> LineageIndex:
        """Open the index of a repository, and make an empty one where there is none.

        Args:
            repository_id: 32 hex.
            path: where it is; None means this machine's usual place.
            timeout: seconds to wait for other processes that write.

        Raises:
            FormatTooNew: a newer dataver made it.
            IntegrityError: it is damaged, or no lineage index.
            StoreError: it cannot be opened or made.
        """
        link = default_path(repository_id) if path is None else path
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
                    # it was replaced and removed between our two looks
        raise StoreError(f"the lineage index {link} keeps being replaced.", transient=True)

    @classmethod
    def create(cls, path: Path, *, timeout: float = BUSY) -> LineageIndex:
        """Make an empty index that will stand at `path` once `publish_index` names it.

        Raises:
            StoreError: it cannot be made.
        """
        with _translating(path):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
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
        """Let go of the file."""
        with contextlib.suppress(sqlite3.Error):
            self.db.close()

    def discard(self) -> None:
        """Let go of a file that no link names, and remove it."""
        self.close()
        _remove(self.file)

    @cached_property
    def database(self) -> Any:
        """The same connection as a `sqlite_utils.Database`, for looking around; importing it takes 0.15 s."""
        import sqlite_utils

        return sqlite_utils.Database(self.db)

    @contextlib.contextmanager
    def asking(self) -> Iterator[sqlite3.Connection]:
        """Give the connection; what SQLite raises inside becomes an error that names the index."""
        with _translating(self.path):
            yield self.db

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give the connection inside one transaction: all of it is written, or, after an error, nothing.

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
        """Take in events, in any order and as often as anybody likes; return how many came."""
        count = 0
        batch: list[Event] = []
        for event in events:
            batch.append(event)
            if len(batch) == _BATCH:
                count += self.apply_batch(batch)
                batch = []
        return count + (self.apply_batch(batch) if batch else 0)

    def apply_batch(self, events: Sequence[Event], seen: Iterable[tuple[str, str | None]] = ()) -> int:
        """Take in events in one transaction, with the `(key, problem)` of the objects they came from."""
        rows = applying.rows_of(events)
        with self.writing() as db:
            applying.add_events(db, rows)
            db.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?)", seen)
        return len(events)

    def apply_versions(self, versions: Iterable[Published]) -> None:
        """Take in records."""
        found = list(versions)
        with self.writing() as db:
            applying.add_versions(db, found)

    @contextlib.contextmanager
    def overlay(self, events: Iterable[Event]) -> Iterator[sqlite3.Connection]:
        """Give the connection as if these events had been taken in; afterwards it is as if they never had.

        For events that wait in the local queue: they may still change before they are sent. Other processes
        cannot write meanwhile.
        """
        rows = applying.rows_of(list(events))
        with _translating(self.path):
            self.db.execute("BEGIN IMMEDIATE")
            try:
                applying.add_events(self.db, rows)
                yield self.db
            finally:
                with contextlib.suppress(sqlite3.Error):
                    self.db.execute("ROLLBACK")

    def problems(self) -> list[tuple[str, str]]:
        """Return `(key, reason)` of every object of the repository that was left out, or partly so."""
        with self.asking() as db:
            return db.execute(
                "SELECT key, problem FROM seen WHERE problem IS NOT NULL ORDER BY key"
            ).fetchall()

    def state(self, name: str) -> str | None:
        """Return what was remembered under a name."""
        with self.asking() as db:
            row = db.execute("SELECT value FROM state WHERE name = ?", [name]).fetchone()
        return None if row is None else str(row[0])

    def check(self) -> list[str]:
        """Return what SQLite finds wrong with the file, at the cost of reading all of it."""
        with self.asking() as db:
            found = [str(row[0]) for row in db.execute("PRAGMA integrity_check") if row[0] != "ok"]
            return found + [
                f"{row[0]} refers to no {row[2]}" for row in db.execute("PRAGMA foreign_key_check")
            ]


def publish_index(index: LineageIndex, *, replace: bool) -> bool:
    """Make a finished index the one that `path` names; files that nothing names go, once they are old.

    Without `replace`, an index that is there already wins: the new one is removed, and the answer is False.
    Processes that have the former one open go on with it undisturbed.

    Raises:
        StoreError: the folder cannot be written, or has no symbolic links.
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
    """Remove what interrupted rebuilds left behind."""
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
    # without "c" in the mode: a file that was removed a moment ago is not made again
    uri = f"{file.as_uri()}?mode=rw"
    db = sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None)
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
    if version < len(MIGRATIONS):
        migrate(db, MIGRATIONS, file)
    elif version > len(MIGRATIONS):
        raise FormatTooNew(
            f"the lineage index {file} has schema {version}; this dataver knows {len(MIGRATIONS)}.",
            hint="install a newer dataver, or set DATAVER_STATE to use another index",
        )
    if _number(db, "application_id") != APPLICATION:
        raise IntegrityError(f"{file} is not a lineage index.", hint=_REBUILD)


def migrate(db: sqlite3.Connection, migrations: Sequence[str], file: Path) -> None:
    """Bring an older index to the newest schema, each step in a transaction of its own."""
    while True:
        db.execute("BEGIN IMMEDIATE")  # whoever comes second finds the work done
        try:
            version = _number(db, "user_version")
            if version >= len(migrations):
                return
            if version == 0 and db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
                raise IntegrityError(f"{file} is not a lineage index.", hint=_REBUILD)
            for statement in _statements(migrations[version]):
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION}")
            db.execute(f"PRAGMA user_version = {version + 1}")
            db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")


def _statements(script: str) -> Iterator[str]:
    """Yield the statements of a script; `executescript` would end the transaction first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


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
            hint="DATAVER_STATE names another folder for it",
        ) from error


def _translated(error: sqlite3.Error, path: Path) -> Exception:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    what = f"the lineage index {path}"
    if code in _CORRUPT:
        return IntegrityError(f"{what} is damaged: {error}.", hint=_REBUILD)
    if code in _LOCKED:
        return StoreError(
            f"{what} is being written by another process and stays locked.",
            hint="repeat the command",
            transient=True,
        )
    if code in _REFUSED:
        return StoreError(
            f"{what} cannot be used: {_REFUSED[code]}.", hint="DATAVER_STATE names another folder for it"
        )
    if isinstance(error, sqlite3.OperationalError) and str(error).startswith("no such"):
        return IntegrityError(f"{what} is damaged: {error}.", hint=_REBUILD)
    return InternalError(f"{what} was asked wrongly: {error}.")
