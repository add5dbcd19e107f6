"""The records of this process: a journal for each repository, and what belongs in them.

Every method may raise: `recorder` handles the errors (invariant 8).

Each process records into its own file. A worker is a child, forked or started by `multiprocessing`, that adds
to its parent's run. The parent absorbs the worker's file before it summarises files read as links, so a
worker has no thread, network access or wait.

Data that was read or fetched before a run began, in the process's own run or in an enclosing run, is
*available* to it (`how: available`): the run may have used it. If the process has no other run, its own keeps
these links.
"""

from __future__ import annotations

import os
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from dataver.errors import DataverError
from dataver.formats.context import Context
from dataver.formats.event import RunFacts
from dataver.lineage import settings
from dataver.lineage.attribution.owner import NOTES
from dataver.lineage.attribution.scopes import chain, here
from dataver.lineage.attribution.state import STATE, alive, is_worker, parent
from dataver.lineage.record.queue_file import QueueFile, absorb_left, head_line, queue_folder, queue_folders
from dataver.lineage.record.run import Run, link_of, now
from dataver.lineage.trackers.base import updating
from dataver.lineage.trackers.use import united, use_of
from dataver.machine.process_identity import boot_id

if TYPE_CHECKING:
    from dataver.formats.event import Link
    from dataver.lineage.attribution.owner import Owner
    from dataver.lineage.attribution.state import Scope
    from dataver.lineage.record.journal import ReadLog
    from dataver.lineage.trackers.use import Use
    from dataver.repository import Published, RepositoryCore

# Imports in functions: the first read of a process writes without them.

__all__ = ["Notes"]


class Notes:
    """The records of this process.

    Attributes:
        lock: held during changes; not during slow operations.
        journals: by the repository's `local_name`.
        facts: of the process.
        far: whether children left records for remote repositories that this process has not opened.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.journals: dict[str, QueueFile] = {}
        self.facts: dict[str, Any] = {}
        self.far = False
        self._attachments: dict[str, bytes] = {}
        self._parent = parent()
        self._asked: dict[str, str | None] = {}

    @property
    def runs(self) -> list[tuple[QueueFile, Run]]:
        """The runs of this process, without those that its children named."""
        journals = list(self.journals.values())
        return [(journal, run) for journal in journals for run in [*journal.runs.values()] if run.how]

    @property
    def worker(self) -> bool:
        """Whether the parent sends the records of this process."""
        ahead = self._parent
        parts = [run.part for _, run in self.runs] if ahead is not None else []
        return ahead is not None and bool(parts) and all(parts) and alive(ahead.pid, ahead.start)

    # recording

    def record(self, repo: RepositoryCore, link: Link, owner: Owner, asked: str | None) -> bool:
        """Record a link of a run; return whether trackers are to get it, or others before it."""
        with self.lock:
            journal = self.journal(repo)
            if link.record is not None:
                self._asked[link.record] = asked
            run = self._run(journal, owner, here())
            journal.add(run, link._replace(context=owner.active))
            return bool(run.untold)

    def log_of(self, repo: RepositoryCore, published: Published, owner: Owner) -> ReadLog:
        """Return the log of the files that a run reads of a version."""
        with self.lock:
            journal, record = self.journal(repo), published.record
            run = self._run(journal, owner, here())
            log = journal.log(
                run, link_of("input", record, published.record_id, "read", context=owner.active)
            )
            log.whole, log.closed = (record.files, record.size), False
            journal.add(run)  # now, so that the facts survive a kill
            return log

    def begin(self, owner: Owner, scope: Scope | None) -> None:
        """Record the start of a run in a scope; data read before is available to it."""
        with self.lock:
            for journal in self.journals.values():
                self._run(journal, owner, scope)

    def end(self, key: str, outcome: str) -> bool:
        """Record the end of a run; return whether it has records to send."""
        written = False
        with self.lock:
            for journal in self.journals.values():
                run = journal.runs.get((key, STATE.process))
                for log in [*journal.logs.values()] if run is not None else ():
                    if log.run is run:
                        log.close()  # what a pass reads from now on is not the run's
                if run is not None:
                    run.end(outcome)
                    written = journal.rewrite(run) or written
        return written

    def finish(self, outcome: str) -> None:
        """End all runs."""
        with self.lock:
            for _, run in self.runs:
                _learn_end(run)
                run.end("finished" if run.how == "joined" or not run.met else outcome)
            for journal in self.journals.values():
                for log in journal.logs.values():
                    log.collect(last=True)
            self.rewrite()

    def rewrite(self) -> None:
        """Record changed facts of all runs."""
        with self.lock:
            for journal, run in self.runs:
                journal.rewrite(run)

    def capture(self, facts: dict[str, Any], attachments: dict[str, bytes]) -> None:
        """Add facts of the process that are slow to capture, and the bytes that they refer to, by digest."""
        with self.lock:
            self.facts = self.facts | facts
            self._attachments = attachments
            for journal in self.journals.values():
                self._attach(journal)
            for _, run in self.runs:
                run.change(facts={} if run.part else self.facts)
            self.rewrite()

    # links of files read

    def absorb(self, *, living: bool = False, far: bool = False) -> None:
        """Add the records of dead workers and, with `living`, those of running ones.

        With `far`, add those for repositories that only children have opened, which may take long.
        """
        self.far = False
        for folder in queue_folders():
            absorb_left(folder, partial(self._journal_of, folder.parent.name, far=far), living=living)

    def _journal_of(self, name: str, head: dict[str, Any], *, far: bool) -> QueueFile | None:
        """Return the journal that takes the records in a file; None if they are not a child's."""
        if head.get("parent") != STATE.process:
            return None
        journal = self.journals.get(name)
        if journal is None and far:
            from dataver.machine.configuration import options_for
            from dataver.repository import open_repository, opened

            url = str(head["url"])
            try:
                repo = opened(name) or open_repository(url, options_for(url, head.get("options")))
                return self.journal(repo)
            except (DataverError, OSError) as error:  # the file remains for another process
                settings.warn(f"lineage of {url} is queued and sent later: {error}")
        self.far = self.far or journal is None
        return journal

    def _reported(self, journal: QueueFile, facts: RunFacts) -> Run:
        """Return the run to which a worker adds; a run that it named remains its own."""
        if facts.process != STATE.process:
            return journal.run(facts)
        how = "implicit" if facts.key == STATE.key else "joined" if facts.key in STATE.bases else "tracker"
        return self._known(journal, facts.key, how)

    def gather(self) -> None:
        """Summarise files read since the last call as links."""
        for journal in list(self.journals.values()):
            journal.gather()

    def untold(self) -> list[tuple[Context, Use]]:
        """Return the uses since the last call, each with everything that a run did with a version so far.

        A tracker that accepts updates keeps only the last use, so that one includes files not in links yet.
        """
        found: list[tuple[Context, Use]] = []
        with self.lock:
            for journal, run in self.runs:
                new, run.untold = run.untold, []
                for link, early in new:
                    for context in run.trackers.get(link.context, ()):
                        known = [*run.links.values()]
                        if context.system in updating():
                            logs = [each for each in journal.logs.values() if each.run is run]
                            known += [part for log in logs for part in log.unsaid()]
                        elif early:
                            continue
                        asked = self._asked.get(link.record or "")
                        use = use_of(journal.repo, united(link, known), asked)
                        if (context, use) not in found:
                            found.append((context, use))
        return found

    # runs

    def _run(self, journal: QueueFile, owner: Owner, scope: Scope | None) -> Run:
        """Return the run of a read in a scope."""
        run = self._known(journal, owner.key, owner.how, owner.process)
        if owner.trackers:
            run.trackers[owner.active] = owner.trackers
        if owner.how == "explicit" or (owner.how == "tracker" and not run.named):
            run.how = owner.how  # workers may have reported it before
        around = [*chain(scope)]
        if run.named and not run.met:
            self._lend(journal, run, {each.key for each in around})
        run.met = True
        run.know(owner.contexts, owner.name)
        if owner.how == "explicit":
            run.know(_as_context(each) for each in around[1:2] if each.context is None)
        if owner.key not in STATE.ended:
            run.change(ended=None, outcome=None)  # it continues
        return run

    def _known(self, journal: QueueFile, key: str, how: str, process: str | None = None) -> Run:
        run = journal.runs.get((key, process or STATE.process))
        if run is None:
            if process is None and not self.facts:
                from dataver.lineage.capture.environment import at_once

                self.facts = at_once()
            facts = RunFacts(key, process or STATE.process, 0 if process else 1, now())
            run = journal.run(facts if process else facts._replace(facts=self.facts))
            run.how = how
            _learn_end(run)
        return run

    def _lend(self, journal: QueueFile, run: Run, around: set[str]) -> None:
        """Record data read so far by the process's own run and by enclosing runs as available to a run."""
        for other in [*journal.runs.values()]:
            own = other.how and not other.named and not other.key.startswith("ray:")
            if other is run or not (own or other.key in around):  # a Ray worker executes other tasks later
                continue
            for name, link in [*other.links.items()]:
                if link.role == "input":
                    journal.add(run, _available(link, run))
                    if own:
                        other.unsent.pop(name, None)
                        if other.sent is not None:
                            other.change(part_of=other.facts.part_of or run.key)
            for log in [*journal.logs.values()]:
                if log.run is other and log.read:
                    available = journal.log(run, _available(log.link, run))
                    available.whole = log.whole
                    available.include(log, len(log.read))
                    journal.add(run)
                    if own:
                        log.settle(len(log.read))

    # the queue

    def journal(self, repo: RepositoryCore) -> QueueFile:
        """Return the journal of a repository; create it if missing."""
        journal = self.journals.get(repo.local_name)
        if journal is None:
            mine = self._parent if STATE.forked or is_worker() else None
            head = {
                "parent": mine.process if mine else None,
                "pid": mine.pid if mine else STATE.pid,
                "start": mine.start if mine else STATE.start,
                "boot": boot_id(),
                "url": repo.url,
                "options": repo.store.plain_options,
            }
            journal = QueueFile(queue_folder(repo.local_name), STATE.process, head, repo)
            journal.lock, journal.run_of = self.lock, partial(self._reported, journal)
            self.journals[repo.local_name] = journal
            self._attach(journal)
            _tell_runner(repo)
        return journal

    def close(self, *, delete: bool = False) -> None:
        """Close the queue's files; with `delete`, remove those that were sent completely."""
        for journal in self.journals.values():
            journal.close(delete=delete)

    def _attach(self, journal: QueueFile) -> None:
        for digest, raw in self._attachments.items():
            journal.keep(digest, raw)


def _learn_end(run: Run) -> None:
    """Add start, end and outcome from the hooks of the tracker, if the run has ended."""
    known = STATE.ended.get(run.key)
    if known is not None:
        run.know([known.context], known.context.facts.get("name"))
        run.trackers.setdefault(None, (known.context,))
        run.change(started=min(run.facts.started, known.started))
        run.end(known.outcome, known.ended)


def _available(link: Link, run: Run) -> Link:
    """Return the link of a run to data that another run read before."""
    return link._replace(how="available", context=None, time=run.facts.started)


def _as_context(scope: Scope) -> Context:
    """Return an enclosing run named by the user as a context."""
    system, _, run = scope.key.partition(":")
    return Context(system=system, id=run, kind="explicit")


def _tell_runner(repo: RepositoryCore) -> None:
    """Report a repository with records to `dataver run`, if it started this process."""
    path = os.environ.get(NOTES)
    if path:
        try:
            with open(path, "ab") as file:
                file.write(head_line({repo.local_name: (repo.url, repo.store.plain_options)}))
        except OSError:
            pass  # the launcher has ended
