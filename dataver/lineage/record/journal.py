r"""The records of one process for one repository: runs, their links, the files read, and what was sent.

Each line is one fact, and facts are only added:

    #{"parent":…,"pid":…,"start":…,"boot":…,    first line: the sending process; the repository, with options
      "url":…,"options":…}                     of its store, without secrets
    {…}                                        an event (`formats/event.py`)
    %<text>                                    an attachment of events below, its bytes as Latin-1
    @<number> {…}                              start of a read log; the event identifies run and version
    +<number> <size> <path>\t…                 files that were read, separated by tabs
    ><number> <first> <size> <path>\t…         files that a pass reads next, counted from `first`: available
    <<number> <first> <end>                    of these, files that were read, by their numbers
    *<number> […]                              a share to read
    &<number> <other> <count>                  the first `count` files of another log are in this one, too
    =<number> <count>                          the first `count` files of a log are in events above
    !                                          all events above, and the files of `=`, were sent

The idea: a process applies each fact to its own journal when it appends the line to its file (`queue_file`),
and a process that reads the file applies the same lines, to an empty journal or to its own: a known fact has
no effect.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import count
from typing import TYPE_CHECKING

from dataver.errors import DataverError
from dataver.formats.event import parse_event
from dataver.lineage.record.read_log import ReadLog, Share
from dataver.lineage.record.run import Run, event_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dataver.formats.event import Event, Link, RunFacts

# Imports in functions: the first read of a process writes without them.

__all__ = ["Journal"]


class Journal:
    """The records for one repository.

    Attributes:
        runs: by key and reporting process.
        logs: files read, by run, reporting process, version's record, tracker's run and `how`.
        attachments: bytes that events refer to, by digest; empty bytes once they are sent.
    """

    def __init__(self) -> None:
        self.runs: dict[tuple[str, str], Run] = {}
        self.logs: dict[tuple[str | None, ...], ReadLog] = {}
        self.attachments: dict[str, bytes] = {}
        self._numbers = count()

    def append(self, *lines: bytes) -> bool:  # noqa: ARG002
        """Append lines to the file, if any; return whether they were written."""
        return True

    def run(self, facts: RunFacts) -> Run:
        """Return the run that facts belong to; keep the facts if they are newer."""
        run = self.runs.get((facts.key, facts.process))
        if run is None:
            run = self.runs[facts.key, facts.process] = Run(facts)
        elif (bool(facts.facts), facts.sequence) > (bool(run.facts.facts), run.facts.sequence):
            run.facts = facts
        return run

    def add(self, run: Run, *links: Link) -> None:
        """Record links of a run and, if they changed, its facts."""
        fresh = [link for link in links if run.add(link)]
        changed = run.written is None or run.written < run.facts.sequence
        if fresh or changed:
            run.written = run.facts.sequence
            self.append(event_of(run.facts if changed else run.bare, fresh).encode())

    def rewrite(self, run: Run) -> bool:
        """Record changed facts of a run, if the file contains the run; return whether it does."""
        if run.written is not None:
            self.add(run)
        return run.written is not None

    def log(self, run: Run, link: Link) -> ReadLog:
        """Return the log of a run and of the version in a link without files; create it if missing."""
        key = (run.key, run.facts.process, link.record, link.context, link.how)
        log = self.logs.get(key)
        if log is None:
            log = self.logs.setdefault(key, ReadLog(self, run, link, next(self._numbers)))
        return log

    def link(self, log: ReadLog, files: int, found: Iterable[tuple[Link, bytes | None]]) -> None:
        """Add links of the first `files` files of a log, with their listings."""
        for link, listing in found:
            if listing is not None and link.subset.listed is not None:
                self.keep(link.subset.listed, listing)
            self.add(log.run, link)
        log.settle(files)

    def keep(self, digest: str, raw: bytes) -> None:
        """Keep an attachment until it is sent."""
        if digest not in self.attachments:
            import json

            self.attachments[digest] = raw
            self.append(b"%" + json.dumps(raw.decode("latin-1")).encode())

    def unsent(self, *, ended_only: bool = False, bare: bool = False) -> list[Event]:
        """Return everything unsent, one event for each run and process.

        Args:
            ended_only: only runs that have ended.
            bare: include ended runs without links of which nothing was sent.
        """
        found = []
        for run in self.runs.values():
            links = [run.links[key] for key in run.links if key in run.unsent] if run.unsent else ()
            known = run.sent
            if known is None:
                known = 0 if bare and run.facts.ended else run.facts.sequence
            if (links or run.facts.sequence > known) and (run.facts.ended or not ended_only):
                found.append(event_of(run.facts, links))
        return found

    def apply(self, data: bytes, run_of: Callable[[RunFacts], Run] | None = None) -> int:
        """Apply the lines of a file; return the number of unreadable ones.

        Args:
            data: the file's content.
            run_of: returns the run under which a process's records are reported; None for `run`.
        """
        file = _File(self, run_of or self.run)
        damaged = 0
        for line in data.split(b"\n")[1:-1]:  # an incomplete last line was being written
            try:
                if line.endswith(b"\0"):
                    damaged += 1  # a full disk cut it off
                elif line:
                    file.apply(line)
            except (DataverError, ValueError, TypeError, KeyError):
                damaged += 1  # the other lines remain valid
        for number, log in file.logs.items():
            self.add(log.run)
            mine = self.log(log.run, log.link)
            mine.absorb(log)
            uncertain = [each for each in file.ahead[number].values() if each[0] not in mine.known]
            if uncertain:
                mine.available().add(uncertain)
        return damaged


class _File:
    """The lines of one file, as they are applied to a journal."""

    def __init__(self, journal: Journal, run_of: Callable[[RunFacts], Run]) -> None:
        self.logs: dict[int, ReadLog] = {}
        self.ahead: defaultdict[int, dict[int, tuple[str, int]]] = defaultdict(dict)
        self._journal, self._run_of = journal, run_of
        self._events: list[tuple[Run, Event]] = []

    def apply(self, line: bytes) -> None:
        import json

        kind, rest = line[:1], line[1:]
        if kind == b"{":
            event = parse_event(line)
            run = self._run_of(event.run)
            self._journal.add(run, *event.links)
            run.mark_unsent(event)  # after `!`
            self._events.append((run, event))
        elif kind == b"%":
            from dataver.formats.bundle import attachment_digest

            raw = json.loads(rest).encode("latin-1")
            self._journal.keep(attachment_digest(raw), raw)
        elif kind == b"!":
            for run, event in self._events:
                run.mark_sent(event)
        else:
            number, _, rest = rest.partition(b" ")
            self._apply_read(kind, int(number), rest)

    def _apply_read(self, kind: bytes, number: int, rest: bytes) -> None:
        import json

        first, _, last = rest.partition(b" ")
        if kind == b"@":
            event = parse_event(rest)
            (link,) = event.links
            run = self._run_of(event.run)
            self.logs[number] = ReadLog(Journal(), run, link, number)
        elif kind == b"+":
            self.logs[number].add(_files_of(rest))
        elif kind == b">":
            self.ahead[number].update(enumerate(_files_of(rest.partition(b" ")[2]), int(first)))
        elif kind == b"<":
            ahead = self.ahead[number]
            self.logs[number].add(ahead[at] for at in range(int(first), int(last)) if at in ahead)
        elif kind == b"*":
            patterns, rank, world, files, size, *exclude = json.loads(rest)
            self.logs[number].share(Share(tuple(patterns), rank, world, files, size, tuple(*exclude)))
        elif kind == b"&":
            self.logs[number].include(self.logs[int(first)], int(last))
        elif kind == b"=":
            self.logs[number].settle(int(rest))
        else:
            raise ValueError(kind)


def _files_of(line: bytes) -> list[tuple[str, int]]:
    parts = [file.partition(" ") for file in line.decode().split("\t")]
    return [(path, int(size)) for size, _, path in parts]
