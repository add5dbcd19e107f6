"""The thread that does what is slow: finds out about code and machine, writes to trackers, sends the queue.

It is a daemon and the only one: it never keeps a process alive, and at exit it is waited for in bounds.
It sends when it is asked to, after ten minutes of a process that lasts, then hourly. What was read file by
file is put into links then, each time after twice as long: a week makes ten links of a version.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final

from dataver.lineage import noting, settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataver.lineage.process import Notes

__all__ = ["Background"]

_FIRST: Final = 600.0  # seconds until a process that lasts sends
_LATER: Final = 3600.0
_HEARING: Final = 60.0  # how often it reads what workers wrote
_LOOKING: Final = 2.0  # how often it looks for a tracker's run while notes have none


class Background:
    """The thread of this process's notes.

    Attributes:
        everything_sent: whether the last sending got all through.
    """

    def __init__(self, notes: Notes) -> None:
        self.everything_sent = False
        self._notes = notes
        self._changed = threading.Condition()
        self._asked = 0  # how often work was asked for, and sending; and how much of it is done
        self._sending_asked = 0
        self._done = 0
        self._ended = False
        self._captured = bool(notes.attachments)
        self._began = time.monotonic()
        self._next = self._began + _FIRST
        self._gather_at = self._next
        self._hear_at = self._began + _HEARING
        self._stop_at: float | None = None
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Have it look at what there is to do."""
        self._ask(sending=False)

    def send_ended(self) -> None:
        """Have it send the runs that ended, without waiting."""
        self._ended = True
        self._ask(sending=False)

    def send_and_wait(self, timeout: float | None) -> bool:
        """Have it send, and wait; return whether everything was sent."""
        ticket = self._ask(sending=True)
        if self._thread is None:
            return False
        with self._changed:
            done = self._changed.wait_for(lambda: self._done >= ticket, timeout)
        return done and self.everything_sent

    def stop_within(self, seconds: float) -> bool:
        """Have it send for the last time; return whether it was done in time, with success or without."""
        self._stop_at = time.monotonic() + seconds
        ticket = self._ask(sending=True)
        if self._thread is None:
            return True
        with self._changed:
            return self._changed.wait_for(lambda: self._done >= ticket, seconds)

    def _ask(self, *, sending: bool) -> int:
        with self._changed:
            self._asked += 1
            if sending:
                self._sending_asked = self._asked
            if self._thread is None or not self._thread.is_alive():  # Ctrl-C can keep one from starting
                self._thread = threading.Thread(target=self._work, name="dataver-lineage", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:
                    self._thread = None  # none left, or Python is ending: the queue stays for another process
            self._changed.notify_all()
            return self._asked

    def _work(self) -> None:
        while True:
            with self._changed:
                ticket, asked = self._asked, self._sending_asked > self._done
            self._round(asked=asked)
            with self._changed:
                self._done = ticket
                self._changed.notify_all()
                if self._stop_at is not None and self._asked == ticket:
                    self._thread = None
                    return
                self._changed.wait_for(lambda: self._asked > ticket, self._rest())  # noqa: B023  # used at once
            if self._notes.waits_for_tracker:
                self._do(self._notes.look)

    def _round(self, *, asked: bool) -> None:
        """Do what there is to do; `asked` to send."""
        moment = time.monotonic()
        sending, ended = asked or moment >= self._next, self._ended
        with noting.fork_gate:  # here things are imported
            self._do(self._capture)
            self._do(self._prepare)
        if asked or ended or (sending and moment >= self._gather_at):
            self._gather_at = moment + max(_FIRST, moment - self._began)
            self._do(self._notes.gather)
        elif moment >= self._hear_at:
            self._do(self._notes.hear)
        if moment >= self._hear_at:
            self._hear_at = moment + _HEARING
        with noting.fork_gate:
            self._do(self._write_to_trackers)
        if sending:
            self._next = time.monotonic() + _LATER
            self._do(self._send)
        elif ended:
            self._ended = False
            self._do(lambda: self._send(ended_only=True))

    def _rest(self) -> float:
        """Return for how many seconds there is nothing to do."""
        if self._notes.waits_for_tracker:
            return _LOOKING
        until = min(self._next, self._hear_at) if self._notes.books.any else self._next
        return max(until - time.monotonic(), 0.0)

    @staticmethod
    def _do(act: Callable[[], object]) -> None:
        """Do it; what goes wrong is said once, and the thread goes on."""
        try:
            act()
        except Exception as error:  # noqa: BLE001  # foreign code is called, and training goes on
            settings.warn(f"lineage was not noted in full: {type(error).__name__}: {error}.")

    def _capture(self) -> None:
        """Find out, once, what takes longer: the command line, git, the packages."""
        if self._captured:
            return
        self._captured = True
        from dataver.formats.bundle import attachment_digest
        from dataver.lineage.capture import environment

        facts: dict[str, Any] = {"argv": environment.arguments()}
        attachments: dict[str, bytes] = {}
        folder = environment.code_folder()
        if folder is not None:
            git, diff = environment.git_facts(folder, self._notes.facts.get("git", {}).get("commit"))
            if diff is not None:
                git["diff"] = attachment_digest(diff)
                attachments[git["diff"]] = diff
            facts |= {"git": git} if git else {}
        listed = environment.packages()
        facts["packages"] = attachment_digest(listed)
        attachments[facts["packages"]] = listed
        self._notes.capture(facts, attachments)

    def _write_to_trackers(self) -> None:
        from dataver.lineage.trackers.base import trackers

        notes = self._notes
        while notes.for_trackers:
            with notes.lock:
                context, use = notes.for_trackers.pop(0)
            for tracker in trackers():
                if tracker.system != context.system:
                    continue
                try:
                    tracker.note(context, use)
                except Exception as error:  # noqa: BLE001  # a tracker's client may raise anything
                    settings.warn(
                        f"{use.ref} was not written to {context.key}: {type(error).__name__}: {error}."
                    )

    @staticmethod
    def _prepare() -> None:
        """Import what sending needs, which happens outside of the gate."""
        import dataver.formats.bundle
        import dataver.formats.config
        import dataver.lineage.saying
        import dataver.lineage.sending
        import dataver.repository.events  # noqa: F401

    def _send(self, *, ended_only: bool = False) -> None:
        """Send to each repository what it lacks, then what dead processes left for it."""
        from dataver.errors import DataverError
        from dataver.lineage.sending import send, send_left

        everything = True
        for repository, target in list(self._notes.targets.items()):
            with self._notes.lock:
                events = self._notes.unsent(repository, ended_only=ended_only)
            try:
                send(target.repo, events, self._notes.attachments)
                self._notes.sent(repository, events)
                send_left(target.repo, self._in_time)
            except (DataverError, OSError) as error:
                everything = False
                settings.warn(f"lineage waits in {target.queue.path.parent} and is sent later: {error}")
        self.everything_sent = everything

    def _in_time(self) -> bool:
        return self._stop_at is None or time.monotonic() < self._stop_at
