"""What the runs of this process read file by file, until it is said in links.

The idea: a `Book` is what one run read of one version, each file once. `add` is called by whoever reads, for
each file the first time: it takes a lock, a line in the journal (`journal`), and no more. Saying it in links
(`saying`) is rare and happens where links are sent (`background`), or where a run ends.

A worker writes its journal and says nothing. Its parent, which has a book for the same run and version since
it opened the version, reads that journal whenever it looks, dead or alive, and takes it as its own.
"""

from __future__ import annotations

import os
import threading
from itertools import count
from typing import TYPE_CHECKING

from dataver.formats.event import Link
from dataver.lineage import settings
from dataver.lineage.journal import Journal, journals, lock_left, opening, read_journal
from dataver.lineage.noted import now

if TYPE_CHECKING:
    from collections.abc import Container, Iterator
    from pathlib import Path

    from dataver.formats.event import Context, Event
    from dataver.lineage.journal import Share
    from dataver.lineage.noted import NotedRun
    from dataver.lineage.saying import Said
    from dataver.repository import Published, Repository

__all__ = ["Book", "Books"]


class Book:
    """What one run read of one version, as far as this process knows.

    Attributes:
        repo: the repository.
        published: the version.
        run: the run.
        context: the tracker's run that was active, where that is not the run.
        told: the trackers' runs that are told.
        asked: the reference that the user typed, or None.
        read: every file that was read, with its size.
        before: what the parent had read when this process was forked: it says so itself.
        dropped: the run ended and all was said; who reads on opens another book.
    """

    def __init__(
        self,
        repo: Repository,
        published: Published,
        run: NotedRun,
        context: str | None,
        told: list[Context],
        asked: str | None,
    ) -> None:
        self.repo, self.published, self.run = repo, published, run
        self.context, self.told, self.asked = context, told, asked
        self.read: dict[str, int] = {}
        self.before: Container[str] = frozenset()
        self.dropped = False
        self._fresh: dict[str, int] = {}
        self._taken: dict[str, int] = {}
        self._shares: set[Share] = set()
        self._journal: Journal | None = None
        self._lock = threading.Lock()
        self._began = now()

    def link(self) -> Link:
        """Return the link of this run and version, with nothing read."""
        record = self.published.record
        return Link(
            role="input",
            dataset=record.dataset,
            label=record.label,
            record=self.published.record_id,
            tree=record.tree.hex(),
            time=self._began,
            how="read",
            context=self.context,
        )

    def knows(self, path: str) -> bool:
        """Return whether a file is known to have been read."""
        return path in self.read or path in self.before

    def begin(self, folder: Path, process: str, number: int, event: Event) -> None:
        """Write what comes into a journal; where that cannot be, it is held in memory alone."""
        try:
            self._journal = Journal(folder, process, number, opening(event))
        except OSError as error:
            settings.warn(f"the lineage queue {folder} cannot be written: {error.strerror}.")

    def add(self, path: str, size: int) -> None:
        """Take in a file that was read."""
        if path in self.read:
            return
        with self._lock:
            self.read[path] = self._fresh[path] = size
            if self._journal is not None:
                self._journal.add(path, size)

    def share(self, share: Share) -> None:
        """Take in what is to be read by one of several readers."""
        with self._lock:
            if share not in self._shares:
                self._shares.add(share)
                if self._journal is not None:
                    self._journal.share(share)

    @property
    def waits(self) -> bool:
        """Whether something was read that is in no link."""
        return bool(self._fresh)

    def say(self, *, globs: bool = True) -> list[Said]:
        """Return statements of what was read since the last time; `settle` takes them as said.

        Args:
            globs: whether to look into the tree for fewer words, which may take a moment.
        """
        from dataver.errors import DataverError
        from dataver.lineage.saying import say

        with self._lock:
            read, fresh = dict(self.read), dict(self._fresh)
            self._taken = fresh
        record = self.published.record
        whole = (record.files, record.size)
        tree = self.repo.tree(record.tree) if globs else None
        try:
            return say(read, fresh, whole, self._shares, tree)
        except DataverError:  # the tree cannot be read any more: paths say it as well
            return say(read, fresh, whole, self._shares)

    def settle(self) -> None:
        """Take what was said as said."""
        with self._lock:
            for path in self._taken:
                self._fresh.pop(path, None)
            self._taken = {}
            if self._journal is not None:
                self._journal.restart(self._fresh, self._shares)

    def close(self, *, delete: bool = False) -> None:
        """Let go of the journal."""
        if self._journal is not None:
            (self._journal.delete if delete and not self._fresh else self._journal.close)()
            self._journal = None


class Books:
    """The books of this process, and what it heard from its workers."""

    def __init__(self, process: str, before: Books | None = None) -> None:
        self._process = process
        self._before = before
        self._books: dict[tuple[str, str, str, str | None], Book] = {}
        self._heard: dict[Path, tuple[Book, int]] = {}
        self._numbers = count()

    def __iter__(self) -> Iterator[Book]:
        return iter(list(self._books.values()))

    def find(self, repo: Repository, published: Published, run: NotedRun, context: str | None) -> Book | None:
        """Return the book of a run and a version, if there is one."""
        return self._books.get((repo.id, published.record_id, run.key, context))

    def add(self, book: Book, folder: Path, event: Event) -> None:
        """Take in a new book.

        Args:
            book: the book.
            folder: the queue's.
            event: what its journal begins with; it has the link without anything read.
        """
        key = (book.repo.id, book.published.record_id, book.run.key, book.context)
        if self._before is not None and book.run.part and key in self._before._books:
            book.before = self._before._books[key].read.keys()
        book.begin(folder, self._process, next(self._numbers), event)
        self._books[key] = book

    def drop(self, book: Book) -> None:
        """Let go of a book whose run ended, if all of it was said."""
        if not book.waits:
            book.dropped = True
            book.close(delete=True)
            for key in [key for key, each in self._books.items() if each is book]:
                del self._books[key]

    @property
    def any(self) -> bool:
        """Whether there is any."""
        return bool(self._books)

    def hear(self, folder: Path) -> None:
        """Take in what workers wrote, and delete the journals of those that ended: ours say it now.

        Args:
            folder: a queue's, of one repository.
        """
        for path, process in journals(folder).items() if self._books else ():
            if process == self._process:
                continue
            fd = lock_left(path)
            try:
                if self._listen(path) and fd is not None:
                    path.unlink(missing_ok=True)
                    del self._heard[path]
            finally:
                if fd is not None:
                    os.close(fd)

    def _listen(self, path: Path) -> bool:
        """Take in what is new in a journal; return whether it is that of a worker for one of our books."""
        known = self._heard.get(path)
        if known is None:
            read = read_journal(path)
            book = self._of(read.event) if read.event is not None else None
            if book is None:
                return False
        else:
            book, start = known
            read = read_journal(path, start)
        for name, size in read.paths.items():
            book.add(name, size)
        for share in read.shares:
            book.share(share)
        self._heard[path] = (book, read.end)
        return True

    def _of(self, event: Event) -> Book | None:
        """Return the book that a worker wrote for; it may not know the tracker's run of its parent."""
        if not event.links:
            return None
        link = event.links[0]
        wanted = (event.run.key, event.run.process, link.record)
        fitting = [
            book for book in self if (book.run.key, book.run.process, book.published.record_id) == wanted
        ]
        exact = [book for book in fitting if book.context == link.context]
        return next(iter(exact or fitting), None)

    def close(self, *, delete: bool = False) -> None:
        """Let go of all journals; `delete` those of which all was said."""
        for book in self:
            book.close(delete=delete)
