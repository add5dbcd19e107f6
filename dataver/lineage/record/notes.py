"""The records of this process: its runs, and a journal for each repository.

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
from typing import TYPE_CHECKING, Any

from dataver.formats.context import Context
from dataver.formats.event import MAX_CONTEXTS, RunFacts
from dataver.lineage.attribution.owner import NOTES
from dataver.lineage.attribution.scopes import chain, here
from dataver.lineage.attribution.state import STATE, alive, announce, parent, set_base
from dataver.lineage.record.journal import attachments_of, event_of, link_of, now
from dataver.lineage.record.queue_file import QueueFile, children, left_files, queue_folder
from dataver.lineage.trackers.base import updating
from dataver.lineage.trackers.use import united, use_of
from dataver.machine.process_identity import boot_id

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from dataver.formats.event import Link
    from dataver.lineage.attribution.owner import Owner
    from dataver.lineage.attribution.state import Scope
    from dataver.lineage.record.journal import Journal
    from dataver.lineage.record.read_log import ReadLog
    from dataver.lineage.trackers.use import Use
    from dataver.repository import Published, RepositoryCore

__all__ = ["Notes", "RunRecord"]


class RunRecord:
    """One run as recorded by this process.

    Attributes:
        facts: its facts for events; the sequence grows with each change. It stays 0 if this process is a
            worker, which adds links to a run that another process reports.
        how: as in `Owner`.
        met: whether this process itself was in it, not only its workers.
        trackers: the trackers' runs that receive its uses.
        lent: files that other runs had read when this one began: journal, log, number of files, and whether
            they are removed from the other run.
    """

    def __init__(
        self, key: str, process: str, how: str, *, part: bool = False, name: str | None = None
    ) -> None:
        self.facts = RunFacts(key=key, process=process, sequence=0 if part else 1, started=now(), name=name)
        self.how = how
        self.met = False
        self.trackers: tuple[Context, ...] = ()
        self.lent: list[tuple[QueueFile, ReadLog, int, bool]] = []

    @property
    def key(self) -> str:
        """The key of the run."""
        return self.facts.key

    @property
    def part(self) -> bool:
        """Whether this process is a worker of the one that reports the run."""
        return self.facts.sequence == 0

    @property
    def named(self) -> bool:
        """Whether the user or a tracker named it, as opposed to the process's own run."""
        return self.how in ("explicit", "tracker")

    @property
    def bare(self) -> RunFacts:
        """The facts for an event that only adds links."""
        return self.facts._replace(facts={}, contexts=())

    def change(self, **values: Any) -> None:
        """Update facts."""
        changed = self.facts._replace(**values)
        if changed != self.facts:
            self.facts = changed._replace(sequence=0 if self.part else self.facts.sequence + 1)

    def know(self, contexts: Iterable[Context], name: str | None = None) -> None:
        """Add contexts, and the name if it has none."""
        known = {each.key: each for each in (*self.facts.contexts, *contexts)}
        ordered = sorted(known.values(), key=lambda context: context.key != self.key)
        self.change(contexts=tuple(ordered[:MAX_CONTEXTS]), name=self.facts.name or name)

    def end(self, outcome: str | None, ended: datetime | None = None) -> None:
        """Record the end; only the first call has an effect."""
        if self.facts.ended is None:
            self.change(ended=ended or now(), outcome=outcome)


class Notes:
    """The records of this process.

    Attributes:
        lock: held during changes; not during slow operations.
        runs: by key.
        journals: by the repository's `local_name`.
        facts: of the process.
        attachments: bytes that the facts refer to, by digest.
        for_trackers: uses to write to trackers.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.runs: dict[str, RunRecord] = {}
        self.journals: dict[str, QueueFile] = {}
        self.facts: dict[str, Any] = {}
        self.attachments: dict[str, bytes] = {}
        self.for_trackers: list[tuple[Context, Use]] = []
        self._parent = parent()
        self._asked: dict[str, str | None] = {}
        self._unnamed: list[RunRecord] = []  # the process's own: a server may have thousands of others

    @property
    def worker(self) -> bool:
        """Whether the parent sends the records of this process."""
        if self._parent is None or not self.runs or not all(run.part for run in self.runs.values()):
            return False
        return alive(self._parent.pid, self._parent.start)

    # recording

    def record(self, repo: RepositoryCore, link: Link, owner: Owner, asked: str | None) -> None:
        """Record a link of a run."""
        with self.lock:
            run, journal = self._run(owner), self.journal(repo)
            if link.record is not None:
                self._asked[link.record] = asked
            self._link(journal, run, link._replace(context=owner.active), owner.trackers)

    def log_of(self, repo: RepositoryCore, published: Published, owner: Owner) -> ReadLog:
        """Return the log of the files that a run reads of a version."""
        with self.lock:
            run, journal, record = self._run(owner), self.journal(repo), published.record
            link = link_of("input", record, published.record_id, "read", context=owner.active)
            log = journal.log(event_of(run.bare, [link]))
            log.whole, log.trackers = (record.files, record.size), owner.trackers
            log.closed = False
            self._write(journal, run)  # now, so that the facts survive a kill
            return log

    def begin(self, scope: Scope) -> None:
        """Record the start of a run in this thread; data read before is available to it."""
        with self.lock:
            if self.runs and scope.key not in self.runs:
                how = "explicit" if scope.context is None else "tracker"
                trackers = () if scope.context is None else (scope.context,)
                run = self._known(scope.key, how, trackers=trackers)
                self._meet(run, how, scope.outer)
                run.know(trackers or [_as_context(each) for each in chain(scope.outer)][:1], scope.name)
                run.change(started=min(run.facts.started, scope.started))

    def see(self, owner: Owner) -> None:
        """Record the active run of this thread."""
        with self.lock:
            self._run(owner)

    def end(self, key: str, outcome: str) -> bool:
        """Record the end of a run; return whether it has records to send."""
        with self.lock:
            run = self.runs.get(key)
            if run is not None:
                run.end(outcome)
                for log in self._logs_of(key):
                    log.close()  # what a pass reads from now on is not the run's
            return run is not None and (self._rewrite(run) or bool(run.lent))

    def finish(self, outcome: str) -> None:
        """End all runs."""
        with self.lock:
            for run in self.runs.values():
                self._learn_end(run)
                run.end("finished" if run.how == "joined" or not run.met else outcome)
                self._rewrite(run)

    def correct(self, run: RunRecord, outcome: str | None) -> None:
        """Record the outcome of a run that its tracker reports."""
        with self.lock:
            if outcome is not None:
                run.change(outcome=outcome)
                self._rewrite(run)

    def capture(self, facts: dict[str, Any], attachments: dict[str, bytes]) -> None:
        """Add facts of the process that are slow to capture."""
        with self.lock:
            self.facts = self.facts | facts
            self.attachments |= attachments
            for run in self.runs.values():
                run.change(facts={} if run.part else self.facts)
                self._rewrite(run)

    # links of files read

    def absorb(self, *, living: bool = False) -> None:
        """Add the records of dead workers and, with `living`, those of running ones."""
        for repository, journal in list(self.journals.items()):
            folder = queue_folder(repository)
            for left in left_files(folder, lambda head: head.get("parent") == STATE.process):
                with left:
                    self._absorb(journal, left)
                    left.done()
            for theirs in children(folder, STATE.process) if living else ():
                self._absorb(journal, theirs)

    def gather(self, key: str | None = None) -> None:
        """Summarise files read since the last call as links, for one run or all."""
        for run in list(self.runs.values()):
            if key in (None, run.key):
                self._link_lent(run)
        for journal in list(self.journals.values()):
            for log in list(journal.logs.values()):
                if key in (None, log.event.run.key):
                    self._link_files(journal, log)

    def tell_early(self) -> None:
        """Queue uses of versions with files read, for trackers that accept later updates."""
        with self.lock:
            for journal in self.journals.values():
                for log in journal.logs.values():
                    takers = [each for each in log.trackers if each.system in updating()]
                    if takers and log.read and not log.told:
                        log.told = True
                        self._tell(journal, self.runs[log.event.run.key], log.link, takers)

    def _absorb(self, journal: QueueFile, theirs: Journal) -> None:
        """Add a worker's records to the runs that this process reports; its own runs remain separate."""
        reported: list[RunRecord] = []

        def report(run: RunFacts) -> RunFacts:
            if run.process != STATE.process:
                return run
            reported.append(self._known(run.key, _how(run.key)))
            return reported[-1].bare

        with self.lock:
            fresh = journal.absorb(theirs, report)
            for run in reported:
                self._write(journal, run)
            for log in journal.logs.values():
                log.trackers = log.trackers or getattr(self.runs.get(log.event.run.key), "trackers", ())
            for key, link in fresh:
                if key in self.runs:
                    self._tell(journal, self.runs[key], link, self.runs[key].trackers)

    def _logs_of(self, key: str) -> list[ReadLog]:
        logs = [log for journal in self.journals.values() for log in [*journal.logs.values()]]
        return [log for log in logs if log.event.run.key == key]

    def _link_files(self, journal: QueueFile, log: ReadLog) -> None:
        from dataver.lineage.subset_summary import links_of

        key, count = log.event.run.key, len(log.read)
        found = links_of(log, journal.repo.tree(bytes.fromhex(log.link.tree)))  # may be slow
        with self.lock:
            run = self.runs.get(key)
            fresh = journal.link(log, count, found)
            ended = run is not None and run.facts.ended is not None
            if run is not None and ended and log.listed and log.whole and not log.read:
                whole = log.link._replace(files=log.whole[0], size=log.whole[1])
                fresh += self._write(journal, run, _available(whole, run))
            if run is not None and fresh:
                log.told = True
                self._tell(journal, run, fresh[-1], log.trackers)
            if ended and log.said == len(log.read):
                log.close()
                journal.logs = {name: each for name, each in journal.logs.items() if each is not log}

    def _link_lent(self, run: RunRecord) -> None:
        from dataver.lineage.subset_summary import links_of

        lent, run.lent = run.lent, []
        for journal, log, count, settled in lent:
            own = journal.logs.get((run.key, run.facts.process, log.link.record, None))
            found = links_of(
                log,
                journal.repo.tree(bytes.fromhex(log.link.tree)),
                first=count,
                without=own.read if own else (),
            )
            with self.lock:
                for link, listing in found:
                    if listing is not None and link.subset.listed is not None:
                        journal.keep(link.subset.listed, listing)
                    self._link(journal, run, _available(link, run), run.trackers)
                if settled:
                    log.settle(count)

    # runs

    def _run(self, owner: Owner) -> RunRecord:
        run = self._known(owner.key, owner.how, owner.process, owner.trackers)
        self._meet(run, owner.how, here())
        run.know(owner.contexts, owner.name)
        if owner.how == "explicit":
            run.know(_as_context(each) for each in [*chain(here())][1:2] if each.context is None)
        run.trackers = owner.trackers or run.trackers
        if owner.key not in STATE.ended:
            run.change(ended=None, outcome=None)  # it continues
        if owner.process is None:
            if not run.named:
                set_base(owner.key)
            announce(owner.key)
        return run

    def _known(
        self, key: str, how: str, process: str | None = None, trackers: tuple[Context, ...] = ()
    ) -> RunRecord:
        run = self.runs.get(key)
        if run is None:
            if process is None and not self.facts:
                from dataver.lineage.capture.environment import at_once

                self.facts = at_once()
            run = self.runs[key] = RunRecord(key, process or STATE.process, how, part=process is not None)
            run.trackers = trackers
            run.change(facts={} if run.part else self.facts)
            self._learn_end(run)
            if not run.named and not key.startswith("ray:"):  # a Ray worker executes other tasks later
                self._unnamed.append(run)
        return run

    def _meet(self, run: RunRecord, how: str, around: Scope | None) -> None:
        """Record that this process itself is in a run, which workers may have reported before."""
        if how == "explicit" or (how == "tracker" and not run.named):
            run.how = how
            self._unnamed = [each for each in self._unnamed if each is not run]
        if run.named and not run.met:
            self._lend(run, {each.key for each in chain(around)})
        run.met = True

    @staticmethod
    def _learn_end(run: RunRecord) -> None:
        """Add start, end and outcome from the hooks of the tracker, if the run has ended."""
        known = STATE.ended.get(run.key)
        if known is not None:
            run.know([known.context], known.context.facts.get("name"))
            run.trackers = run.trackers or (known.context,)
            run.change(started=min(run.facts.started, known.started))
            run.end(known.outcome, known.ended)

    def _lend(self, run: RunRecord, around: set[str]) -> None:
        """Record data read so far by the process's own run and by enclosing runs as available to a run."""
        enclosing = [self.runs[key] for key in around if key in self.runs]
        for other in [each for each in (*self._unnamed, *enclosing) if each is not run]:
            for journal in self.journals.values():
                entry = journal.entries.get((other.key, other.facts.process))
                lent = [*entry.links.items()] if entry is not None else []
                for name, link in lent:
                    if link.role == "input":
                        self._link(journal, run, _available(link, run), run.trackers)
                        if entry is not None and not other.named:
                            entry.unsent.discard(name)
                            if entry.sent is not None:
                                other.change(part_of=other.facts.part_of or run.key)
                for log in journal.logs.values():
                    if log.event.run.key == other.key and log.read:
                        run.lent.append((journal, log, len(log.read), not other.named))
            run.lent += other.lent if other.named else []

    # the queue

    def journal(self, repo: RepositoryCore) -> QueueFile:
        """Return the journal of a repository; create it if missing."""
        journal = self.journals.get(repo.local_name)
        if journal is None:
            mine = self._parent if any(run.part for run in self.runs.values()) else None
            head = {
                "parent": mine.process if mine else None,
                "pid": mine.pid if mine else STATE.pid,
                "start": mine.start if mine else STATE.start,
                "boot": boot_id(),
                "url": repo.url,
            }
            journal = QueueFile(queue_folder(repo.local_name), STATE.process, head, repo)
            self.journals[repo.local_name] = journal
            _tell_runner(repo.local_name, repo.url)
        return journal

    def close(self, *, delete: bool = False) -> None:
        """Close the queue's files; with `delete`, remove those that were sent completely."""
        for journal in self.journals.values():
            journal.close(delete=delete)

    def _link(self, journal: QueueFile, run: RunRecord, link: Link, trackers: tuple[Context, ...]) -> None:
        """Record a link and queue its use for trackers, if it is new."""
        for each in self._write(journal, run, link):
            self._tell(journal, run, each, trackers)

    def _write(self, journal: QueueFile, run: RunRecord, *links: Link) -> tuple[Link, ...]:
        """Record links and, if they changed, the run's facts; return the new links."""
        entry = journal.entries.get((run.key, run.facts.process))
        changed = entry is None or not entry.run.facts or entry.run.sequence < run.facts.sequence
        event = event_of(run.facts if changed else run.bare, links)
        for digest in attachments_of(event) & self.attachments.keys():
            journal.keep(digest, self.attachments[digest])
        return journal.add(event)

    def _rewrite(self, run: RunRecord) -> bool:
        """Record the run's facts in every journal that contains the run; return whether any does."""
        found = [each for each in self.journals.values() if (run.key, run.facts.process) in each.entries]
        for journal in found:
            self._write(journal, run)
        return bool(found)

    def _tell(self, journal: QueueFile, run: RunRecord, link: Link, contexts: Iterable[Context]) -> None:
        """Queue a use with everything that a run did with a version so far, for each tracker.

        A tracker that accepts updates keeps only the last use, so that one includes files not in links yet.
        """
        held = [*journal.entries[run.key, run.facts.process].links.values()]
        unsaid = [
            part
            for log in journal.logs.values()
            if (log.event.run.key, log.link.record) == (run.key, link.record)
            for part in log.unsaid()
        ]
        for context in contexts:
            known = [*held, *unsaid] if context.system in updating() else held
            whole, asked = united(link, known), self._asked.get(link.record or "")
            self.for_trackers.append((context, use_of(journal.repo, whole, asked)))


def _available(link: Link, run: RunRecord) -> Link:
    """Return the link of a run to data that another run read before."""
    return link._replace(how="available", context=None, time=run.facts.started)


def _how(key: str) -> str:
    """Return the kind of a run that a worker reports: the process's own, or one that began in it."""
    if key == STATE.key:
        return "implicit"
    return "joined" if key in STATE.bases else "tracker"


def _as_context(scope: Scope) -> Context:
    """Return an enclosing run named by the user as a context."""
    system, _, run = scope.key.partition(":")
    return Context(system=system, id=run, kind="explicit")


def _tell_runner(repository: str, url: str) -> None:
    """Report a repository with records to `dataver run`, if it started this process."""
    path = os.environ.get(NOTES)
    if path:
        try:
            with open(path, "a", encoding="utf-8") as file:
                file.write(f"{repository} {url}\n")
        except OSError:
            pass  # the launcher has ended
