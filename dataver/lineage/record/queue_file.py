"""The queue: unsent journals, in one file for each process.

    <state>/lineage/<repository>/queue/<process>.json            appended by line (`journal`)

A file is never rewritten, since lines only add facts. An incomplete last line was being written when the
process died, and is ignored; one that a full disk cut off ends with a NUL. A path has no control characters
(`formats/entry.py`), so it fits in a line.

The owner locks its file (`flock`) before it writes the first line, without which a file is ignored. The
system releases the lock when the process dies. The process that acquires the lock may add the records to a
file of its own and delete the other one. After locking, the path is compared with the locked file, so a file
is never taken from its owner or deleted twice. Files are not flushed to disk: a power failure may lose unsent
records (invariant 8 has priority).
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dataver.lineage import settings
from dataver.lineage.record.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from dataver.formats.event import Event
    from dataver.lineage.record.journal import ReadLog
    from dataver.repository import RepositoryCore

# Imports in functions: the first read of a process writes without them.

__all__ = ["QueueFile", "absorb_left", "head_line", "queue_folder", "queue_folders", "waiting"]


def queue_folder(repository: str) -> Path:
    """Return the local queue folder of a repository, by its `local_name`; it may not exist."""
    return _lineage() / repository / "queue"


def queue_folders() -> list[Path]:
    """Return the queue folders of all repositories."""
    return [*_lineage().glob("*/queue")]


def _lineage() -> Path:
    from dataver.machine.paths import state_root

    return state_root() / "lineage"


def head_line(values: dict[str, Any]) -> bytes:
    """Return a line of JSON. Options of a store that JSON cannot represent are null or left out."""
    text = json.dumps(values, separators=(",", ":"), default=lambda _: None, skipkeys=True)
    return f"{text}\n".encode()


class QueueFile(Journal):
    """The journal of this process for one repository; its file is created with the first line.

    Args:
        folder: the queue's folder.
        process: the id of this process.
        head: fields of the first line.
        repo: the repository, if it is open.

    Attributes:
        lock: held during changes by more than one thread; not during slow operations.
        complete: whether all records are in the file.
    """

    def __init__(self, folder: Path, process: str, head: dict[str, Any], repo: Any = None) -> None:
        super().__init__()
        self.repo: RepositoryCore = repo
        self.path = folder / f"{process}.json"
        self.head = head
        self.lock = threading.RLock()
        self.complete = True
        self._fd: int | None = None
        self._torn = False
        self._closed = False
        self._lock = threading.RLock()  # a signal may interrupt `append` with another one

    def append(self, *lines: bytes) -> bool:
        """Append lines; return whether they were written. If not, they are only in memory."""
        if self._closed:  # also in a forked child, where the lock may never be released
            return False
        with self._lock:
            return self._append(lines)

    def _append(self, lines: tuple[bytes, ...]) -> bool:
        try:
            fd = self._open() if self._fd is None else self._fd
            data = b"\n".join((b"\0", *lines, b"") if self._torn else (*lines, b""))
            self._torn = os.write(fd, data) != len(data)
        except OSError as error:
            self._torn, why = True, error.strerror
        else:
            why = "the disk is full"
        if self._torn:
            self.complete = False
            settings.warn(f"the lineage queue {self.path.parent} cannot be written: {why}.")
        return not self._torn

    def sent(self, events: Iterable[Event]) -> None:
        """Record that events were sent; append records made in the meantime again."""
        for event in events:
            self.runs[event.run.key, event.run.process].mark_sent(event)
            self.attachments |= dict.fromkeys(event.attachments & self.attachments.keys(), b"")
        if self._fd is not None:
            self.append(b"!", *(event.encode() for event in self.unsent()))

    def gather(self) -> None:
        """Summarise files read since the last call as links."""
        from dataver.lineage.subset_summary import links_of

        for log in list(self.logs.values()):
            read = log.read
            found = links_of(log, read, self.repo.tree(bytes.fromhex(log.link.tree)))  # may be slow
            with self.lock:
                for link, listing in found:
                    if listing is not None and link.subset.listed is not None:
                        self.keep(link.subset.listed, listing)
                    self.add(log.run, link)
                log.settle(len(read))
                if log.run.facts.ended is not None:
                    self._forget(log)

    def _forget(self, log: ReadLog) -> None:
        """Record that only names were requested, if so, and forget the log of an ended run."""
        if log.listed and log.whole and not log.known and not log.available().known:
            self.add(log.run, log.available().link._replace(files=log.whole[0], size=log.whole[1]))
        if log.said == len(log.known):
            log.close()
            self.logs = {name: each for name, each in self.logs.items() if each is not log}

    def close(self, *, delete: bool = False) -> None:
        """Close the file; with `delete`, remove it if it was sent completely. Takes no lock (forks)."""
        if self._fd is not None:
            if delete and not self.unsent():
                self.path.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = None
        self._closed = True

    def _open(self) -> int:
        from dataver.machine.paths import make_private

        make_private(self.path.parent)
        # the file exists if Ctrl-C interrupted an earlier call here: no other process has its name
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            with suppress(OSError):  # no locks in the file system: sending twice has no effect
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.fstat(fd).st_size:
                head = b"#" + head_line(self.head)
                self._torn = os.write(fd, head) != len(head)
        except BaseException:
            os.close(fd)
            self.path.unlink(missing_ok=True)
            raise
        self._fd = fd
        return fd


def absorb_left(
    folder: Path, queue_of: Callable[[dict[str, Any]], QueueFile | None], *, living: bool = False
) -> None:
    """Move the records of dead processes from their files to journals of this process.

    Args:
        folder: a queue's folder.
        queue_of: returns the journal for a file, by the fields of its first line; None leaves the file.
        living: add the records of running processes as well; their files remain.
    """
    for path, head in _files(folder):
        queue = queue_of(head)
        if queue is not None:
            lock = _locked(path)
            try:
                if lock is not None or living:
                    _absorb(queue, path, lock)
            except FileNotFoundError:
                pass  # a running process has sent its file
            finally:
                if lock is not None:
                    os.close(lock)


def _absorb(queue: QueueFile, path: Path, lock: int | None) -> None:
    """Add the records in a file; delete a locked one, or rename a damaged one to `<process>.damaged`."""
    journal = Journal()
    damaged = journal.apply(path.read_bytes())
    if lock is not None:
        _end_killed(journal, path.stem, datetime.fromtimestamp(os.fstat(lock).st_mtime, UTC))
    with queue.lock:
        queue.absorb(journal)
    if lock is not None and queue.complete:
        if damaged:
            settings.warn(f"{damaged} lines in {path} are damaged; the file was renamed to `*.damaged`.")
            path.replace(path.with_suffix(".damaged"))
        else:
            path.unlink(missing_ok=True)


def _end_killed(journal: Journal, process: str, last: datetime) -> None:
    """Record that the runs of a dead process without an end were killed, after its last record."""
    reading = {log.run for log in journal.logs.values() if log.said < len(log.known)}
    for run in journal.runs.values():
        used = run.links or run.sent is not None or run in reading
        if used and run.facts.facts and run.facts.process == process:
            ray = run.key.startswith("ray:")  # Ray kills its workers: the job may have finished
            run.end(None if ray else "killed", max(last, run.facts.started))


def waiting(folder: Path) -> list[Event]:
    """Return the unsent events of all files, including those of running processes; read-only."""
    found = Journal()
    for path, _ in _files(folder):
        with suppress(OSError):
            journal = Journal()
            journal.apply(path.read_bytes())
            found.absorb(journal)
    for log in found.logs.values():
        found.add(log.run, *log.unsaid())
    return found.unsent(bare=True)


def _files(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the files of a queue, each with the fields of its first line; none for a damaged line."""
    for path in sorted(folder.glob("*.json")):
        with suppress(OSError):  # sent in the meantime
            with path.open("rb") as file:
                line = file.readline()
            if line.endswith(b"\n"):  # else its owner is making it
                try:
                    yield path, dict(json.loads(line[1:]))
                except (ValueError, TypeError):
                    yield path, {}


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
