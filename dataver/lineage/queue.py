"""The queue: what a process has noted and the repository does not have yet, in files on this machine.

    <state>/lineage/<repository id>/queue/<process>.json            one event a line, appended at each note
    <state>/lineage/<repository id>/queue/<process>.<64 hex>.part   bytes that its events speak of

The idea: a line is an event (`formats/event.py`), and events only add up, so a file needs no order and no
rewriting: what is read twice, or was sent already, changes nothing. A last line that was cut short is the
note that was being written when the process died, and is left out.

The owner holds a lock on its file (`flock`), which the system frees when it dies, however it dies. Who gets
the lock may send the file and delete it. After locking, the name is compared with what is locked: so a file
is never taken from under its owner, or deleted twice.

Nothing is forced to the disk: a power cut may lose what was not sent (invariant 8 comes first here).
"""

from __future__ import annotations

import fcntl
import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Self

from dataver.errors import DataverError
from dataver.formats.event import Event, parse_event
from dataver.lineage.journal import journals, read_journal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["LeftFile", "QueueFile", "left_files", "merge", "queue_folder", "waiting"]

_NAME: Final = re.compile(r"[0-9a-f]{32}\.json")
_PART: Final = re.compile(r"[0-9a-f]{32}\.([0-9a-f]{64})\.part")
_TRIES: Final = 20


def queue_folder(repository_id: str) -> Path:
    """Return the folder of a repository's queue on this machine; it need not exist."""
    from dataver.repository.places import state_root

    return state_root() / "lineage" / repository_id / "queue"


class QueueFile:
    """The file of this process for one repository; made at the first note."""

    def __init__(self, folder: Path, process: str) -> None:
        self.path = folder / f"{process}.json"
        self._fd: int | None = None
        self._torn = False
        self._parts: set[str] = set()

    def append(self, events: Iterable[Event]) -> None:
        """Add events.

        Raises:
            OSError: the disk does not take them.
        """
        fd = self._open()
        data = b"".join(event.encode() + b"\n" for event in events)
        if self._torn:
            data = b"\n" + data
        self._torn = True
        if os.write(fd, data) != len(data):
            raise OSError(28, "the disk is full", str(self.path))
        self._torn = False

    def rewrite(self, events: Iterable[Event]) -> None:
        """Hold these events and no others."""
        fd = self._open()
        os.ftruncate(fd, 0)
        self._torn = False
        self.append(events)

    def keep(self, digest: str, raw: bytes) -> None:
        """Keep bytes that events speak of, beside them."""
        if digest in self._parts:
            return
        self._open()
        path = self._part(digest)
        path.write_bytes(raw)
        self._parts.add(digest)

    def clear(self) -> None:
        """Delete all: it was sent."""
        for digest in self._parts:
            self._part(digest).unlink(missing_ok=True)
        self._parts.clear()
        if self._fd is not None:
            self.path.unlink(missing_ok=True)
            self.close()

    def close(self) -> None:
        """Let go of the file; in a forked child the parent keeps its lock."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
            self._torn = False

    def _part(self, digest: str) -> Path:
        return self.path.with_name(f"{self.path.stem}.{digest}.part")

    def _open(self) -> int:
        if self._fd is not None:
            return self._fd
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for _ in range(_TRIES):
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # somebody looks whether it is left over, for a moment
                os.close(fd)
                continue
            except OSError:
                pass  # a file system without locks: others may send it too, which changes nothing
            if _is_there(self.path, fd):
                self._fd = fd
                return fd
            os.close(fd)
        raise OSError(11, "another process holds the queue", str(self.path))


class LeftFile:
    """A file whose owner is dead, locked for this process.

    Attributes:
        path: the file.
        events: what it says, one event a run, with what the owner could not say any more: that it ended.
        damaged: how many lines could not be read; the file is then set aside instead of deleted.
    """

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd
        lines = _lines(fd)
        parsed = [event for line in lines if (event := _parsed(line)) is not None]
        self.damaged = len(lines) - len(parsed)
        self.events = [_ended(event, os.fstat(fd).st_mtime) for event in merge(parsed)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def attachments(self) -> dict[str, bytes]:
        """Return what its events speak of, by digest; what cannot be read is left out."""
        found: dict[str, bytes] = {}
        for path in self._parts():
            match = _PART.fullmatch(path.name)
            if match:
                try:
                    found[match[1]] = path.read_bytes()
                except OSError:
                    continue
        return found

    def done(self) -> None:
        """Delete it: it was sent. A damaged one is set aside, as `<process>.damaged`."""
        if self.damaged:
            self.path.replace(self.path.with_suffix(".damaged"))
        else:
            self.path.unlink(missing_ok=True)
        for path in self._parts():
            path.unlink(missing_ok=True)

    def _parts(self) -> list[Path]:
        return sorted(self.path.parent.glob(f"{self.path.stem}.*.part"))


def left_files(folder: Path) -> Iterator[LeftFile]:
    """Yield the files whose owners are dead, oldest first, each locked while the caller looks at it."""
    for path in _files(folder):
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue  # sent meanwhile
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = _is_there(path, fd)
        except OSError:
            alone = False
        if not alone:
            os.close(fd)
            continue
        with LeftFile(path, fd) as left:
            yield left


def waiting(folder: Path) -> list[Event]:
    """Return what waits in all files and journals, those of living processes included, without taking any."""
    found: list[Event] = []
    for path in _files(folder):
        try:
            lines = path.read_bytes().split(b"\n")
        except OSError:
            continue
        found += merge(event for line in lines if line and (event := _parsed(line)) is not None)
    return found + [
        event for path in journals(folder) if (event := read_journal(path).as_event()) is not None
    ]


def merge(events: Iterable[Event]) -> list[Event]:
    """Return one event a run and process: the latest facts, and all links.

    Lines that only add links carry no facts; of those with facts the highest sequence holds.
    """
    held: dict[tuple[str, str], Event] = {}
    for event in events:
        key = (event.run.key, event.run.process)
        before = held.get(key)
        if before is None:
            held[key] = event
            continue
        newer = (bool(event.run.facts), event.run.sequence) >= (bool(before.run.facts), before.run.sequence)
        run = event.run if newer else before.run
        held[key] = replace(event, run=run, links=(*before.links, *event.links))
    return list(held.values())


def _files(folder: Path) -> list[Path]:
    try:
        names = [entry.name for entry in os.scandir(folder) if _NAME.fullmatch(entry.name)]
    except OSError:
        return []
    return [folder / name for name in sorted(names)]


def _is_there(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except OSError:
        return False


def _lines(fd: int) -> list[bytes]:
    """Return the finished lines."""
    with os.fdopen(os.dup(fd), "rb") as file:
        file.seek(0)
        return [line for line in file.read().split(b"\n")[:-1] if line]


def _parsed(line: bytes) -> Event | None:
    try:
        return parse_event(line)
    except DataverError:
        return None


def _ended(event: Event, last: float) -> Event:
    """Say that a process was killed which could not say so itself; a worker's parent speaks for it."""
    from datetime import UTC, datetime

    if event.run.ended is not None or event.run.sequence == 0:
        return event
    moment = max(datetime.fromtimestamp(last, UTC), event.run.started)
    return replace(event, run=replace(event.run, ended=moment, outcome="killed"))
