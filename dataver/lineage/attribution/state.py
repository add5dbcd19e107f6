"""The state of this process: identity, open runs, recorder. The only module-level state of the package.

    DATAVER_PARENT_RUN=<key> <process> <pid> <start> <jobs>     set by a process for its children

`<start>` is the start time of the process, since process numbers are reused. `<jobs>` is a hash of the tasks
and jobs in the environment: a batch job inherits the environment of the process that submits it, but is in
another job, and so does not belong to its run.

The key of a process's own run is a hash of machine, process number and start time; in a worker of
`multiprocessing`, those of the parent. So all workers of a process use the same key without communication.
"""

import os
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from dataver.formats.context import Context
from dataver.lineage.systems import SYSTEMS
from dataver.machine.process_identity import boot_id, started

# Imports in functions: only a process with a job, a parent or a run of its own needs it.

__all__ = [
    "JOBS", "PARENT", "RUN", "STATE", "Ended", "Parent", "Scope", "alive", "announce", "announcement", "base",
    "environment_stamp", "export", "given_run", "is_worker", "jobs", "parent", "set_base",
]  # fmt: skip

PARENT: Final = "DATAVER_PARENT_RUN"
RUN: Final = "DATAVER_RUN"
JOBS: Final = tuple(sorted(name for system in SYSTEMS for name in system.job))
_NAMES: Final = (
    RUN,
    "DATAVER_RUN_NAME",
    *(name for system in SYSTEMS for name in (*system.job, *system.run)),
)
_ENCODED: Final = tuple(os.fsencode(name) for name in _NAMES)
_HEX: Final = frozenset("0123456789abcdef")


class Parent(NamedTuple):
    """The process that started this one: run key, id in events, process number and start time."""

    key: str
    process: str
    pid: int
    start: str


class Scope:
    """A run that has begun.

    Attributes:
        key: the run's key.
        name: the run's name.
        context: the tracker's run; None for one named by the user.
        outer: the enclosing scope.
        started: start time.
        open: whether it has not ended.
        thread: the thread in which it began.
    """

    __slots__ = ("context", "key", "name", "open", "outer", "started", "thread")

    def __init__(self, key: str, name: str | None, context: Context | None, outer: "Scope | None") -> None:
        self.key, self.name, self.context, self.outer = key, name, context, outer
        self.started = datetime.now(UTC)
        self.open = True
        self.thread = threading.get_ident()


class Ended(NamedTuple):
    """The end of a tracker's run."""

    context: Context
    started: datetime
    ended: datetime
    outcome: str


class State:
    """The state of this process; a forked child starts with a new one.

    Attributes:
        pid: process number.
        process: id in events, 32 hex.
        start: start time, by the system's clock since boot; empty if unknown.
        forked: whether it was forked from a process with this state.
        inherited: the announcement of the parent at the start of this process.
        implicit: whether a process without a run gets one of its own.
        warned: whether the one warning was issued.
        scopes: open runs by the thread in which they began, the innermost last.
        ended: ended runs of trackers, by key.
        announced: the value of `DATAVER_PARENT_RUN` that this process set.
        joined: the value of `DATAVER_RUN` from the process that started or called this one.
        joinable: whether it announced a run, so that children may have left files for it.
        base: the run of this process that children join if no other is open.
        base_jobs: `jobs` when it was set.
        bases: all values of `base` so far.
        recorder: the recorder, once something was recorded.
        memory: the cache of `owner.whose`.
        hooked: whether the hooks of threads and forks are installed.
        watched: trackers and modules with hooks installed, and `exit`.
        exported: the value of `DATAVER_RUN` that this process set for its children.
        outside: the value before.
        stale: keys of trackers' runs that are still active in a forked worker but unrelated to its calls.
        lock: held while the recorder is created.
        environment_lock: held while the exported variables and the record of them differ.
    """

    def __init__(self) -> None:
        self.implicit = True
        self.hooked = False
        self.watched: set[str] = set()
        self.exported: str | None = None
        self.outside: str | None = None
        self.begin()

    def begin(self, scopes: dict[int, list[Scope]] | None = None, inherited: str | None = None) -> None:
        """Initialise for the calling process; a forked child passes the scopes of the thread that forked."""
        self.forked = hasattr(self, "pid")
        self.inherited = os.environ.get(PARENT, "") if inherited is None else inherited
        self.pid = os.getpid()
        self.process = os.urandom(16).hex()
        self.start = started(self.pid)
        self.warned = False
        self.scopes: dict[int, list[Scope]] = scopes or {}
        self.ended: dict[str, Any] = {}
        self.announced: str | None = None
        self.joined: str | None = None
        self.joinable = False
        self.base: str | None = None
        self.base_jobs = ""
        self.bases: set[str] = set()
        self.recorder: Any = None
        self.memory: dict[tuple[object, ...], Any] = {}
        self.stale: set[str] = set()
        self.lock = threading.RLock()
        self.environment_lock = threading.RLock()
        self._key: str | None = None

    @property
    def key(self) -> str:
        """The key of the process's own run."""
        if self._key is None:
            self._key = _own_key(self.pid, self.start)
        return self._key


def environment_stamp() -> tuple[object, ...]:
    """Return the environment variables that determine runs and jobs, as a cache key."""
    data = getattr(os.environ, "_data", None)
    if type(data) is dict:  # raw bytes: 1 us for all of them instead of 30
        return (STATE.inherited, *map(data.get, _ENCODED))
    return (STATE.inherited, *map(os.environ.get, _NAMES))


def jobs(environment: Mapping[str, str] | None = None) -> str:
    """Return a hash of the tasks and jobs in the environment: equal in a parent and its children."""
    values = os.environ if environment is None else environment
    found = [f"{name}={value}" for name in JOBS if (value := values.get(name))]
    from dataver.hashing.digest import checksum

    return f"{checksum(chr(0).join(found).encode('utf-8', 'replace')):016x}"


def parent() -> Parent | None:
    """Return the process that started this one and announced a run, if both are in the same jobs."""
    values = STATE.inherited.split(" ")
    if len(values) != 5 or values[4] != jobs():
        return None
    key, process, pid, start, _ = values
    if process == STATE.process or not pid.isdigit() or len(process) != 32 or not _HEX.issuperset(process):
        return None
    from dataver.errors import InvalidInput
    from dataver.formats.event import check_run_key

    try:
        return Parent(check_run_key(key), process, int(pid), start)
    except InvalidInput:
        return None


def announcement(key: str | None) -> str:
    """Return the value of `DATAVER_PARENT_RUN` for children that join a run."""
    return f"{key} {STATE.process} {STATE.pid} {STATE.start} {jobs()}" if key else ""


def announce(key: str | None) -> None:
    """Set the run that later child processes join; None means that of the process's own parent."""
    with STATE.environment_lock:
        if key is not None:
            STATE.announced = announcement(key)
            os.environ[PARENT] = STATE.announced
            STATE.joinable = True
        elif STATE.announced is not None and os.environ.get(PARENT) == STATE.announced:
            STATE.announced = None
            if STATE.inherited:
                os.environ[PARENT] = STATE.inherited
            else:
                del os.environ[PARENT]


def set_base(key: str) -> None:
    """Set the run that children join if no other is open."""
    STATE.base, STATE.base_jobs = key, jobs()
    STATE.bases.add(key)


def base() -> str | None:
    """Return the run that children join if no other is open; in another job or task it is not that run."""
    return STATE.base if STATE.base is not None and STATE.base_jobs == jobs() else None


def export(key: str | None) -> None:
    """Set `DATAVER_RUN` for later child processes; None restores the value before."""
    with STATE.environment_lock:
        given = os.environ.get(RUN)
        if STATE.exported is None or given != STATE.exported:
            STATE.outside = given
        STATE.exported = key
        value = key or STATE.outside
        if value is None:
            os.environ.pop(RUN, None)
        else:
            os.environ[RUN] = value


def given_run() -> str | None:
    """Return the value of `DATAVER_RUN` that the user or a parent set."""
    with STATE.environment_lock:
        given = os.environ.get(RUN)
        return STATE.outside if STATE.exported is not None and given == STATE.exported else given


def alive(pid: int, start: str) -> bool:
    """Return whether a process of this machine is running; a zombie is not."""
    return started(pid) == start


def is_worker() -> bool:
    """Return whether `multiprocessing` started this process."""
    return _creator() is not None


def _creator() -> int | None:
    module = sys.modules.get("multiprocessing.process")
    creator = module.parent_process() if module is not None else None
    return None if creator is None else creator.pid


def _own_key(pid: int, start: str) -> str:
    creator = _creator()
    if creator is not None:
        pid, start = creator, started(creator)
    boot = boot_id()
    if not (boot and start):
        return f"dataver:{os.urandom(16).hex()}"
    from dataver.hashing.digest import digest

    return f"dataver:{digest(f'{os.uname().nodename} {boot} {pid} {start}'.encode()).hex()[:32]}"


STATE = State()
