"""The records of one process for one repository: runs, their links, the files read, and what was sent.

Each line is one fact, and facts are only added:

    #{"parent":…,"pid":…,"start":…,"boot":…,"url":…}    first line: the sending process, the repository
    {…}                                        an event (`formats/event.py`)
    @<number> {…}                              start of a read log; the event identifies run and version
    +<number> <size> <path>                    first read of a file
    *<number> […]                              a share to read
    =<number> <count>                          the first `count` files of a log are in events above
    !                                          all events above, and the files of `=`, were sent

The idea: a process applies each line to its own journal when it appends the line to its file (`queue_file`),
and a process that reads the file applies the same lines. `absorb` merges the journals of several processes: a
known fact has no effect.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

from dataver._about import __version__
from dataver.errors import DataverError
from dataver.formats.event import Event, Link, RunFacts, new_event_id, parse_event
from dataver.lineage.record.read_log import ReadLog, Share

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dataver.formats.record import Record

__all__ = ["Entry", "Journal", "attachments_of", "event_of", "identity", "link_of", "now"]


def now() -> datetime:
    """Return the current time, aware UTC."""
    return datetime.now(UTC)


def event_of(run: RunFacts, links: Iterable[Link] = ()) -> Event:
    """Return an event of a run with the current time."""
    event_id = new_event_id(noise=os.urandom(10))
    return Event(id=event_id, written=now(), tool=f"dataver {__version__}", run=run, links=tuple(links))


def link_of(role: str, record: Record, record_id: str | None, how: str, **values: Any) -> Link:
    """Return a link to a version with the current time; `values` are further fields."""
    return Link(
        role=role,
        dataset=record.dataset,
        label=record.label if record_id else None,
        record=record_id,
        tree=record.tree.hex(),
        time=now(),
        how=how,
        **values,
    )


def identity(link: Link) -> tuple[object, ...]:
    """Return a key that is equal for equal links of one run (`formats.event.link_id`)."""
    made = link.write_id if link.role == "output" else None
    return (link.role, link.dataset, link.tree, made or link.record, link.subset, link.context)


def attachments_of(event: Event) -> set[str]:
    """Return the digests of an event's attachments."""
    git = event.run.facts.get("git")
    named = {event.run.facts.get("packages"), git.get("diff") if isinstance(git, dict) else None}
    named |= {link.subset.listed for link in event.links}
    return {name for name in named if isinstance(name, str)}


class Entry:
    """One run as reported by one process.

    Attributes:
        run: the latest facts; none if the process is a worker, which only adds links.
        links: all links, by identity.
        unsent: identities of unsent links.
        sent: sequence of the facts that were sent; None if nothing of the run was sent.
    """

    __slots__ = ("links", "run", "sent", "unsent")

    def __init__(self, run: RunFacts) -> None:
        self.run = run
        self.links: dict[tuple[object, ...], Link] = {}
        self.unsent: set[tuple[object, ...]] = set()
        self.sent: int | None = None

    def add(self, link: Link) -> bool:
        """Add a link; return whether it is new. A read or fetch replaces `available`."""
        key = identity(link)
        held = self.links.get(key)
        if held is not None and (held.how != "available" or link.how == "available"):
            return False
        self.links[key] = link
        self.unsent.add(key)
        return True


class Journal:
    """The records for one repository.

    Attributes:
        head: fields of the first line.
        entries: runs, by key and reporting process.
        logs: files read, by run, reporting process, version's record and tracker's run.
        attachments: bytes that events refer to, by digest, until they are sent.
        damaged: number of unreadable lines.
    """

    def __init__(self, data: bytes = b"") -> None:
        self.head: dict[str, Any] = {}
        self.entries: dict[tuple[str, str], Entry] = {}
        self.logs: dict[tuple[str, str, str | None, str | None], ReadLog] = {}
        self.attachments: dict[str, bytes] = {}
        self.damaged = 0
        self._numbers = count()
        numbered: dict[int, ReadLog] = {}
        for line in data.split(b"\n")[:-1]:  # an incomplete last line was being written
            try:
                if line:
                    self._apply(line, numbered)
            except (DataverError, ValueError, TypeError, KeyError):
                self.damaged += 1  # the other lines remain valid

    def append(self, *lines: bytes | Event) -> bool:  # noqa: ARG002
        """Append lines to the file, if any; return whether they were written."""
        return True

    def add(self, event: Event) -> tuple[Link, ...]:
        """Add an event's links and, if it has any, facts; return the new links."""
        run, key = event.run, (event.run.key, event.run.process)
        entry = self.entries.get(key)
        if entry is None:
            entry, newer = self.entries.setdefault(key, Entry(run)), True
        else:
            held = entry.run
            newer = (bool(run.facts), run.sequence) > (bool(held.facts), held.sequence)
            entry.run = run if newer else held
        fresh = tuple(link for link in event.links if entry.add(link))
        if fresh or (newer and run.facts):
            self.append(event._replace(links=fresh))
        return fresh

    def log(self, event: Event) -> ReadLog:
        """Return the log of an event's run and of the version in its only link; create it if missing."""
        (link,) = event.links
        key = (event.run.key, event.run.process, link.record, link.context)
        log = self.logs.get(key)
        if log is None:
            run = event.run._replace(
                sequence=0, facts={}, contexts=(), ended=None, outcome=None, part_of=None
            )
            log = self.logs[key] = ReadLog(event._replace(run=run), next(self._numbers), self.append)
        return log

    def link(self, log: ReadLog, files: int, found: Iterable[tuple[Link, bytes | None]]) -> tuple[Link, ...]:
        """Add links of the first `files` files of a log, with their listings; return the new links."""
        fresh: tuple[Link, ...] = ()
        for link, listing in found:
            if listing is not None and link.subset.listed is not None:
                self.keep(link.subset.listed, listing)
            fresh += self.add(log.event._replace(links=(link,)))
        log.settle(files)
        return fresh

    def keep(self, digest: str, raw: bytes) -> None:
        """Keep an attachment until it is sent."""
        self.attachments[digest] = raw

    def unsent(self, *, ended_only: bool = False, bare: bool = False) -> list[Event]:
        """Return everything unsent, one event for each run and process.

        Args:
            ended_only: only runs that have ended.
            bare: include runs without links of which nothing was sent.
        """
        found = []
        for entry in self.entries.values():
            links = [entry.links[key] for key in entry.links if key in entry.unsent] if entry.unsent else ()
            known = (0 if bare else entry.run.sequence) if entry.sent is None else entry.sent
            if (links or entry.run.sequence > known) and (entry.run.ended or not ended_only):
                found.append(event_of(entry.run, links))
        return found

    def absorb(
        self, other: Journal, report: Callable[[RunFacts], RunFacts] = lambda run: run
    ) -> list[tuple[str, Link]]:
        """Add unsent records of another process; return new links with the keys of their runs.

        Args:
            other: its journal.
            report: returns the run under which an event is reported.
        """
        fresh: list[tuple[str, Link]] = []
        for digest, raw in other.attachments.items():
            self.keep(digest, raw)
        for event in other.unsent(bare=True):
            added = self.add(event._replace(run=report(event.run)))
            fresh += [(event.run.key, link) for link in added]
        for log in other.logs.values():
            self.log(log.event._replace(run=report(log.event.run))).absorb(log)
        return fresh

    def _apply(self, line: bytes, numbered: dict[int, ReadLog]) -> None:
        kind, rest = line[:1], line[1:]
        if kind == b"{":
            event = parse_event(line)
            self.add(event)
            entry = self.entries[event.run.key, event.run.process]
            if event.run.facts and entry.sent is not None:  # facts after `!` are unsent
                entry.sent = min(entry.sent, event.run.sequence - 1)
            return
        import json

        if kind == b"#":
            self.head = json.loads(rest)
            return
        if kind == b"!":
            for entry in self.entries.values():
                entry.sent, entry.unsent = entry.run.sequence, set()
                entry.links.clear()  # unsent links are repeated on the next lines
            return
        number, _, rest = rest.partition(b" ")
        if kind == b"@":
            numbered[int(number)] = self.log(parse_event(rest))
            return
        log = numbered[int(number)]
        if kind == b"+":
            size, _, path = rest.partition(b" ")
            log.add(path.decode(), int(size))
        elif kind == b"*":
            patterns, rank, world, files, size, *exclude = json.loads(rest)
            log.share(Share(tuple(patterns), rank, world, files, size, tuple(*exclude)))
        elif kind == b"=":
            log.settle(int(rest))
        else:
            raise ValueError(kind)
