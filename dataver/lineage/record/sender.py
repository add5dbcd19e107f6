"""The background thread, which does everything slow, and the sending of records to the repository.

There is one thread, a daemon: it never keeps a process alive, and the wait for it at exit is limited. It
captures code and machine, writes to trackers and sends the queue: on request, after ten minutes, and then
hourly. At these times it summarises the files read as links, at intervals that double: a week of reads makes
ten links of a version.

A run is usually one event for each process. Sending is idempotent, so the outcome of an earlier attempt does
not matter; records that one process could not send are sent by another.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from dataver.errors import DataverError, InvalidInput, StoreError
from dataver.lineage import settings
from dataver.lineage.attribution.children import release_imports
from dataver.lineage.attribution.state import STATE, alive
from dataver.lineage.record.notes import Notes
from dataver.lineage.record.queue_file import QueueFile, absorb_left, queue_folder
from dataver.lineage.record.run import event_of
from dataver.machine.process_identity import boot_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from dataver.formats.event import Event
    from dataver.repository import RepositoryCore

# Imports in functions: the thread imports them, and the first read does not wait.

__all__ = ["Recorder", "send", "send_left", "send_queue", "send_waiting"]

_EXIT: Final = 10.0  # seconds to wait at exit
_FIRST: Final = 600.0  # seconds until the first periodic send
_LATER: Final = 3600.0
_REST: Final = 0.02  # seconds of delay before the first work, in favour of the caller
_LINKS: Final = 1_000  # maximum in one event


class Recorder:
    """The records of this process, and the thread.

    Requests to the thread: "tell" (write new uses to trackers), "close" (the same with all files read,
    including those of running workers), "ended" (send ended runs), "send" (send everything), "stop" (send
    everything and end).

    Attributes:
        notes: the records of this process.
    """

    def __init__(self) -> None:
        self.notes = Notes()
        self._requests = SimpleQueue[tuple[str, threading.Event]]()  # Ctrl-C can break a `Condition`
        self._lock = threading.RLock()
        self._hurry = threading.Event()
        self._everything_sent = self._captured = False
        self._began = time.monotonic()
        self._next = self._gather_at = self._began + _FIRST
        self._thread: threading.Thread | None = None

    @property
    def sends(self) -> bool:
        """Whether this process sends records; those of a worker are sent by its parent."""
        return bool(self.notes.journals) and not self.notes.worker

    def changed(self) -> None:
        """Wake the thread to process new records."""
        if self.sends:
            self.ask("tell")

    def flush(self, timeout: float | None) -> bool:
        """Send everything now; return whether that succeeded."""
        return not self.notes.journals or (self.wait(self.ask("send"), timeout) and self._everything_sent)

    def finish(self) -> None:
        """End all runs, and send with a time limit."""
        notes = self.notes
        self._try(lambda: notes.absorb(living=True))
        if not notes.journals and not notes.far:
            return
        notes.finish(_outcome())
        if notes.worker:
            notes.close()  # the parent sends the file
            return
        if self.wait(self.ask("stop"), _EXIT) or self._thread is None:
            notes.close(delete=True)
        else:
            folders = ", ".join(str(each.path.parent) for each in notes.journals.values())
            settings.warn(f"lineage is queued in {folders} and sent later: the repository is too slow.")

    def ask(self, what: str) -> threading.Event:
        """Send a request to the thread; return an event that is set when it was processed."""
        done = threading.Event()
        release_imports()  # the thread needs them
        with self._lock:
            self._requests.put((what, done))
            if self._thread is None or not self._thread.is_alive():  # Ctrl-C can prevent its start
                self._thread = threading.Thread(target=self._work, name="dataver-lineage", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:
                    self._thread = None  # thread limit or interpreter exit: another process sends the queue
        return done

    def wait(self, done: threading.Event, seconds: float | None) -> bool:
        """Wait until a request was processed; return whether it was."""
        self._hurry.set()
        return done.wait(seconds if self._thread is not None else 0)

    def _work(self) -> None:
        with self._lock:
            if self._thread is not threading.current_thread():
                return  # Ctrl-C interrupted the start, and another thread was started
        self._hurry.wait(_REST)
        last = False
        while True:
            requests = self._taken()
            wanted = {what for what, _ in requests}
            self._round(wanted)
            last = last or "stop" in wanted
            for _, done in requests:
                done.set()
            with self._lock:
                if last and self._requests.empty():
                    self._thread = None
                    return

    def _taken(self) -> list[tuple[str, threading.Event]]:
        """Wait for requests, or until periodic work is due; return all requests."""
        found = []
        with suppress(Empty):
            found.append(self._requests.get(timeout=max(self._next - time.monotonic(), 0.0)))
            while True:
                found.append(self._requests.get_nowait())
        return found

    def _round(self, wanted: set[str]) -> None:
        """Process requests, and periodic work that is due."""
        moment = time.monotonic()
        sending = moment >= self._next or not wanted.isdisjoint(("send", "stop"))
        gathering = bool(wanted - {"tell"}) or moment >= max(self._next, self._gather_at)
        if gathering:
            self._gather_at = moment + max(_FIRST, moment - self._began)
        if sending:
            self._next = moment + _LATER
        self._work_through(wanted, gathering=gathering, sending=sending)
        if gathering and self.notes.far:
            self._work_through(wanted, gathering=True, sending=sending, far=True)

    def _work_through(self, wanted: set[str], *, gathering: bool, sending: bool, far: bool = False) -> None:
        notes = self.notes
        if gathering:
            self._try(lambda: notes.absorb(living=not wanted.isdisjoint(("close", "stop")), far=far))
        if not notes.journals:
            return
        self._try(self._prepare)
        if "stop" in wanted:
            self._try(lambda: notes.finish(_outcome()))
            self._try(self._ask_outcomes)
        if gathering:
            self._try(notes.gather)
        self._try(self._write_to_trackers)
        if sending or "ended" in wanted:
            self._try(lambda: self._send(ended_only=not sending))

    @staticmethod
    def _try(act: Callable[[], object]) -> None:
        """Call a function; report an error as a warning, so that the thread continues."""
        try:
            act()
        except Exception as error:  # noqa: BLE001  # foreign code may raise anything
            settings.warn(f"lineage was not recorded completely: {type(error).__name__}: {error}.")

    def _prepare(self) -> None:
        """Import the modules for sending; capture command line, git and packages, once."""
        if self._captured:
            return
        self._captured = True
        from dataver.lineage.capture.environment import later

        self.notes.capture(*later(self.notes.facts))
        import dataver.formats.bundle
        import dataver.formats.config
        import dataver.lineage.subset_summary
        import dataver.repository.events  # noqa: F401

    def _ask_outcomes(self) -> None:
        """Fetch outcomes of runs from trackers that offer them; the process only has its own."""
        from dataver.lineage.trackers.base import outcome_of

        for _, run in self.notes.runs:
            own = [each for each in run.facts.contexts if each.key == run.key]
            run.change(outcome=next(filter(None, map(outcome_of, own)), run.facts.outcome))
        self.notes.rewrite()

    def _write_to_trackers(self) -> None:
        from dataver.lineage.trackers.base import note

        for context, use in self.notes.untold():
            note(context, use)

    def _send(self, *, ended_only: bool) -> None:
        """Send unsent events to each repository, then the files of dead processes."""
        everything = True
        for journal in list(self.notes.journals.values()):
            try:
                send_queue(journal, ended_only=ended_only)
                send_left(journal.repo)
            except (DataverError, OSError) as error:
                everything = False
                settings.warn(f"lineage is queued in {journal.path.parent} and sent later: {error}")
        self._everything_sent = everything


def _outcome() -> str:
    """Return the outcome of the program, from the uncaught exception that the interpreter stores.

    An interactive session stores every error without ending. `sys.exit(1)` is not stored; `dataver run`
    records it from the exit code.
    """
    raised = getattr(sys, "last_value", None)
    if raised is None or hasattr(sys, "ps1") or "ipykernel" in sys.modules:
        return "finished"
    return "killed" if isinstance(raised, KeyboardInterrupt) else "failed"


def send(repo: RepositoryCore, events: Iterable[Event], attachments: Mapping[str, bytes]) -> None:
    """Write events and their attachments; attachments first, so that no event refers to a missing one.

    Raises:
        StoreError: the repository cannot be written, or was deleted or replaced.
    """
    waiting = list(events)
    if waiting:
        _same_repository(repo)
    for digest in sorted({digest for event in waiting for digest in event.attachments}):
        if attachments.get(digest):
            repo.events.attach(attachments[digest])
    for event in waiting:
        _put(repo, event)


def send_queue(queue: QueueFile, *, ended_only: bool = False, bare: bool = False) -> None:
    """Send the unsent events of a journal; see `Journal.unsent`.

    Raises:
        StoreError: the repository cannot be written.
    """
    with queue.lock:
        events, attachments = queue.unsent(ended_only=ended_only, bare=bare), dict(queue.attachments)
    send(queue.repo, events, attachments)
    with queue.lock:
        queue.sent(events)


def send_left(repo: RepositoryCore) -> None:
    """Send the files that dead processes of this machine left for a repository.

    They are first merged into one, so that workers of one process are summarised together. The file of a
    worker with a running parent is sent by the parent.

    Raises:
        StoreError: the repository cannot be written; the merged file is kept.
    """
    folder = queue_folder(repo.local_name)
    head = {"parent": None, "url": repo.url, "options": repo.store.plain_options}
    queue = QueueFile(folder, os.urandom(16).hex(), head, repo)
    try:
        absorb_left(folder, lambda head: queue if _orphaned(head) else None)
        if queue.logs:
            _same_repository(repo)  # without the tree, files are summarised as paths
        queue.gather()
        send_queue(queue, bare=True)
        queue.close(delete=True)
    finally:
        queue.close()


def send_waiting(repo: RepositoryCore) -> str | None:
    """Send the records of this process and of dead ones; return the error if some remain, else None."""
    if STATE.recorder is not None:
        STATE.recorder.flush(10.0)
    try:
        send_left(repo)
    except StoreError as error:
        return error.message
    return None


def _orphaned(head: dict[str, Any]) -> bool:
    """Return whether the file of a dead process has no running parent whose recorder absorbs it.

    The recorder knows how the run ended, which the file of a worker does not tell.
    """
    if head.get("parent") is None or head.get("boot") != boot_id():
        return True
    if head["parent"] == STATE.process:
        return STATE.recorder is None
    return not alive(int(head.get("pid", 0)), str(head.get("start", "")))


def _put(repo: RepositoryCore, event: Event) -> None:
    """Write one event with the current time, split if it is too large."""
    links = event.links
    middle = len(links) // 2
    try:
        if len(links) <= _LINKS:
            repo.events.put(event_of(event.run, links))
            return
    except InvalidInput:
        if len(links) < 2:
            raise
    for half in (links[:middle], links[middle:]):
        _put(repo, event._replace(links=half))


def _same_repository(repo: RepositoryCore) -> None:
    """Raise an error if the repository was deleted or replaced: a write would leave a stray object."""
    from dataver.errors import NotFound
    from dataver.repository.repository import read_config

    try:
        there = read_config(repo.store).id
    except NotFound:
        there = None
    if there != repo.id:
        raise StoreError(f"{repo.url} is {'another repository now' if there else 'gone'}.")
