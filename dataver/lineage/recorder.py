"""Notes which versions a run consumes and produces, without ever being in its way: the face of the recorder.

The idea: noting is quick and local, everything slow happens on one daemon thread. A note decides which run it
is for (`which_run`), is held in memory and appended to the queue's file (`process`, `queue`), and wakes the
thread (`background`), which captures the code and the machine, writes to trackers and sends the queue to the
repository.

Invariant 8 in detail:

- A note never raises, never waits for a network, starts no run and imports no tracker. What fails is said
  once; what was noted stays in memory and in the queue and is tried again, at the latest by another process.
- At exit the process waits at most ten seconds, and not at all once it is interrupted.
- A forked child starts with nothing noted, in the run of its parent.
- A process that is killed leaves its queue's file; the next one that sends anything sends it, too.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING

from dataver.formats.event import Link, Subset
from dataver.lineage import noting, settings
from dataver.lineage.background import Background
from dataver.lineage.noted import now
from dataver.lineage.process import Notes

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from dataver.formats.record import Record
    from dataver.lineage.books import Book
    from dataver.lineage.capture.contexts import Glance
    from dataver.repository import Published, Repository

__all__ = [
    "begin_run",
    "book_of",
    "end_run",
    "finish",
    "flush",
    "forked",
    "look_again",
    "note_input",
    "note_output",
]


def note_input(
    repo: Repository,
    published: Published,
    *,
    subset: Subset,
    files: int,
    size: int,
    how: str,
    run: object = None,
    asked: str | None = None,
    when: datetime | None = None,
    seen: Glance | None = None,
) -> None:
    """Note that the current run consumed a version. Never raises.

    Args:
        repo: the repository.
        published: the version.
        subset: what of it was read.
        files: how many files that is.
        size: bytes of them.
        how: `fetch`, `read`, `declared` …
        run: the run, where the caller names it (`which_run.key_of`).
        asked: the reference that the user typed.
        when: when that was; None means now.
        seen: what the thread that did it saw; None looks now.
    """
    record = published.record
    _note(
        repo,
        lambda: Link(
            role="input",
            dataset=record.dataset,
            label=record.label,
            record=published.record_id,
            tree=record.tree.hex(),
            subset=subset,
            files=files,
            size=size,
            time=when or now(),
            how=how,
        ),
        run,
        asked,
        seen,
    )


def note_output(
    repo: Repository, record: Record, record_id: str | None, *, how: str, run: object = None
) -> None:
    """Note that the current run produced a version, published or only sealed. Never raises.

    Args:
        repo: the repository.
        record: the version's record; as long as it is not published its label means nothing.
        record_id: the record's id; None as long as it is not published.
        how: `finalize`, `declared` …
        run: the run, where the caller names it.
    """
    _note(
        repo,
        lambda: Link(
            role="output",
            dataset=record.dataset,
            label=record.label if record_id else None,
            record=record_id,
            write_id=record.write_id,
            tree=record.tree.hex(),
            files=record.files,
            size=record.size,
            time=now(),
            how=how,
        ),
        run,
        None,
    )


def book_of(
    repo: Repository,
    published: Published,
    *,
    run: object = None,
    asked: str | None = None,
    known: Book | None = None,
) -> Book | None:
    """Return where to note what the current run reads of a version, file by file. Never raises.

    Args:
        repo: the repository.
        published: the version.
        run: the run, where the caller names it.
        asked: the reference that the user typed.
        known: the book of last time: where it still is the one, nobody is woken.

    Returns:
        The book; None where there is no run.
    """
    found: list[Book | None] = []

    def look() -> None:
        recorder = _recorder()
        found.append(recorder.notes.book(repo, published, run, asked))
        changed = found[0] is None or found[0] is not known
        if changed and recorder.notes.targets and recorder.notes.independent:
            recorder.background.wake()

    _careful(look)
    return found[0] if found else None


def begin_run(key: str, name: str | None) -> None:
    """Make a run the innermost explicit one of this process, until `end_run`. Never raises."""
    _careful(lambda: _recorder().notes.begin(key, name))
    _turn()


def end_run(key: str, outcome: str) -> None:
    """End an explicit run and have it sent soon. Never raises."""

    def end() -> None:
        recorder = _recorder()
        if recorder.notes.end(key, outcome) and recorder.notes.independent:
            recorder.background.send_ended()

    _careful(end)
    _turn()


def look_again() -> None:
    """Look for a run of a tracker that has just begun: it gets what was noted before. Never raises.

    For hooks that trackers call when a run begins.
    """
    _turn()
    recorder = _mine()
    if recorder is not None:
        _careful(recorder.notes.look)
        _careful(recorder.background.wake)


def flush(timeout: float | None = None) -> bool:
    """Send now what this process noted; return whether all of it was sent. Never raises.

    Args:
        timeout: seconds to wait; None waits until it was tried.
    """
    noting.wait(timeout)
    recorder = _mine()
    if recorder is None or not recorder.notes.targets:
        return True
    return recorder.background.send_and_wait(timeout)


class _Recorder:
    """The notes of one process, and their thread."""

    def __init__(self, forked_from: Notes | None) -> None:
        self.notes = Notes(forked_from)
        self.background = Background(self.notes)

    def finish(self) -> None:
        """Say that all ended, and send within bounds."""
        notes = self.notes
        if not notes.targets:
            return
        notes.finish(_outcome())
        if not notes.independent:
            for target in notes.targets.values():
                target.queue.close()  # the parent takes it from here
            notes.books.close()
        elif self.background.stop_within(noting.EXIT_SECONDS):
            notes.books.close(delete=True)
        else:
            folders = ", ".join(str(target.queue.path.parent) for target in notes.targets.values())
            settings.warn(f"lineage waits in {folders} and is sent later: the repository takes too long.")


_current: _Recorder | None = None
_making = threading.RLock()


def _turn() -> None:
    """Have readers look which run they belong to."""
    reads = sys.modules.get("dataver.lineage.reads")
    if reads is not None:
        reads.turn()


def _mine() -> _Recorder | None:
    """Return this process's recorder, if it has noted anything."""
    return _current if _current is not None and _current.notes.pid == os.getpid() else None


def _recorder() -> _Recorder:
    """Return this process's recorder, made at the first note; after a fork the child makes its own."""
    global _current  # noqa: PLW0603  # one a process
    with _making:
        if _current is None:
            noting.at_exit()
            _current = _Recorder(None)
        elif _current.notes.pid != os.getpid():
            _current = _Recorder(_current.notes)
        return _current


def _note(
    repo: Repository,
    link: Callable[[], Link],
    run: object,
    asked: str | None,
    seen: Glance | None = None,
) -> None:
    def note() -> None:
        recorder = _recorder()
        recorder.notes.note(repo, link(), run, asked, seen)
        if recorder.notes.targets and recorder.notes.independent:
            recorder.background.wake()

    _careful(note)


def _careful(act: Callable[[], object]) -> None:
    """Do it; what goes wrong is said once and does no harm (invariant 8)."""
    if not settings.enabled():
        return
    try:
        act()
    except Exception as error:  # noqa: BLE001  # training goes on, whatever it is
        if os.environ.get("DATAVER_TRACEBACK"):
            import traceback

            traceback.print_exc()
        settings.warn(f"lineage was not noted: {type(error).__name__}: {error}.")


def finish() -> None:
    """Say that all ended, and send within bounds; `noting` calls this at exit."""
    recorder = _mine()
    if recorder is not None:
        _careful(recorder.finish)


def forked() -> None:
    """Let go of what is the parent's, in a forked child; its locks may be held by threads not there."""
    global _making  # noqa: PLW0603
    _making = threading.RLock()
    if _current is not None:
        _current.notes.let_go()


def _outcome() -> str:
    """Tell how the program ended: an exception that nobody caught is remembered by the interpreter.

    In an interactive session every error is remembered, and ends nothing. `sys.exit(1)` leaves no trace;
    under `dataver run` the exit code tells.
    """
    raised = getattr(sys, "last_value", None)
    if raised is None or hasattr(sys, "ps1") or "ipykernel" in sys.modules:
        return "finished"
    return "killed" if isinstance(raised, KeyboardInterrupt) else "failed"
