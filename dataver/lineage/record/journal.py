r"""The records of one process for one repository: runs, their links, the files read, and what was sent.

Each line is one fact, and facts are only added:

    #{"parent":…,"pid":…,"start":…,"boot":…,    first line: the sending process; the repository, with options
      "url":…,"options":…}                     of its store, without secrets
    {…}                                        an event (`formats/event.py`)
    %<text>                                    an attachment of events below, its bytes as Latin-1
    @<number> {…}                              start of a read log; the event identifies run and version
    +<number> <size> <path>\t…                 files that were read, separated by tabs
    ><number> <first> <size> <path>\t…         files that a pass reads next, counted from `first`: available
    <<number> <first> <count>                  the first `count` of these were read
    -<number> <first>                          the others were not read before the pass or run ended
    *<number> [{…},<files>,<size>]             a share to read
    &<number> <other> <count>                  the first `count` files of another log are in this one, too
    =<number> <count>                          the first `count` files of a log are in events above
    !                                          all events above, and the files of `=`, were sent

The idea: a process applies each fact to its own journal when it appends the line to its file (`queue_file`).
A process that reads the file applies the same lines to an empty journal, and adds what was not sent to its
own: a known fact has no effect.
"""

from __future__ import annotations

import threading
from itertools import count, islice
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Final

from dataver.errors import DataverError
from dataver.formats.event import MAX_LISTED, Subset, parse_event
from dataver.lineage.record.run import Run, event_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from dataver.formats.event import Event, Link, RunFacts

# Imports in functions: the first read of a process writes without them.

__all__ = ["Batch", "Journal", "ReadLog"]

_UNCERTAIN: Final = 0.01  # seconds in which a pass does not record its progress


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
        if self.log is not None and self.taken == len(self.files):
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
        shares: parts of the version that readers are to read, with their numbers of files and bytes.
        said: number of files in links, from the first on.
        whole: files and bytes of the version, if known.
        listed: whether names of files were requested.
        closed: whether the run has ended; later reads determine their run, and its log, again.
    """

    def __init__(self, journal: Journal, run: Run, link: Link, number: int) -> None:
        self.run, self.link = run, link
        self.own = journal.log(run, link._replace(how="read")) if link.how == "available" else None
        self.known: dict[str, int] = {}
        self.batches: dict[Batch, None] = {}
        self.shares: tuple[tuple[Subset, int, int], ...] = ()
        self.said = self._ahead = 0
        self.whole: tuple[int, int] | None = None
        self.listed = self.closed = self._told = False
        self._journal, self._number, self._begun = journal, number, False
        self._lock = threading.Lock()

    @property
    def read(self) -> dict[str, int]:
        """A copy of the files read so far, with their sizes."""
        with self._lock:
            self._collect()
            return dict(self.known)

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
            if self._has(files):
                batch.taken = batch.marked = len(files)
            else:
                batch.first, batch.due = self._ahead, monotonic() + _UNCERTAIN if self._told else 0.0
                self._ahead += len(files)
                self._write(f">{self._number} {batch.first} {_text_of(files)}")
            batch.closed = self.closed
            self.batches[batch] = None
        return batch

    def _has(self, files: Sequence[tuple[str, int]]) -> bool:
        """Return whether the log contains all of these files."""
        if self.whole is not None and len(self.known) == self.whole[0]:
            return True  # between reads, each look-up below takes 0.3 us (`benchmarks.recording`)
        return files[0][0] in self.known and all(path in self.known for path, _ in files)

    def progress(self, batch: Batch) -> bool:
        """Record that more files of a batch were read; return whether they are the first of the log."""
        with self._lock:
            batch.due = monotonic() + _UNCERTAIN
            return self._mark(batch)

    def collect(self, *, last: bool = False) -> None:
        """Add the files that passes have read; `last`: they read no more for this run."""
        with self._lock:
            self._collect(last=last)

    def _collect(self, *, last: bool = False) -> None:
        for batch in list(self.batches):
            ended = batch.ended
            self._mark(batch)
            self.known.update(batch.files[batch.taken : batch.marked])
            batch.taken = batch.marked
            if (ended or last) and batch.marked < len(batch.files):
                self._write(f"-{self._number} {batch.first}")
            if ended:
                self.batches.pop(batch, None)

    def _mark(self, batch: Batch) -> bool:
        done = batch.done
        if done <= batch.marked:
            return False
        self._write(f"<{self._number} {batch.first} {done}")
        batch.marked = done
        return self._tell()

    def _tell(self) -> bool:
        first, self._told = not self._told, True
        if first:
            self.run.untold.append((self.link, True))
        return first

    def share(self, subset: Subset, files: int, size: int) -> None:
        """Add a part of the version that a reader is to read; links refer to it once it is read."""
        with self._lock:
            if (subset, files, size) not in self.shares:
                import json

                self.shares = (*self.shares, (subset, files, size))
                values = subset.values(), files, size
                self._write(f"*{self._number} {json.dumps(values, separators=(',', ':'))}")

    def include(self, other: ReadLog, count: int) -> None:
        """Add the first `count` files of another log of the same journal."""
        files = other.read
        with self._lock:
            self.known.update(islice(files.items(), count))
            self._write(f"&{self._number} {other._number} {count}")

    def settle(self, count: int) -> None:
        """Record that the first `count` files are in links."""
        with self._lock:
            if count > self.said:
                self.said = count
                self._write(f"={self._number} {count}")

    def close(self) -> None:
        """Make passes determine their run again: the run has ended."""
        with self._lock:
            self.closed = True
            for batch in list(self.batches):
                batch.closed = True  # first: a file that is read meanwhile is read again
            self._collect(last=True)
            self.batches.clear()

    def _write(self, line: str) -> None:
        """Append a line; the first one that is written follows the line that begins the log."""
        if self._begun:
            self._journal.append(line.encode())
        else:
            start = event_of(self.run.bare, [self.link])
            begin = b"@%d %s" % (self._number, start.encode())
            self._begun = self._journal.append(begin, line.encode())

    def apply(self, kind: bytes, text: bytes, logs: Mapping[int, ReadLog]) -> None:
        """Apply a line of a file, whose logs are given by their numbers."""
        first, _, rest = text.partition(b" ")
        if kind == b"+":
            self.add(_files_of(text))
        elif kind == b">":
            self._ahead = int(first)  # a full disk may have refused the line before
            self.batch(_files_of(rest))
        elif kind in b"<-":
            batch = {each.first: each for each in self.batches}[int(first)]
            if kind == b"<":
                batch.done = int(rest)
                self.progress(batch)
            if kind == b"-" or batch.done == len(batch.files):
                batch.end()
        elif kind == b"*":
            import json

            subset, files, size = json.loads(text)
            self.share(Subset.of(subset), files, size)
        elif kind == b"&":
            self.include(logs[int(first)], int(rest))
        elif kind == b"=":
            self.settle(int(text))
        else:
            raise ValueError(kind)

    def absorb(self, other: ReadLog) -> None:
        """Add files and shares of another log of the same run and version."""
        first, read = not self.known, other.read
        self.add(read.items())
        for share in other.shares:
            self.share(*share)
        if first:
            self.settle(other.said)

    def uncertain(self) -> list[tuple[str, int]]:
        """Return the files that passes may have read since they recorded their progress."""
        ahead = [file for batch in self.batches if not batch.ended for file in batch.files[batch.marked :]]
        return [file for file in ahead if file[0] not in self.known]

    def fresh(self, read: dict[str, int] | None = None) -> dict[str, int]:
        """Return the files not in links yet; of available ones, without those that the run read itself.

        Args:
            read: all files, if they were copied before.
        """
        read = self.read if read is None else read
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


def _files_of(line: bytes) -> list[tuple[str, int]]:
    parts = [file.partition(" ") for file in line.decode().split("\t")]
    return [(path, int(size)) for size, _, path in parts]


class Journal:
    """The records for one repository.

    Attributes:
        runs: by key and reporting process.
        logs: files read, by run, reporting process, version's record, tracker's run and `how`.
        attachments: bytes that events refer to, by digest; empty bytes once they are sent.
        run_of: returns the run under which the facts in another process's file are reported.
    """

    def __init__(self) -> None:
        self.runs: dict[tuple[str, str], Run] = {}
        self.logs: dict[tuple[str | None, ...], ReadLog] = {}
        self.attachments: dict[str, bytes] = {}
        self.run_of: Callable[[RunFacts], Run] = self.run
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
            links, known = list(run.unsent.values()), run.sent
            if known is None:
                known = 0 if bare and run.facts.ended else run.facts.sequence
            if (links or run.facts.sequence > known) and (run.facts.ended or not ended_only):
                found.append(event_of(run.facts, links))
        return found

    def apply(self, data: bytes) -> int:
        """Apply the lines of a file to an empty journal; return the number of unreadable ones."""
        logs: dict[int, ReadLog] = {}
        damaged = 0
        for line in data.split(b"\n")[1:-1]:  # an incomplete last line was being written
            try:
                if line.endswith(b"\0"):
                    damaged += 1  # a full disk cut it off
                elif line:
                    self._apply(line[:1], line[1:], logs)
            except (DataverError, ValueError, TypeError, KeyError):
                damaged += 1  # the other lines remain valid
        for log in logs.values():
            log.collect()
            if uncertain := log.uncertain():
                log.available().add(uncertain)
        return damaged

    def _apply(self, kind: bytes, rest: bytes, logs: dict[int, ReadLog]) -> None:
        if kind == b"{":
            event = parse_event(kind + rest)
            run = self.run(event.run)
            self.add(run, *event.links)
            run.mark_unsent(event)  # after `!`
        elif kind == b"%":
            import json

            from dataver.formats.bundle import attachment_digest

            raw = json.loads(rest).encode("latin-1")
            self.keep(attachment_digest(raw), raw)
        elif kind == b"!":
            for run in self.runs.values():
                run.sent = run.facts.sequence
                run.unsent.clear()
        else:
            number, _, rest = rest.partition(b" ")
            if kind == b"@":  # Ctrl-C may repeat the line
                event = parse_event(rest)
                logs[int(number)] = self.log(self.run(event.run), *event.links)
            else:
                logs[int(number)].apply(kind, rest, logs)

    def absorb(self, other: Journal) -> None:
        """Add the unsent records of a file's journal."""
        for digest, raw in other.attachments.items():
            self.keep(digest, raw)
        for event in other.unsent(bare=True):
            self.add(self.run_of(event.run), *event.links)
        for log in other.logs.values():
            if log.run.sent is None or log.said < len(log.known):
                mine = self.log(self.run_of(log.run.facts), log.link)
                self.add(mine.run)
                mine.absorb(log)
