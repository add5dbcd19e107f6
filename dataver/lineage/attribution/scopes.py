"""Open runs, by thread and context, maintained by `dataver.run` and the hooks of trackers.

A `Scope` is a run between its start and its end. Each thread and each task has its own: `CURRENT` is a
context variable, which tasks copy. New threads and calls submitted to pools carry the scope of their caller
(`children`). A thread that Python did not start, or that started outside of any run, belongs to the run of
the main thread.
"""

from __future__ import annotations

import threading
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from dataver.lineage.attribution.state import STATE, Ended, Scope, announce, base, export

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dataver.formats.context import Context

__all__ = ["CARRIED", "CURRENT", "begin_scope", "chain", "end_scope", "export_named", "here"]

_MOST_ENDED: Final = 10_000  # ended runs of trackers in memory

CURRENT: ContextVar[Scope | None] = ContextVar("dataver_run", default=None)
"""The innermost `dataver.run(…)` of this thread or task."""

CARRIED: ContextVar[Scope | None] = ContextVar("dataver_carried")
"""The scope of the caller that submitted the current call to a pool."""


def here() -> Scope | None:
    """Return the innermost open scope of the caller."""
    named = next(chain(CURRENT.get()), None)
    if not STATE.scopes:
        return named
    own = STATE.scopes.get(threading.get_ident(), ())
    tracked = next((each for each in reversed(own) if each.context is not None), None)
    if tracked is not None and (named is None or named in chain(tracked)):
        return tracked
    return named if named is not None or own else _carried()


def chain(scope: Scope | None) -> Iterator[Scope]:
    """Yield a scope and its outer scopes, if open."""
    while scope is not None:
        if scope.open:
            yield scope
        scope = scope.outer


def begin_scope(
    key: str, name: str | None, context: Context | None = None, thread: int | None = None
) -> Scope:
    """Begin a run in this thread, or the given one; later child processes join it."""
    scope = Scope(key, name, context, here())
    scope.thread = thread or scope.thread
    STATE.scopes.setdefault(scope.thread, []).append(scope)
    STATE.ended.pop(key, None)
    announce(key)
    if context is None:
        export_named()
    return scope


def end_scope(key: str, outcome: str, context: Context | None = None) -> None:
    """End the innermost scope of a run, in any thread."""
    found = next(
        (each for own in list(STATE.scopes.values()) for each in reversed(own) if each.key == key), None
    )
    if context is not None:
        if len(STATE.ended) >= _MOST_ENDED:
            STATE.ended.clear()
        ended = datetime.now(UTC)
        STATE.ended[key] = Ended(context, found.started if found is not None else ended, ended, outcome)
    if found is None:
        return
    found.open = False
    own = STATE.scopes.get(found.thread, [])
    if found in own:
        own.remove(found)
    if not own:
        STATE.scopes.pop(found.thread, None)
    around = next(chain(found.outer), None) or _latest(lambda _: True)
    announce(around.key if around is not None else base())
    if found.context is None:
        export_named()


def export_named() -> None:
    """Export the latest open run named by the user to later child processes."""
    with STATE.environment_lock:
        named = _latest(lambda scope: scope.context is None)
        export(named.key if named is not None else None)


def _latest(chosen: Callable[[Scope], bool]) -> Scope | None:
    """Return the latest matching open scope of all threads."""
    found = [each for own in list(STATE.scopes.values()) for each in own if chosen(each)]
    return max(found, key=lambda each: each.started, default=None)


def _carried() -> Scope | None:
    """Return the scope that a thread inherited at its start, or that of the main thread."""
    unknown: Any = STATE
    scope = CARRIED.get(unknown)
    if scope is unknown:
        scope = threading.current_thread().__dict__.get("_dataver_scope")
    if scope is not None:
        return next(chain(scope), None)
    main = threading.main_thread().ident
    own = STATE.scopes.get(main or 0) if main != threading.get_ident() else None
    return own[-1] if own else None
