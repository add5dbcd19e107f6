"""The files that one run read of one version, in the order of their first read."""

from __future__ import annotations

import threading
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from dataver.formats.event import MAX_LISTED, Subset

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataver.formats.context import Context
    from dataver.formats.event import Event, Link

__all__ = ["ReadLog", "Share"]


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


class ReadLog:
    """The files that one run read of one version, as recorded by this process.

    Args:
        event: identifies the run and, in its only link, the version.
        number: identifies the log in its queue file.
        append: appends lines to the file, if any; returns whether they were written.

    Attributes:
        event: identifies the run and, in its only link, the version.
        read: every file read, with its size; files are only added.
        shares: the shares to read.
        said: number of files in links, from the first on.
        whole: files and bytes of the version, if known.
        trackers: the trackers' runs that receive the uses.
        listed: whether names or attributes of files were requested.
        told: whether a use was queued for trackers that accept updates.
        closed: whether the run has ended; later reads determine their run, and its log, again.
    """

    def __init__(self, event: Event, number: int, append: Callable[..., bool]) -> None:
        self.event = event
        self.read: dict[str, int] = {}
        self.shares: set[Share] = set()
        self.said = 0
        self.whole: tuple[int, int] | None = None
        self.trackers: tuple[Context, ...] = ()
        self.listed = self.told = self.closed = False
        self._number, self._append, self._begun = number, append, False
        self._lock = threading.Lock()

    @property
    def link(self) -> Link:
        """The link of run and version, without files."""
        return self.event.links[0]

    def add(self, path: str, size: int) -> bool:
        """Add a file; return whether it is the first of the log."""
        with self._lock:
            if path not in self.read:
                self.read[path] = size
                self._write(b"+%d %d %s", size, path.encode())
                return len(self.read) == 1
            return False

    def share(self, share: Share) -> None:
        """Add a share to read."""
        with self._lock:
            if share not in self.shares:
                self.shares.add(share)
                import json

                values = share if share.exclude else share[:-1]
                self._write(b"*%d %s", json.dumps(values, separators=(",", ":")).encode())

    def settle(self, count: int) -> None:
        """Record that the first `count` files are in links."""
        if count > self.said:
            self.said = count
            self._write(b"=%d %d", count)

    def close(self) -> None:
        """Make passes determine their run again: the run has ended."""
        with self._lock:
            known, self.read, self.closed = self.read, dict(self.read), True
            known.clear()  # passes hold this one

    def _write(self, line: bytes, *values: object) -> None:
        """Append a line; the first one that is written follows the line that begins the log."""
        lines = [line % (self._number, *values)]
        if not self._begun:
            lines.insert(0, b"@%d %s" % (self._number, self.event.encode()))
        self._begun = self._append(*lines) or self._begun

    def absorb(self, other: ReadLog) -> None:
        """Add files and shares of another log of the same run and version."""
        first = not self.read
        for path, size in other.read.items():
            self.add(path, size)
        for share in other.shares:
            self.share(share)
        if first:
            self.settle(other.said)

    def state(self) -> tuple[dict[str, int], set[Share]]:
        """Return copies of the files and shares."""
        with self._lock:
            return dict(self.read), set(self.shares)

    def unsaid(self) -> list[Link]:
        """Return links that list the files not in links yet."""
        with self._lock:
            left = sorted(islice(self.read.items(), self.said, None))
        parts = [left[start : start + MAX_LISTED] for start in range(0, len(left), MAX_LISTED)]
        return [
            self.link._replace(
                subset=Subset(paths=tuple(path for path, _ in part)),
                files=len(part),
                size=sum(size for _, size in part),
            )
            for part in parts
        ]
