"""The queue: unsent journals, in one file for each process.

    <state>/lineage/<repository>/queue/<process>.json            appended by line (`journal`)
    <state>/lineage/<repository>/queue/<process>.<64 hex>.part   an attachment of its events
    <state>/lineage/<repository>/queue/<process>.new             the file until its owner has locked it

A file is never rewritten, since lines only add facts. An incomplete last line was being written when the
process died, and is ignored. A path has no control characters (`formats/entry.py`), so it fits in a line.

The owner holds a lock on its file (`flock`), which the system releases when the process dies. The process
that acquires the lock may send the file and delete it. After locking, the path is compared with the locked
file, so a file is never taken from its owner or deleted twice. Files are not flushed to disk: a power failure
may lose unsent records (invariant 8 has priority).
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self

from dataver.lineage import settings
from dataver.lineage.record.journal import Journal, attachments_of, identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from dataver.formats.event import Event
    from dataver.repository import RepositoryCore

__all__ = [
    "LeftFile",
    "QueueFile",
    "children",
    "left_files",
    "queue_folder",
    "remove_unlocked",
    "waiting",
]

_NAME: Final = re.compile(r"[0-9a-f]{32}\.json")
_UNLOCKED: Final = 3600.0  # age in seconds of an unlocked `.new` file after which its owner counts as killed


def queue_folder(repository: str) -> Path:
    """Return the local queue folder of a repository, by its `local_name`; it may not exist."""
    from dataver.machine.paths import state_root

    return state_root() / "lineage" / repository / "queue"


class QueueFile(Journal):
    """The journal of this process for one repository; its file is created with the first line.

    Args:
        folder: the queue's folder.
        process: the id of this process.
        head: fields of the first line.
        repo: the repository, if it is open.
    """

    def __init__(self, folder: Path, process: str, head: dict[str, Any], repo: Any = None) -> None:
        super().__init__()
        self.repo: RepositoryCore = repo
        self.path = folder / f"{process}.json"
        self.head = head
        self._fd: int | None = None
        self._torn = False
        self._closed = False
        self._kept: set[str] = set()

    def append(self, *lines: bytes | Event) -> bool:
        """Append lines; return whether they were written. If not, they are only in memory."""
        if self._closed:
            return False
        try:
            data = b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines)
            fd = self._open() if self._fd is None else self._fd
            if self._torn:
                data = b"\n" + data
            self._torn = True
            self._torn = os.write(fd, data) != len(data)
        except OSError as error:
            settings.warn(f"the lineage queue {self.path.parent} cannot be written: {error.strerror}.")
            return False
        if self._torn:
            settings.warn(f"the lineage queue {self.path.parent} cannot be written: the disk is full.")
        return not self._torn

    def keep(self, digest: str, raw: bytes) -> None:
        """Keep an attachment until it is sent, in memory and beside the file."""
        if digest in self._kept:
            return
        self._kept.add(digest)
        super().keep(digest, raw)
        try:
            if self._fd is None:
                self._open()
            self._part(digest).write_bytes(raw)
        except OSError as error:
            settings.warn(f"the lineage queue {self.path.parent} cannot be written: {error.strerror}.")

    def sent(self, events: Iterable[Event]) -> None:
        """Record that events were sent; append records made in the meantime again."""
        for event in events:
            entry = self.entries[event.run.key, event.run.process]
            entry.sent = event.run.sequence
            entry.unsent.difference_update(map(identity, event.links))
            for digest in attachments_of(event):
                self.attachments.pop(digest, None)
                self._part(digest).unlink(missing_ok=True)
        if self._fd is not None:
            self.append(b"!", *self.unsent())

    def close(self, *, delete: bool = False) -> None:
        """Close the file; with `delete`, remove it if it was sent completely."""
        if self._fd is not None:
            if delete and not self.unsent():
                for digest in self._kept:
                    self._part(digest).unlink(missing_ok=True)
                self.path.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = None
        self._closed = True

    def _part(self, digest: str) -> Path:
        return self.path.with_name(f"{self.path.stem}.{digest}.part")

    def _open(self) -> int:
        from dataver.machine.paths import make_private

        make_private(self.path.parent)
        new = self.path.with_suffix(".new")  # ignored by scans: they require a lock and a first line
        fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            with suppress(OSError):  # no locks in the file system: sending twice has no effect
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            head = b"#%s\n" % json.dumps(self.head, separators=(",", ":")).encode()
            self._torn = os.write(fd, head) != len(head)
            new.rename(self.path)
        except BaseException:
            os.close(fd)
            new.unlink(missing_ok=True)
            raise
        self._fd = fd
        return fd


class LeftFile(Journal):
    """The journal of a dead process, with its file locked by this one.

    A run without a recorded end counts as killed at the last write.
    """

    def __init__(self, path: Path, fd: int) -> None:
        self._path, self._fd = path, fd
        self._parts = sorted(path.parent.glob(f"{path.stem}.*.part"))
        with os.fdopen(os.dup(fd), "rb") as file:
            file.seek(0)
            super().__init__(file.read())
        for part in self._parts:
            with suppress(OSError):  # an attachment may be missing
                self.keep(part.suffixes[-2][1:], part.read_bytes())
        moment = datetime.fromtimestamp(os.fstat(fd).st_mtime, UTC)
        for entry in self.entries.values():
            run = entry.run
            if run.facts and run.ended is None and run.process == path.stem:
                ended = max(moment, run.started)
                ray = run.key.startswith("ray:")  # Ray kills its workers: the job may have finished
                outcome = None if ray else "killed"
                entry.run = run._replace(ended=ended, outcome=outcome, sequence=run.sequence + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def done(self) -> None:
        """Delete the file after sending; a damaged one is renamed to `<process>.damaged`."""
        if self.damaged:
            settings.warn(
                f"{self.damaged} lines in {self._path} are damaged; the file was renamed to `*.damaged`."
            )
            self._path.replace(self._path.with_suffix(".damaged"))
        else:
            self._path.unlink(missing_ok=True)
        for part in self._parts:
            part.unlink(missing_ok=True)


def left_files(folder: Path, wanted: Callable[[dict[str, Any]], bool]) -> Iterator[LeftFile]:
    """Yield the files of dead processes, each locked until its `with` block ends.

    Args:
        folder: a queue's folder.
        wanted: returns whether to yield a file, by the fields of its first line.
    """
    for path, head in _files(folder):
        if wanted(head):
            fd = _locked(path)
            if fd is not None:
                yield LeftFile(path, fd)


def remove_unlocked(folder: Path) -> None:
    """Delete `.new` files of processes that were killed before they locked them."""
    for path in folder.glob("*.new"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _UNLOCKED and (fd := _locked(path)) is not None:
                path.unlink(missing_ok=True)
                os.close(fd)


def children(folder: Path, parent: str) -> Iterator[Journal]:
    """Yield the journals of a process's children, including running ones; read-only."""
    for path, head in _files(folder):
        if head.get("parent") == parent:
            with suppress(OSError):
                yield Journal(path.read_bytes())


def waiting(folder: Path) -> list[Event]:
    """Return the unsent events of all files, including those of running processes; read-only."""
    found = Journal()
    for path, _ in _files(folder):
        with suppress(OSError):
            found.absorb(Journal(path.read_bytes()))
    for log in found.logs.values():
        found.add(log.event._replace(links=tuple(log.unsaid())))
    return found.unsent(bare=True)


def _files(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the files of a queue, each with the fields of its first line."""
    try:
        names = [entry.name for entry in os.scandir(folder) if _NAME.fullmatch(entry.name)]
    except OSError:
        return
    for name in sorted(names):
        try:
            with open(folder / name, "rb") as file:
                head = json.loads(file.readline()[1:])
        except OSError:
            continue  # sent in the meantime
        except ValueError:
            head = None
        yield folder / name, head if isinstance(head, dict) else {}


def _locked(path: Path) -> int | None:
    """Lock a file and return its descriptor; None if another process holds the lock."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(path.stat(), os.fstat(fd)):
            return fd
    except OSError:
        pass
    os.close(fd)
    return None
