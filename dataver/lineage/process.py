"""What this process notes: decides which run a link is for, holds it, queues it.

`recorder` is the face of this and `background` does what is slow. Every method may raise: the face keeps that
from the caller (invariant 8).

A tracker's run that begins after the fetch gets what was noted before (`_adopt`): each such run of the
process does, since the data was there for all of them. The first takes it from the run it was noted for,
unless the user named that one.

A worker, which is a forked child or one of `multiprocessing`'s, adds its links to what its parent says of the
run, and leaves its queue's file to it: no thread, no network, no waiting in a worker. Where it has a run of
its own, or its parent is gone, it acts as any process.
"""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dataver.formats.event import Context, Link, link_id
from dataver.lineage import settings, which_run
from dataver.lineage.books import Book, Books
from dataver.lineage.capture.contexts import Glance, Surroundings, glance, look
from dataver.lineage.noted import NotedRun
from dataver.lineage.noting import identity
from dataver.lineage.queue import QueueFile, queue_folder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dataver.formats.event import Event
    from dataver.lineage.saying import Said
    from dataver.lineage.trackers.base import Use
    from dataver.repository import Published, Repository

__all__ = ["Notes", "Target"]


@dataclass(slots=True)
class Target:
    """A repository that notes go to, and its queue's file."""

    repo: Repository
    queue: QueueFile


class Notes:
    """What this process noted.

    Attributes:
        pid: the process; a forked child needs notes of its own.
        id: by which events name the process, 32 hex.
        lock: held while anything here changes; never while something slow is done.
        runs: by key.
        targets: by repository id.
        loose: links that a tracker's run which begins later gets: repository, run, link, use.
        facts: about the process.
        attachments: bytes that the facts and links speak of, by digest.
        for_trackers: what is to be written to trackers.
        books: what is read file by file, and is in no link yet.
    """

    def __init__(self, forked_from: Notes | None = None) -> None:
        self.pid = os.getpid()
        self.id = identity().process
        self.lock = threading.RLock()
        self.runs: dict[str, NotedRun] = {}
        self.targets: dict[str, Target] = {}
        self.loose: list[tuple[str, NotedRun, Link, Use]] = []
        self.facts: dict[str, Any] = dict(forked_from.facts) if forked_from else {}
        self.attachments: dict[str, bytes] = dict(forked_from.attachments) if forked_from else {}
        self.for_trackers: list[tuple[Context, Use]] = []
        self._written: set[tuple[object, ...]] = set(forked_from._written) if forked_from else set()
        self._before_fork = forked_from
        self._parent = which_run.parent()
        self._worker = forked_from is not None or _is_worker()
        self._stack: list[tuple[str, str | None]] = list(forked_from._stack) if forked_from else []
        self._implicit: str | None = None
        self._adopted: set[str] = set()
        self._announced: str | None = None
        self.books: Books = Books(self.id, forked_from.books if forked_from else None)

    @property
    def independent(self) -> bool:
        """Whether this process sends what it noted itself, and not its parent."""
        if not self._worker or self._parent is None or not all(run.part for run in self.runs.values()):
            return True
        return not _alive(self._parent.pid)

    # noting

    def note(
        self, repo: Repository, link: Link, run: object, asked: str | None, seen: Glance | None = None
    ) -> None:
        """Hold a link and queue it, for the run that it belongs to.

        Args:
            repo: the repository.
            link: the link.
            run: the run, where the caller names it.
            asked: the reference that the user typed.
            seen: what the caller saw when it made the note; None looks now.

        Raises:
            InvalidInput: `run` is no run.
        """
        with self.lock:
            around, passed = seen or glance()
            self._adopt(passed)
            noted = self._run(run, around)
            if noted is None:
                return
            link = replace(link, context=_context(noted, around))
            if self._noted_before_fork(repo.id, noted, link):
                return
            self._describe()
            self._hold(repo, noted, link, asked, self._told(noted, around, named=run is not None))
            self._announce(noted.key)
            if seen is not None:  # some time has passed
                self.look()

    def book(self, repo: Repository, published: Published, run: object, asked: str | None) -> Book | None:
        """Return the book of what the run of the moment reads of a version; None without a run.

        Args:
            repo: the repository.
            published: the version.
            run: the run, where the caller names it.
            asked: the reference that the user typed.

        Raises:
            InvalidInput: `run` is no run.
        """
        with self.lock:
            around, passed = glance()
            self._adopt(passed)
            noted = self._run(run, around)
            if noted is None:
                return None
            self._describe()
            target = self._target(repo)
            context = _context(noted, around)
            told = self._told(noted, around, named=run is not None)
            book = self.books.find(repo, published, noted, context)
            if book is None:
                book = Book(repo, published, noted, context, told, asked)
                self.books.add(book, target.queue.path.parent, noted.event(repo.id, {}, [book.link()]))
                noted.links.setdefault(repo.id, {})
                if not noted.part:  # a process that is killed leaves what it was, too
                    self.queue(target, noted, [])
            self._announce(noted.key)
            return book

    def hear(self) -> None:
        """Take in what workers read."""
        for target in list(self.targets.values()):
            self.books.hear(target.queue.path.parent)

    def gather(self) -> None:
        """Turn what was read since the last time into links."""
        self.hear()
        for book in self.books:
            said = book.say()  # may take a moment
            with self.lock:
                self._take(book, said)
                if book.run.ended is not None:
                    self.books.drop(book)

    def _take(self, book: Book, said: list[Said]) -> None:
        for each in said:
            link = replace(book.link(), subset=each.subset, files=each.files, size=each.size)
            if each.listing is not None and each.subset.listed is not None:
                self.attachments[each.subset.listed] = each.listing
            self._hold(book.repo, book.run, link, book.asked, book.told)
        book.settle()

    def _hold(
        self, repo: Repository, noted: NotedRun, link: Link, asked: str | None, told: Iterable[Context]
    ) -> None:
        """Hold a link, queue it and have it written to trackers, unless it is held already."""
        target = self._target(repo)
        if noted.add(repo.id, link):
            if not noted.stays:
                self.loose.append((repo.id, noted, link, _use(repo, link, asked)))
            self.queue(target, noted, [link])
            self._tell(told, _use(repo, link, asked))

    def _describe(self) -> None:
        """Find out about the process what is known at once."""
        if not self.facts:
            from dataver.lineage.capture.environment import at_once

            self.facts = at_once()

    @staticmethod
    def _told(noted: NotedRun, around: Surroundings, *, named: bool) -> list[Context]:
        """Return the trackers' runs that a use is written to."""
        told = {context.key: context for context in around.trackers}
        if named and noted.key in noted.contexts:  # a tracker's own object was given
            told[noted.key] = noted.contexts[noted.key]
        return list(told.values())

    def begin(self, key: str, name: str | None) -> None:
        """Enter an explicit run."""
        with self.lock:
            outer = self._stack[-1:]
            self._stack.append((key, name))
            run = self._known(key, "explicit", name)
            run.know(_as_context(each) for each, _ in outer)
            self._announce(key)

    def end(self, key: str, outcome: str) -> bool:
        """Leave an explicit run; return whether there is something to send of it."""
        with self.lock:
            self._stack = [entry for entry in self._stack if entry[0] != key]
            if self._stack:
                self._announce(self._stack[-1][0])
            elif self._announced == key:
                os.environ.pop(which_run.PARENT, None)
                self._announced = None
            run = self.runs.get(key)
            if run is None:
                return False
            run.end(outcome)
            for repository in run.links:
                self.queue(self.targets[repository], run, [])
            return bool(run.links)

    def look(self) -> None:
        """Give what was noted before to a tracker's run that is active by now."""
        with self.lock:
            self._adopt(look(recent=True))

    def finish(self, outcome: str) -> None:
        """End everything, and queue that."""
        with self.lock:
            self._adopt(look(recent=True))
            for run in self.runs.values():
                run.end("finished" if run.how == "joined" else outcome)
            for repository, target in self.targets.items():
                for run in self.runs.values():
                    if not run.part and run.lacks(repository):
                        self.queue(target, run, [])

    def capture(self, facts: dict[str, Any], attachments: dict[str, bytes]) -> None:
        """Take in what takes longer to find out about the process."""
        with self.lock:
            self.facts = self.facts | facts
            self.attachments |= attachments
            for run in self.runs.values():
                run.revision += 1
                for repository in run.links:
                    self.queue(self.targets[repository], run, [])

    # which run

    def _run(self, named: object, around: Surroundings) -> NotedRun | None:
        """Return the run that a note belongs to, or None where it belongs to none."""
        if named is not None:
            key, context = which_run.key_of(named)
            run = self._known(key, "explicit", None)
            run.know([context] if context else [])
        elif (inner := self._innermost()) is not None:
            run = self._known(inner[0], "explicit", inner[1])
        elif around.trackers:
            run = self._known(around.trackers[0].key, "tracker", None)
        elif (found := self._found(around)) is not None:
            run = self._known(*found, None)
        else:
            return None
        run.know(around.contexts)
        run.goes_on()
        return run

    def _innermost(self) -> tuple[str, str | None] | None:
        """Return key and name of the innermost explicit run."""
        names = dict(self._stack)
        current = which_run.CURRENT.get()
        if current in names:
            return current, names[current]
        if self._stack:  # of another thread: in this one nobody named any
            return self._stack[-1]
        key = which_run.named_by_environment()
        return None if key is None else (key, os.environ.get(which_run.NAME) or None)

    def _found(self, around: Surroundings) -> tuple[str, str] | None:
        """Return key and kind of the run where neither the user nor a tracker names one."""
        if around.whole is not None and (
            self._parent is None or around.whole != look({}, trackers=False).whole
        ):
            return around.whole, "found"  # a task that this very process runs
        if self._parent is not None:
            return self._parent.key, "joined"
        if self._implicit is None and settings.implicit_runs():
            self._implicit = identity().key
        return None if self._implicit is None else (self._implicit, "implicit")

    def _known(self, key: str, how: str, name: str | None) -> NotedRun:
        run = self.runs.get(key)
        if run is None:
            part = self._worker and self._parent is not None and self._parent.key == key
            process = self._parent.process if part and self._parent else self.id
            run = self.runs[key] = NotedRun(key, process, how, part, name)
        elif how == "explicit":
            run.how = how
        return run

    def _noted_before_fork(self, repository: str, run: NotedRun, link: Link) -> bool:
        """Return whether the parent had noted it: then nobody needs to hear it again."""
        before = self._before_fork.runs.get(run.key) if self._before_fork else None
        return before is not None and link_id(run.key, link) in before.links.get(repository, {})

    def _announce(self, key: str) -> None:
        if self._announced != key:
            process = self.runs[key].process if key in self.runs else self.id
            which_run.announce(key, process)
            self._announced = key

    # trackers that begin later

    def _adopt(self, around: Surroundings) -> None:
        """Hand what was noted outside of a tracker's run to the one that is active, or was the last.

        Every note looks first: so a run that ended before something was noted does not get it.
        """
        if not around.trackers or around.trackers[0].key in self._adopted or self._innermost() is not None:
            return
        key = around.trackers[0].key
        self._adopted.add(key)
        for run in self.runs.values():
            if run.how == "tracker":
                run.end("finished")  # as far as this process can tell
        for book in self.books:
            if not book.run.stays and book.waits:
                self._take(book, book.say(globs=False))
        if not self.loose:
            return
        mine = self._known(key, "tracker", None)
        mine.know(around.contexts)
        for repository, before, link, use in self.loose:
            mine.add(repository, link)
            unsent = before.drop(repository, link)
            if not unsent and before.how == "implicit" and repository in before.sent:
                before.part_of = key
                before.revision += 1
            self._tell(around.trackers, use)
        for repository in {repository for repository, *_ in self.loose}:
            self.queue_anew(repository)
        self._announce(key)

    def _tell(self, contexts: Iterable[Context], use: Use) -> None:
        """Have a use written to trackers, once each."""
        for context in contexts:
            mark = (context.key, use.role, use.tree, use.record, use.subset)
            if mark not in self._written:
                self._written.add(mark)
                self.for_trackers.append((context, use))

    # the queue

    def unsent(self, repository: str, *, ended_only: bool = False) -> list[Event]:
        """Return events that say what a repository lacks, of all runs or of those that ended."""
        lacking = [run for run in self.runs.values() if run.lacks(repository)]
        return [run.event(repository, self.facts) for run in lacking if run.ended or not ended_only]

    def queue(self, target: Target, run: NotedRun, links: list[Link]) -> None:
        """Append to the queue's file: the run's facts where they changed, and the links."""
        repository = target.repo.id
        fresh = run.queued.get(repository, 0) < run.revision
        try:
            named = {link.subset.listed for link in links}
            for digest, raw in self.attachments.items():
                if digest in named or (fresh and not run.part):
                    target.queue.keep(digest, raw)
            target.queue.append([run.event(repository, self.facts if fresh else {}, links)])
        except OSError as error:  # it is held in memory, and sent from there
            settings.warn(
                f"the lineage queue {target.queue.path.parent} cannot be written: {error.strerror}."
            )
            return
        run.queued[repository] = run.revision

    def queue_anew(self, repository: str) -> None:
        """Make the queue's file say what the repository lacks, and nothing else."""
        target = self.targets[repository]
        events = self.unsent(repository)
        try:
            if events:
                target.queue.rewrite(events)
            else:
                target.queue.clear()
        except OSError as error:
            settings.warn(
                f"the lineage queue {target.queue.path.parent} cannot be written: {error.strerror}."
            )
            return
        for run in self.runs.values():
            run.queued[repository] = run.revision if run.lacks(repository) else 0

    def sent(self, repository: str, events: Iterable[Event]) -> None:
        """Take in that a repository has these events."""
        with self.lock:
            for event in events:
                run = self.runs[event.run.key]
                run.sent[repository] = max(event.run.sequence, 1)
                run.unsent.get(repository, set()).difference_update(
                    link_id(run.key, link) for link in event.links
                )
                for link in event.links:
                    self.attachments.pop(link.subset.listed or "", None)
            self.queue_anew(repository)

    def let_go(self) -> None:
        """Close files that are the parent's, in a forked child, whose locks may be held by nobody."""
        self.lock = threading.RLock()
        for target in self.targets.values():
            target.queue.close()
        self.books.close()

    @property
    def waits_for_tracker(self) -> bool:
        """Whether something was noted that a tracker's run would get that begins later."""
        return bool(self.loose) or any(not book.run.stays and book.waits for book in self.books)

    def _target(self, repo: Repository) -> Target:
        target = self.targets.get(repo.id)
        if target is None:
            target = self.targets[repo.id] = Target(repo, QueueFile(queue_folder(repo.id), self.id))
            which_run.tell_runner(repo.id, repo.url)
        return target


def _is_worker() -> bool:
    """Return whether `multiprocessing` started this process."""
    module = sys.modules.get("multiprocessing.process")
    return module is not None and module.parent_process() is not None


def _alive(pid: int) -> bool:
    """Return whether a process lives; one that ended and that nobody has looked after yet does not."""
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return not file.read().rpartition(")")[2].startswith(" Z")
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it is another user's, or there is no /proc


def _context(noted: NotedRun, around: Surroundings) -> str | None:
    """Return the tracker's run that is active, where that is not the run's own."""
    active = around.trackers[0].key if around.trackers else None
    return None if active == noted.key else active


def _as_context(key: str) -> Context:
    """Return the explicit run around another one as its context."""
    system, _, identity = key.partition(":")
    return Context(system=system, id=identity, kind="explicit")


def _use(repo: Repository, link: Link, asked: str | None) -> Use:
    from dataver.lineage.trackers.base import Use

    return Use(
        role=link.role,
        repository_id=repo.id,
        repository_url=repo.url,
        dataset=link.dataset,
        label=link.label,
        ref=f"{link.dataset}@{link.label}" if link.label else link.dataset,
        tree=link.tree,
        record=link.record,
        subset=link.subset,
        files=link.files,
        size=link.size,
        asked=asked,
    )
