"""Recording of the versions that runs consume and produce: the interface of this package.

The idea: recording is fast and local, and everything slow runs on one daemon thread. A call determines its
run (`attribution`), is recorded in memory and in the queue's file (`notes`, `queue_file`), and wakes the
thread (`sender`), which captures the code and the machine, writes to trackers and sends the queue.

Invariant 8 in detail:

- Nothing here raises, waits for a network, starts a run or imports a tracker. Failures cause one warning;
  records stay in memory and in the queue and are sent again, at the latest by another process.
- At exit the process waits at most ten seconds, and not at all after an interrupt.
- The queue's file of a killed process remains; the next process that sends also sends this file.
"""

from __future__ import annotations

import atexit
import functools
import os
import threading
from copy import copy
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from dataver.lineage import settings
from dataver.lineage.attribution.children import hook
from dataver.lineage.attribution.owner import Owner, wanted, whose
from dataver.lineage.attribution.scopes import begin_scope, end_scope, here
from dataver.lineage.attribution.state import STATE, announce, set_base

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dataver.formats.context import Context
    from dataver.formats.event import Link, Subset
    from dataver.formats.record import Record
    from dataver.lineage.attribution.state import Scope
    from dataver.lineage.record.journal import Batch, ReadLog
    from dataver.lineage.record.sender import Recorder
    from dataver.repository import Published, RepositoryCore

# Imports in functions: the first read of a process records without them.

__all__ = [
    "Reads", "begin_run", "end_run", "flush", "hooks", "join", "key_for_tasks", "look_again",
    "record", "record_output", "tracker_begins", "tracker_ends",
]  # fmt: skip

_END_SECONDS: Final = 5.0  # to wait at the end of a tracker's run until its uses are written
P = ParamSpec("P")
T = TypeVar("T")


def _careful(act: Callable[P, T]) -> Callable[P, T | None]:
    """Make a function return None on an error, with one warning (invariant 8)."""

    @functools.wraps(act)
    def careful(*args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            return act(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  # training continues after any error
            _failed(error)
            return None

    return careful


def _never_raises(act: Callable[P, T]) -> Callable[P, T | None]:
    """Make a function return None on an error, and if lineage is off."""
    return _careful(
        functools.wraps(act)(lambda *args, **kw: act(*args, **kw) if settings.enabled() else None)
    )


@_never_raises
def record(repo: RepositoryCore, link: Link, *, run: object = None, asked: str | None = None) -> None:
    """Record that the current run consumed or produced a version. Never raises.

    Args:
        repo: the repository.
        link: the link (`journal.link_of`).
        run: the run (`attribution.owner.key_of`); None means the current one.
        asked: the reference as typed by the user.
    """
    hooks()
    owner = whose(run)
    if owner is not None:
        _announce(owner)
        recorder = _recorder()
        if recorder.notes.record(repo, link, owner, asked):
            recorder.changed()  # else the thread is left asleep: waking it takes most of a later fetch


def record_output(
    repo: RepositoryCore, made: Record, record_id: str | None, *, how: str, run: object = None
) -> None:
    """Record that a run, or the current one, if any, produced a version or the bytes of one. Never raises.

    Args:
        repo: the repository.
        made: the version's record; its label is meaningless until it is published.
        record_id: the record's id; None until it is published.
        how: `finalize`, `unchanged`, `declared` …
        run: the run; None means the current one.
    """
    if run is not None or wanted():
        from dataver.lineage.record.run import link_of

        values = {"write_id": made.write_id, "files": made.files, "size": made.size}
        record(repo, link_of("output", made, record_id, how, **values), run=run)


@_never_raises
def join(run: object = None) -> None:
    """Announce a run, or the current one, to later child processes. Never raises."""
    hooks()
    if run is not None or wanted():
        _announce(whose(run))


def _announce(owner: Owner | None) -> None:
    if owner is not None and owner.process is None:
        if owner.how not in ("explicit", "tracker"):
            set_base(owner.key)
        announce(owner.key)


class Reads:
    """Recorder of reads of a version, each for the run current at the read. Never raises.

    Args:
        repo: the repository.
        published: the version.
        run: the run; None means the current one at each read.
    """

    __slots__ = ("_log", "_logs", "_on", "_owner", "_process", "_published", "_repo", "_run", "_shares")

    def __init__(self, repo: RepositoryCore, published: Published, run: object = None) -> None:
        self._repo, self._published, self._run = repo, published, run
        self._process = STATE.process
        self._owner: Owner | None = None  # of a pass
        self._log: ReadLog | None = None  # of the last read of a pass
        self._logs: dict[Owner, ReadLog] = {}
        self._shares: dict[tuple[Subset, int, int], None] = {}
        self._on = settings.enabled() and (run is not None or wanted())
        if self._on:
            join(run)

    def in_current_run(self) -> Reads:
        """Return a recorder of one pass: all of it belongs to the run that is current now, until its end.

        That of a pass is returned unchanged.
        """
        if self._owner is not None:
            return self
        found = copy(self)
        found._owner = _careful(whose)(self._run) if self._on else None
        return found

    def path(self, path: str, size: int) -> None:
        """Record that a file of the version was opened or read.

        Args:
            path: the file's path; for a link, that of its target.
            size: bytes of the file.
        """
        log = self._log
        if self._on and (log is None or log.closed or path not in log.known):
            self.paths(((path, size),))

    @_careful
    def paths(self, files: Iterable[tuple[str, int]]) -> None:
        """Record that files, `(path, size)` each, were opened or read."""
        log = self._here() if self._on else None
        if log is not None and log.add(files):
            _recorder().changed()

    @_careful
    def batch(self, files: Sequence[tuple[str, int]]) -> Batch | None:
        """Begin to read files of a pass, `(path, size)` each; None if `path` is to record each of them."""
        from dataver.lineage.record.journal import Batch

        log = self._here() if self._on else None
        if log is None:
            return Batch(files)
        return log.batch(files) if self._owner is not None else None

    @_careful
    def progress(self, batch: Batch) -> None:
        """Record how many files of a batch were read."""
        if batch.log is not None and batch.log.progress(batch):
            _recorder().changed()

    @_never_raises
    def listed(self, path: str = "", size: int = 0) -> None:
        """Record a request for names, or attributes of a file: without a read, it was available.

        Args:
            path: the file; empty for names of files, which make the whole version available if nothing is
                read or named.
            size: bytes of the file.
        """
        log = self._here() if self._on else None
        if log is not None and path:
            log.available().add(((path, size),))
        elif log is not None:
            log.listed = True

    @_never_raises
    def shard(self, subset: Subset, files: int, size: int) -> None:
        """Record the part of the version that a reader is to read; links refer to it once it is read."""
        self._shares[subset, files, size] = None
        self._begin_log(whose(self._run) if self._on else None)

    def _here(self) -> ReadLog | None:
        """Return the log of the pass's run until it ends, else that of the current run."""
        owner = self._owner or whose(self._run)
        log = self._logs.get(owner)  # type: ignore[arg-type]
        if log is not None and not log.closed and self._process == STATE.process:
            if self._owner is not None and log is not self._log:
                log.collect()
                self._log = log
            return log
        if log is not None and self._owner is not None:  # ended, or the pass goes on in a forked child
            self._owner, self._log, owner = None, None, whose(self._run)
        return self._begin_log(owner)

    def _begin_log(self, owner: Owner | None) -> ReadLog | None:
        if owner is None:
            return None
        if self._process != STATE.process:  # forked
            self._process, self._logs = STATE.process, {}
        recorder = _recorder()
        _announce(owner)
        log = recorder.notes.log_of(self._repo, self._published, owner)
        for share in self._shares:
            log.share(*share)
        self._logs[owner] = log
        recorder.changed()
        return log


@_never_raises
def begin_run(key: str, name: str | None) -> Scope:
    """Begin a run, the innermost of this thread or task until `end_run`. Never raises."""
    hooks()  # workers may record even if this process does not
    scope = begin_scope(key, name)
    _began(Owner(key, "explicit", name, (), ()), scope)
    return scope


@_never_raises
def tracker_begins(context: Context, thread: int | None = None) -> None:
    """Record the start of a tracker's run in this thread; for the hooks of trackers. Never raises."""
    hook()
    scope = begin_scope(context.key, context.facts.get("name"), context, thread)
    _began(Owner(context.key, "tracker", None, (context,), ()), scope)


def _began(owner: Owner, scope: Scope | None) -> None:
    recorder: Recorder | None = STATE.recorder
    if recorder is not None:
        recorder.notes.begin(owner, scope)
        recorder.changed()


@_never_raises
def end_run(scope: Scope | None, outcome: str) -> None:
    """End a run named by the user, and send it soon. Never raises."""
    if scope is not None:
        end_scope(scope.key, outcome)
        _ended(scope.key, outcome)


@_never_raises
def tracker_ends(context: Context, outcome: str, *, before: bool = False) -> None:
    """Record the end of a tracker's run; for the hooks of trackers. Never raises.

    Args:
        context: the run.
        outcome: one of `dataver.formats.event.OUTCOMES`.
        before: the tracker rejects writes after the end: wait, with a limit, until the uses are written.
    """
    recorder: Recorder | None = STATE.recorder
    if recorder is not None:
        recorder.notes.begin(Owner(context.key, "tracker", None, (context,), ()), None)
        if before and recorder.sends:
            recorder.wait(recorder.ask("close"), _END_SECONDS)
    end_scope(context.key, outcome, context)
    _ended(context.key, outcome)


def _ended(key: str, outcome: str) -> None:
    recorder: Recorder | None = STATE.recorder
    if recorder is not None and recorder.notes.end(key, outcome) and recorder.sends:
        recorder.ask("ended")


@_never_raises
def hooks() -> None:
    """Install all hooks: of threads, forks, exit and trackers. Never raises."""
    hook()
    _at_exit()
    from dataver.lineage.trackers.base import watch

    watch(STATE.watched, tracker_begins, tracker_ends)


@_never_raises
def look_again() -> None:
    """Record a tracker's run that has just begun; data read before is available to it."""
    owner = whose() if STATE.recorder is not None else None
    if owner is not None and owner.how == "tracker":
        _began(owner, here())


@_never_raises
def key_for_tasks() -> str | None:
    """Return the key of the current run for the tasks of a cluster; None if only this process has it."""
    owner = whose() if wanted() else None
    return None if owner is None or owner.how == "implicit" else owner.key


def flush(timeout: float | None = None) -> bool:
    """Send the records of this process now; return whether all were sent. Never raises.

    Args:
        timeout: seconds to wait; None waits for the end of the attempt.
    """
    return STATE.recorder is None or STATE.recorder.flush(timeout)


def _recorder() -> Recorder:
    """Return this process's recorder; create it if missing."""
    with STATE.lock:
        if STATE.recorder is None:
            from dataver.lineage.record.sender import Recorder

            hooks()
            STATE.recorder = Recorder()
        recorder: Recorder = STATE.recorder
        return recorder


def _at_exit() -> None:
    """Register sending at exit, before thread pools end, which some stores need.

    `concurrent.futures` uses `threading._register_atexit`, too; later registrations are called first.
    """
    if "exit" in STATE.watched:
        return
    try:
        getattr(threading, "_register_atexit", atexit.register)(_finish)
    except RuntimeError:
        pass  # interpreter exit has begun: another process sends the queue
    STATE.watched.add("exit")  # last: Ctrl-C may interrupt the lines above


def _finish() -> None:
    """Send the last records.

    It imports modules, which may register functions for exit; Python refuses them from now on.
    """
    late: list[Callable[[], object]] = []
    register = getattr(threading, "_register_atexit", atexit.register)
    threading._register_atexit = lambda act, *args: late.append(  # type: ignore[attr-defined]
        functools.partial(act, *args)
    )
    try:
        if STATE.recorder is not None or STATE.joinable:
            _send_last()
    except KeyboardInterrupt:
        pass  # exit without waiting; the queue remains
    finally:
        threading._register_atexit = register  # type: ignore[attr-defined]
        for act in reversed(late):
            act()


@_never_raises
def _send_last() -> None:
    """Send the records of this process and its children."""
    recorder = _recorder()
    look_again()
    recorder.finish()


def _failed(error: Exception) -> None:
    if os.environ.get("DATAVER_TRACEBACK"):
        import traceback

        traceback.print_exc()
    settings.warn(f"lineage was not recorded: {type(error).__name__}: {error}.")
