"""The files that a run reads of a version: single ones, and those of passes, which are recorded together."""

from __future__ import annotations

import threading
from itertools import islice
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

from dataver.formats.event import MAX_LISTED, Subset
from dataver.lineage.record.run import event_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dataver.formats.event import Link
    from dataver.lineage.record.journal import Journal
    from dataver.lineage.record.run import Run

# Imports in functions: the first read of a process writes without them.

__all__ = ["Batch", "ReadLog", "Share"]

_UNCERTAIN: Final = 0.01  # seconds in which a pass does not record its progress


class Share(NamedTuple):
    """The part of the selected files that one of several readers is to read.

    Attributes:
        patterns: globs; empty for all files of the version.
        rank: index of the reader.
        world: number of readers.
        files: number of files in the part.
        size: bytes of them.
        exclude: globs of files that are left out before the split.
    """

    patterns: tuple[str, ...]
    rank: int
    world: int
    files: int
    size: int
    exclude: tuple[str, ...] = ()


class Batch:
    """Files that a pass reads one after another; what it has read is recorded now and then.

    Attributes:
        files: paths, each with its size.
        done: number of files read, set by the pass.
        due: monotonic time from which on `ReadLog.progress` is to be called.
        closed: whether the run has ended: the next file belongs to another run.
        ended: whether the pass reads no more of them.
        log: the log; None if nothing is recorded.
        first: number of the first file in the log's `>` lines.
        marked, taken: numbers of files recorded as read in the queue's file, and in the log.
    """

    __slots__ = ("closed", "done", "due", "ended", "files", "first", "log", "marked", "taken")

    def __init__(self, files: Sequence[tuple[str, int]], log: ReadLog | None = None) -> None:
        self.files, self.log = files, log
        self.done = self.marked = self.taken = self.first = 0
        self.due = inf
        self.closed = self.ended = False

    def end(self) -> None:
        """End the pass. Takes no lock, since a generator may be finalized at any moment."""
        self.ended = True
        if self.log is not None and self.taken >= self.done:
            self.log.batches.pop(self, None)


class ReadLog:
    """The files that one run read of one version, or that were read before it began.

    Args:
        journal: the journal that contains the log.
        run: the run.
        link: the link of run and version, without files.
        number: identifies the log in the journal's file.

    Attributes:
        run, link: the arguments.
        own: of available files, the log of those that the run read itself; else None.
        known: the recorded files, each with its size; files are only added.
        batches: files that passes are reading.
        shares: the shares to read.
        said: number of files in links, from the first on.
        whole: files and bytes of the version, if known.
        listed: whether names of files were requested.
        closed: whether the run has ended; later reads determine their run, and its log, again.
    """

    def __init__(self, journal: Journal, run: Run, link: Link, number: int) -> None:
        self.run, self.link = run, link
        self.own: ReadLog | None = None
        if link.how == "available":
            self.own = journal.log(run, link._replace(how="read"))
        self.known: dict[str, int] = {}
        self.batches: dict[Batch, None] = {}
        self.shares: set[Share] = set()
        self.said = self._ahead = 0
        self.whole: tuple[int, int] | None = None
        self.listed = self.closed = self._told = False
        self._journal, self._number, self._begun = journal, number, False
        self._lock = threading.Lock()

    @property
    def read(self) -> dict[str, int]:
        """Every file read so far, with its size."""
        self.collect()
        return self.known

    def available(self) -> ReadLog:
        """Return the log of files that the run may have read from the cache of another program."""
        return self._journal.log(self.run, self.link._replace(how="available"))

    def add(self, files: Iterable[tuple[str, int]]) -> bool:
        """Add files that were read; return whether they are the first of the log."""
        fresh = [file for file in files if file[0] not in self.known]
        if not fresh:
            return False
        with self._lock:
            self._write(f"+{self._number} {_text_of(fresh)}")
            self.known.update(fresh)
            return self._tell()

    def batch(self, files: Sequence[tuple[str, int]]) -> Batch:
        """Begin to read files."""
        batch = Batch(files, self)
        with self._lock:
            if files[0][0] in self.known and all(path in self.known for path, _ in files):
                batch.taken = batch.marked = len(files)
            else:
                batch.first, batch.due = self._ahead, monotonic() + _UNCERTAIN if self._told else 0.0
                self._ahead += len(files)
                self._write(f">{self._number} {batch.first} {_text_of(files)}")
            batch.closed = self.closed
            self.batches[batch] = None
        return batch

    def progress(self, batch: Batch) -> bool:
        """Record that more files of a batch were read; return whether they are the first of the log."""
        with self._lock:
            batch.due = monotonic() + _UNCERTAIN
            return self._mark(batch)

    def collect(self) -> None:
        """Add the files that passes have read."""
        if self.batches:
            with self._lock:
                self._collect()

    def _collect(self) -> None:
        for batch in list(self.batches):
            ended = batch.ended
            self._mark(batch)
            if batch.marked > batch.taken:
                self.known.update(batch.files[batch.taken : batch.marked])
                batch.taken = batch.marked
            if ended:
                self.batches.pop(batch, None)

    def _mark(self, batch: Batch) -> bool:
        marked, done = batch.marked, batch.done
        if done <= marked:
            return False
        self._write(f"<{self._number} {batch.first + marked} {batch.first + done}")
        batch.marked = done
        return self._tell()

    def _tell(self) -> bool:
        first, self._told = not self._told, True
        if first:
            self.run.untold.append((self.link, True))
        return first

    def share(self, share: Share) -> None:
        """Add a share to read."""
        with self._lock:
            if share not in self.shares:
                self.shares.add(share)
                import json

                values = share if share.exclude else share[:-1]
                self._write(f"*{self._number} {json.dumps(values, separators=(',', ':'))}")

    def include(self, other: ReadLog, count: int) -> None:
        """Add the first `count` files of another log of the same journal."""
        self.known.update(islice(other.state()[0].items(), count))
        self._write(f"&{self._number} {other._number} {count}")

    def settle(self, count: int) -> None:
        """Record that the first `count` files are in links."""
        if count > self.said:
            self.said = count
            self._write(f"={self._number} {count}")

    def close(self) -> None:
        """Make passes determine their run again: the run has ended."""
        with self._lock:
            self.closed = True
            for batch in list(self.batches):
                batch.closed = True  # first: a file that is read meanwhile is read again
            self._collect()
            self.batches.clear()

    def _write(self, line: str) -> None:
        """Append a line; the first one that is written follows the line that begins the log."""
        if self._begun:
            self._journal.append(line.encode())
        else:
            start = event_of(self.run.bare, [self.link])
            begin = b"@%d %s" % (self._number, start.encode())
            self._begun = self._journal.append(begin, line.encode())

    def absorb(self, other: ReadLog) -> None:
        """Add files and shares of another log of the same run and version."""
        first = not self.read
        self.add(other.read.items())
        for share in other.shares:
            self.share(share)
        if first:
            self.settle(other.said)

    def state(self) -> tuple[dict[str, int], set[Share]]:
        """Return copies of the files and shares."""
        with self._lock:
            self._collect()
            return dict(self.known), set(self.shares)

    def fresh(self, read: dict[str, int] | None = None) -> dict[str, int]:
        """Return the files not in links yet; of available ones, without those that the run read itself.

        Args:
            read: all files, if they were copied before.
        """
        read = self.state()[0] if read is None else read
        if self.own is None and not self.said:
            return read
        without = self.own.read if self.own is not None else {}
        return {path: size for path, size in islice(read.items(), self.said, None) if path not in without}

    def unsaid(self) -> list[Link]:
        """Return links that list the files not in links yet."""
        left = sorted(self.fresh().items())
        parts = [left[start : start + MAX_LISTED] for start in range(0, len(left), MAX_LISTED)]
        return [
            self.link._replace(
                subset=Subset(paths=tuple(path for path, _ in part)),
                files=len(part),
                size=sum(size for _, size in part),
            )
            for part in parts
        ]


def _text_of(files: Iterable[tuple[str, int]]) -> str:
    return "\t".join([f"{size} {path}" for path, size in files])
