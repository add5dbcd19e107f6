"""What a process reads of a version, on the disk at once: it may be killed with the next instruction.

    <state>/lineage/<repository id>/queue/<process>-<number>.reads
        one event a file (`formats/event.py`) with one link: the run and the version
        then a line a file that was read: its size and its path
        or a line for a share: a tab and JSON

The idea: what reads are worth is said in few links (`saying`), and rarely; until then every path is appended
here, one system call of a microsecond. A worker of a data loader, which may end by a signal at any time, does
nothing else: its parent takes over what it left. A path has no control characters (`formats/entry.py`), so a
line is a line; one without an end was being written when the process died, and is left out.

The owner holds a lock, as on the queue's file (`queue`). Nothing is forced to the disk (invariant 8).
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from dataver.errors import DataverError
from dataver.formats.event import MAX_LISTED, Event, Subset, parse_event

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["Journal", "LeftJournals", "Read", "Share", "journals", "lock_left", "opening", "read_journal"]

_NAME: Final = re.compile(r"([0-9a-f]{32})-[0-9]+\.reads")


class Share(NamedTuple):
    """What one of several readers is to read: a part of the files that patterns choose.

    Attributes:
        patterns: globs; empty for all files of the version.
        rank: which reader.
        world: of how many.
        files: how many files that is.
        size: bytes of them.
    """

    patterns: tuple[str, ...]
    rank: int
    world: int
    files: int
    size: int


class Read(NamedTuple):
    """What a journal says.

    Attributes:
        event: the run and the version; None where only what follows was asked for.
        paths: what was read, with sizes in bytes.
        shares: what was to be read.
        end: the place behind the last whole line.
    """

    event: Event | None
    paths: dict[str, int]
    shares: set[Share]
    end: int

    def as_event(self) -> Event | None:
        """Return an event that lists the paths in as many links as that takes; None where there are none."""
        if self.event is None or not self.event.links or not self.paths:
            return None
        (link, *_), ordered = self.event.links, sorted(self.paths)
        parts = [ordered[start : start + MAX_LISTED] for start in range(0, len(ordered), MAX_LISTED)]
        return replace(
            self.event,
            links=tuple(
                replace(
                    link,
                    subset=Subset(paths=tuple(part)),
                    files=len(part),
                    size=sum(self.paths[path] for path in part),
                )
                for part in parts
            ),
        )


class Journal:
    """The journal of this process for one run and version; it begins with `event`.

    Raises:
        OSError: the disk does not take it.
    """

    def __init__(self, folder: Path, process: str, number: int, event: Event) -> None:
        self.path = folder / f"{process}-{number}.reads"
        self._head = event.encode() + b"\n"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._fd: int | None = os.open(self.path, flags, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pass  # a file system without locks: others may send it too, which changes nothing
        self._write(self._head)

    def add(self, path: str, size: int) -> None:
        """Append a file that was read."""
        if self._fd is not None:
            os.write(self._fd, b"%d %s\n" % (size, path.encode()))

    def share(self, share: Share) -> None:
        """Append what is to be read."""
        self._write(_share_line(share))

    def restart(self, paths: Mapping[str, int], shares: set[Share]) -> None:
        """Say these and no others: the rest is in links that the queue has."""
        if self._fd is not None:
            lines = [b"%d %s\n" % (size, path.encode()) for path, size in paths.items()]
            os.ftruncate(self._fd, 0)
            self._write(b"".join([self._head, *map(_share_line, shares), *lines]))

    def close(self) -> None:
        """Let go of it: somebody else says what it holds."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def delete(self) -> None:
        """Delete it: all of it was said."""
        if self._fd is not None:
            self.path.unlink(missing_ok=True)
            self.close()

    def _write(self, data: bytes) -> None:
        if self._fd is not None and os.write(self._fd, data) != len(data):
            raise OSError(28, "the disk is full", str(self.path))


def journals(folder: Path) -> dict[Path, str]:
    """Return the journals in a queue's folder, each with the id of the process that writes it."""
    try:
        names = sorted(entry.name for entry in os.scandir(folder))
    except OSError:
        return {}
    return {folder / name: match[1] for name in names if (match := _NAME.fullmatch(name))}


def read_journal(path: Path, start: int = 0) -> Read:
    """Return what a journal says from a place on; one that is gone, or is none, says nothing."""
    try:
        with open(path, "rb") as file:
            file.seek(start)
            data = file.read()
    except OSError:
        return Read(None, {}, set(), start)
    whole = data[: data.rfind(b"\n") + 1]
    lines = whole.split(b"\n")[:-1]
    event: Event | None = None
    if start == 0 and lines:
        try:
            event = parse_event(lines.pop(0))
        except DataverError:
            return Read(None, {}, set(), start)
    paths: dict[str, int] = {}
    shares: set[Share] = set()
    for line in lines:
        try:
            if line.startswith(b"\t"):
                patterns, *numbers = json.loads(line)
                shares.add(Share(tuple(patterns), *numbers))
            else:
                size, _, name = line.partition(b" ")
                paths[name.decode()] = int(size)
        except (ValueError, TypeError):
            continue  # a line that was damaged does not spoil the others
    return Read(event, paths, shares, start + len(whole))


def lock_left(path: Path) -> int | None:
    """Return a descriptor that holds the lock of a journal whose owner is dead; None where it lives."""
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


class LeftJournals:
    """The journals in a queue's folder whose owners are dead, locked for this process.

    Args:
        folder: the queue's.
        mine: the id of this process.
    """

    def __init__(self, folder: Path, mine: str) -> None:
        self._locked: dict[Path, int] = {}
        self._living: set[str] = set()
        for path, process in journals(folder).items():
            fd = lock_left(path)
            if fd is not None:
                self._locked[path] = fd
            elif process != mine:
                self._living.add(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._locked.values():
            os.close(fd)

    def together(self) -> Iterator[tuple[Event, dict[str, int], set[Share], list[Path]]]:
        """Yield what the processes of one run read of one version, and the journals that say it.

        What a worker wrote whose parent lives is left to that.
        """
        groups: dict[tuple[str, str, str], list[tuple[Path, Read, Event]]] = {}
        for path in self._locked:
            read = read_journal(path)
            event = read.event
            if event is None or not event.links:
                self.done([path])  # it died as it began
            elif event.run.process not in self._living:
                link = event.links[0]
                key = (event.run.key, link.tree + (link.record or ""), link.context or "")
                groups.setdefault(key, []).append((path, read, event))
        for found in groups.values():
            paths: dict[str, int] = {}
            shares: set[Share] = set()
            for _, read, _ in found:
                paths |= read.paths
                shares |= read.shares
            yield found[0][2], paths, shares, [path for path, *_ in found]

    def done(self, paths: list[Path]) -> None:
        """Delete journals: what they say was sent."""
        for path in paths:
            path.unlink(missing_ok=True)


def opening(event: Event) -> Event:
    """Return the event that a journal begins with: it names run and version, and says nothing of the run."""
    run = replace(event.run, sequence=0, facts={}, contexts=(), ended=None, outcome=None, part_of=None)
    return replace(event, run=run)


def _share_line(share: Share) -> bytes:
    return b"\t%s\n" % json.dumps(share, ensure_ascii=True, separators=(",", ":")).encode()
