"""Hooks through which threads, pools and child processes join the run of the code that starts them.

A new thread or child process, and a call submitted to a pool, inherit the scope of their caller. A forked
child continues in the scope of the thread that forked. Each hook wraps one public method of the standard
library or of loky, after the import of its module, and calls the original.
"""

from __future__ import annotations

import _imp
import functools
import os
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dataver.lineage.attribution.scopes import CARRIED, CURRENT, chain, export_named, here
from dataver.lineage.attribution.state import (
    PARENT,
    RUN,
    STATE,
    Scope,
    announce,
    announcement,
    base,
    given_run,
    jobs,
)
from dataver.lineage.trackers.base import active

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType

__all__ = ["hook", "release_imports"]

_FORK_SECONDS: Final = 1.0  # maximum wait of a fork for imports of other threads
_ENV: Final = 11  # positional arguments of `Popen` up to `env`
_SERVICES: Final = ("ray._private.services",)  # modules that start processes which also serve later runs


def hook() -> None:
    """Install the hooks, once per process; those of pools after their import."""
    if not STATE.hooked:
        STATE.hooked = True
        os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)
        _wrap_threads()
        sys.meta_path.insert(0, _Finder)
    _wrap_starters()


def _wrap_threads() -> None:
    """Patch `Thread.start`: new threads inherit the current scope."""
    start = threading.Thread.start

    @functools.wraps(start)
    def start_in_scope(self: threading.Thread) -> None:
        self.__dict__["_dataver_scope"] = here()
        start(self)

    threading.Thread.start = start_in_scope  # type: ignore[method-assign]


def _submitting(submit: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a pool's method: calls belong to the submitting run, not to that of the workers' start."""

    @functools.wraps(submit)
    def submit_in_scope(self: Any, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        return submit(self, _Call(fn), *args, **kwargs)

    return submit_in_scope


def _starting(start: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a process's `start`: the child joins the starting run; that of a fork server may differ."""

    @functools.wraps(start)
    def start_in_scope(self: Any) -> Any:
        self._dataver_joining = _Joining(here())
        try:
            return start(self)
        finally:
            del self._dataver_joining

    return start_in_scope


def _opening(init: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `Popen.__init__`: the child joins the run of its thread, if another thread's is announced."""

    @functools.wraps(init)
    def init_in_scope(self: Any, *args: Any, **kwargs: Any) -> None:
        if len(args) < _ENV and (STATE.announced is not None or STATE.exported is not None):
            given = kwargs.get("env")
            joined = _Joining(here()).values()[:2]
            if type(self).__module__ in _SERVICES:
                joined = STATE.inherited, given_run()
            right = _environment(os.environ if given is None else given, *joined)
            if right is not None and jobs(right) == jobs():  # a child in another job finds its own run
                kwargs["env"] = right
        init(self, *args, **kwargs)

    return init_in_scope


# Module, class, wrapper, and the methods to wrap.
_STARTERS: Final = (
    (
        "concurrent.futures._base",
        "Future",
        _submitting,
        ("add_done_callback",),
    ),  # joblib submits in callbacks
    ("concurrent.futures.thread", "ThreadPoolExecutor", _submitting, ("submit",)),
    ("concurrent.futures.process", "ProcessPoolExecutor", _submitting, ("submit",)),
    ("joblib.externals.loky.process_executor", "ProcessPoolExecutor", _submitting, ("submit",)),
    ("loky.process_executor", "ProcessPoolExecutor", _submitting, ("submit",)),
    ("multiprocessing.pool", "Pool", _submitting, ("apply_async", "_map_async", "imap", "imap_unordered")),
    ("multiprocessing.process", "BaseProcess", _starting, ("start",)),
    ("subprocess", "Popen", _opening, ("__init__",)),
)


def _wrap_starters() -> None:
    """Wrap the methods of `_STARTERS` in imported modules."""
    for module, name, wrap, methods in _STARTERS:
        owner = getattr(sys.modules.get(module), name, None)
        if owner is not None and module not in STATE.watched:
            STATE.watched.add(module)
            for method in methods:
                setattr(owner, method, wrap(getattr(owner, method)))


class _Finder:
    """Import hook that wraps the methods of `_STARTERS` after an import."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
        """Return the spec of a module of `_STARTERS` with a source file, else None."""
        if all(name != starter[0] for starter in _STARTERS):
            return None
        from importlib.machinery import PathFinder, SourceFileLoader  # only for a module of `_STARTERS`

        spec = PathFinder.find_spec(name, path, target)
        if spec is None or type(spec.loader) is not SourceFileLoader:
            return None
        execute = spec.loader.exec_module

        def execute_and_wrap(module: Any) -> None:
            execute(module)
            _wrap_starters()

        spec.loader.exec_module = execute_and_wrap  # type: ignore[method-assign]
        return spec


class _Joining:
    """The run of a scope, for a child process, which joins it by unpickling this object."""

    __slots__ = ("_named", "_run")

    def __init__(self, scope: Scope | None) -> None:
        self._run = _of_children(scope)
        self._named = next((each.key for each in chain(scope) if each.context is None), None)

    def __reduce__(self) -> tuple[Any, ...]:
        return _start_joined, self.values()

    def values(self) -> tuple[str, str | None, str | None]:
        """Return the arguments of `_join`."""
        STATE.joinable = True
        given = given_run()
        return announcement(self._run) or STATE.inherited, self._named or given, given


def _environment(given: Mapping[str, str], inherited: str, named: str | None) -> dict[str, str] | None:
    """Return a child's environment with another run announced; None if it is already correct."""
    right: dict[str, str | None] = {}
    if STATE.announced is not None and given.get(PARENT) == STATE.announced:
        right[PARENT] = inherited
    if STATE.exported is not None and given.get(RUN) == STATE.exported:
        right[RUN] = named
    if all(given.get(name) == value for name, value in right.items()):
        return None
    kept = {name: value for name, value in given.items() if name not in right}
    return kept | {name: value for name, value in right.items() if value}


class _Call:
    """A submitted call with its run, for another thread or, pickled, for another process."""

    __slots__ = ("_call", "_joining", "_scope")

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call, self._scope = call, here()
        self._joining = _Joining(self._scope)  # now: another thread pickles it later

    def __reduce__(self) -> tuple[Any, ...]:
        return _JoiningCall, (self._call, self._joining.values())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        token = CARRIED.set(self._scope)
        try:
            return self._call(*args, **kwargs)
        finally:
            CARRIED.reset(token)


class _JoiningCall(NamedTuple):
    """A call in a worker, with the environment variables of a child started at the submission."""

    call: Callable[..., Any]
    joining: tuple[str, str | None, str | None]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        _join(*self.joining)
        return self.call(*args, **kwargs)


def _start_joined(inherited: str, named: str | None, given: str | None) -> None:
    """Join a run at the start of a process, with an environment that may be a fork server's."""
    STATE.joined = os.environ.get(RUN)
    _join(inherited, named, given)


def _join(inherited: str, named: str | None, given: str | None) -> None:
    """Join a run as a new process would; a worker executes one call at a time.

    Args:
        inherited: the announcement of the calling process.
        named: the value of `DATAVER_RUN` there; a value set by this process has priority.
        given: the value there that the user set.
    """
    tracked = [each.context for own in STATE.scopes.values() for each in own if each.context is not None]
    STATE.stale |= {each.key for each in tracked}  # a forked worker's tracker still reports them
    STATE.scopes.clear()
    CURRENT.set(None)
    if os.environ.get(RUN) not in (None, STATE.joined, given):
        named = os.environ[RUN]  # set by an initializer
    else:
        STATE.joined = named
    STATE.inherited, STATE.exported = inherited, None
    for name, value in ((PARENT, inherited), (RUN, named)):
        if value:
            os.environ[name] = value
        else:
            os.environ.pop(name, None)


def _of_children(scope: Scope | None) -> str | None:
    """Return the run that child processes join: the process's own if only calls named runs so far."""
    if scope is not None:
        return scope.key
    unwatched = next((each.key for each in active() if each.key not in STATE.stale), None)
    if unwatched is not None or STATE.base is not None:
        return unwatched or base()
    return STATE.key if STATE.recorder is not None and STATE.implicit else None


def _before_fork() -> None:
    announce(_of_children(here()))  # the child joins the run of the thread that forks
    _await_imports()
    STATE.environment_lock.acquire()  # no change is half done at the fork; the child makes a new lock


def _in_parent() -> None:
    with suppress(RuntimeError):  # another thread installed the hooks after this fork had begun
        STATE.environment_lock.release()


def _await_imports() -> None:
    """Wait, with a limit, while other threads import modules of dataver; an import may begin afterwards."""
    until = time.monotonic() + _FORK_SECONDS
    while any(name.startswith("dataver") for name in _imported_elsewhere()) and time.monotonic() < until:
        time.sleep(0.001)


def _imported_elsewhere() -> list[str]:
    """Return the names of modules that other threads are importing."""
    return [name for name, lock in _held_locks() if lock.owner != threading.get_ident()]


def _held_locks() -> list[tuple[str, Any]]:
    """Return the locks of modules that are being imported, by the modules' names."""
    locks = [(name, reference()) for name, reference in list(_module_locks().items())]
    return [(name, lock) for name, lock in locks if getattr(lock, "owner", None) is not None]


def _module_locks() -> dict[str, Any]:
    return getattr(sys.modules.get("_frozen_importlib"), "_module_locks", {})


def release_imports() -> None:
    """Release locks of imports that Ctrl-C ended in this thread, after it took one and before its `try`.

    Other threads would wait for them forever as soon as they import (`importlib._bootstrap`).
    """
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_filename != "<frozen importlib._bootstrap>":
        frame = frame.f_back
    if frame is not None:
        return  # this thread is importing
    with suppress(RuntimeError):  # not held by this thread
        _imp.release_lock()
    for _, lock in _held_locks():
        while lock.owner == threading.get_ident():
            lock.release()


def _drop_unfinished_imports() -> None:
    """Forget, in a forked child, the modules that other threads of the parent were importing.

    Python locks each module during its import and does not reset these locks in a child
    (`importlib._bootstrap`): an import of such a module would wait forever. It begins again instead.
    """
    for name in _imported_elsewhere():
        del _module_locks()[name]
        spec = getattr(sys.modules.get(name), "__spec__", None)
        if getattr(spec, "_initializing", False):
            del sys.modules[name]


def _in_child() -> None:
    """Initialise a forked child, in the scope of the thread that forked."""
    _drop_unfinished_imports()
    scope = here()
    if STATE.recorder is not None:
        STATE.recorder.notes.close()  # they belong to the parent
    scopes = {threading.get_ident(): [*chain(scope)][::-1]} if scope is not None else None
    CURRENT.set(next((each for each in chain(scope) if each.context is None), None))  # maybe inherited
    own = announcement(_of_children(scope))  # another thread may have set the variable
    STATE.begin(scopes, own or STATE.inherited)
    export_named()
    STATE.joined = os.environ.get(RUN)
