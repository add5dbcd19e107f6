"""Notes which files of a version are read, one by one, at a fraction of a microsecond each.

    reads = reads_of(repo, published)      # for whoever reads the version
    reads.path("train/a.jpg", 48_213)      # was read
    reads.shard(("train/**",), 0, 8, 125_000, 6_031_554_321)     # is to be read: once it was, that says it

The idea: a file is taken in once a run and process (`books`); what was read is said in few links, at the end
of the run, now and then, and at exit, each in as few words as are exact (`saying`). Together the links of a
run are what it read.

Which run it is, is looked up ten times a second at most, by the thread that asked for the `Reads`: a process
may work for several runs in turn, and trackers keep theirs by thread.

Invariant 8: nothing here raises or waits for a network. Importing it costs next to nothing.
"""

from __future__ import annotations

import os
import weakref
from threading import get_ident, main_thread
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

from dataver.lineage import noting, settings

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from dataver.lineage.books import Book
    from dataver.repository import Published, Repository

__all__ = ["Reads", "look", "reads_of", "turn"]

_LOOKING: Final = 0.1  # seconds for which the run is taken to be the same


class Reads(Protocol):
    """What whoever reads a version tells. Never raises."""

    def path(self, path: str, size: int) -> None:
        """A file of the version was opened or read.

        Args:
            path: of the file itself, where a link led to it.
            size: bytes of the file.
        """

    def shard(self, patterns: Sequence[str], rank: int, world: int, files: int, size: int) -> None:
        """A reader is to read a share of the version; once all of it was read, that is what is said.

        Args:
            patterns: globs that chose the files which were split; empty for all.
            rank: which reader this is.
            world: how many there are; one reads all that the patterns choose.
            files: how many files the share has.
            size: bytes of them.
        """


def reads_of(repo: Repository, published: Published, run: object = None, asked: str | None = None) -> Reads:
    """Return whom to tell what is read of a version. Never raises.

    Args:
        repo: the repository.
        published: the version.
        run: the run, where the caller names it; None means the one that this process works for.
        asked: the reference that the user typed.
    """
    if not settings.enabled() or (run is None and not noting.wanted()):
        return _NOBODY
    global _registered  # noqa: PLW0603  # once a process; forked children inherit it
    found = _Reads(repo, published, run, asked)
    _open.add(found)
    if not _registered:
        _registered = True
        os.register_at_fork(before=look)
    return found


def look() -> None:
    """Look which run it is now: children that are started next belong to it. Never raises.

    A fork looks by itself; who starts processes in another way calls this.
    """
    for each in list(_open):
        each.look()


def turn() -> None:
    """Have everybody look before the next file: a run began or ended."""
    for each in list(_open):
        each.turn()


class _Nobody:
    """Where nothing is noted."""

    def path(self, path: str, size: int) -> None:
        pass

    def shard(self, patterns: Sequence[str], rank: int, world: int, files: int, size: int) -> None:
        pass


class _Reads:
    """Notes for the run of the moment."""

    __slots__ = ("__weakref__", "_asked", "_before", "_book", "_pid", "_published", "_read", "_repo", "_run",
                 "_shares", "_thread", "_until")  # fmt: skip

    def __init__(self, repo: Repository, published: Published, run: object, asked: str | None) -> None:
        self._repo, self._published, self._run, self._asked = repo, published, run, asked
        self._thread = get_ident()
        self._shares: list[tuple[tuple[str, ...], int, int, int, int]] = []
        self._begin()
        self._look()

    def path(self, path: str, size: int) -> None:
        if (path in self._read or path in self._before) and monotonic() < self._until:
            return
        self._turn()
        if self._book is not None:
            try:
                self._book.add(path, size)
            except Exception as error:  # noqa: BLE001  # invariant 8
                settings.warn(f"lineage was not noted: {type(error).__name__}: {error}.")

    def shard(self, patterns: Sequence[str], rank: int, world: int, files: int, size: int) -> None:
        share = (tuple(patterns), rank, world, files, size)
        if share not in self._shares:
            self._shares.append(share)
        self._turn()
        self._tell(share)

    def look(self) -> None:
        """Look now, if this is the thread that may see it; the main one sees what others may not."""
        here = get_ident()
        if here == main_thread().ident:
            self._thread = here
        if here == self._thread:
            self._look()

    def turn(self) -> None:
        """Look before the next file."""
        self._until = 0.0

    def _begin(self) -> None:
        """Begin in this process."""
        self._pid = os.getpid()
        self._book: Book | None = None
        self._read: Container[str] = ()
        self._before: Container[str] = ()
        self._until = 0.0

    def _turn(self) -> None:
        """Look again where it is time."""
        if self._pid != os.getpid():  # forked: the thread that forks goes on under its number
            self._begin()
            self._look()
        elif self._book is not None and self._book.dropped:
            self._look()
        elif monotonic() >= self._until:
            self.look()

    def _look(self) -> None:
        from dataver.lineage.recorder import book_of

        self._until = monotonic() + _LOOKING
        run, asked, known = self._run, self._asked, self._book
        book = book_of(self._repo, self._published, run=run, asked=asked, known=known)
        if book is not self._book:
            self._book = book
            self._read, self._before = (book.read, book.before) if book is not None else ((), ())
            for share in self._shares:
                self._tell(share)

    def _tell(self, share: tuple[tuple[str, ...], int, int, int, int]) -> None:
        if self._book is not None:
            from dataver.lineage.journal import Share

            try:
                self._book.share(Share(*share))
            except Exception as error:  # noqa: BLE001  # invariant 8
                settings.warn(f"lineage was not noted: {type(error).__name__}: {error}.")


_NOBODY: Final = _Nobody()
_open: weakref.WeakSet[_Reads] = weakref.WeakSet()
_registered = False
