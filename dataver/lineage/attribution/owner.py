"""Resolution of the run that a read belongs to, in the thread and at the time of the read.

In this order: the run passed to the call; the innermost enclosing `dataver.run(…)`; `DATAVER_RUN`; a
tracker's active run in this thread or context; the run of the code that started the thread; the run of the
process that started this one; the enclosing task or job; else a run of the process's own, which its children
join.

    DATAVER_RUN=<key>                         set by a user, by `dataver run` and within `with dataver.run(…)`
    DATAVER_RUN_NAME, DATAVER_RUN_NOTES       set by `dataver run`: its name; a file to list repositories in

Every call reads the context variables, the trackers' own variables and the environment variables that name
runs; only results derived from these values are cached.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from dataver.errors import InvalidInput
from dataver.lineage import settings
from dataver.lineage.attribution.scopes import CURRENT, chain, here
from dataver.lineage.attribution.state import (
    RUN,
    STATE,
    Parent,
    environment_stamp,
    given_run,
    is_worker,
    parent,
)
from dataver.lineage.systems import SYSTEMS, TRACKERS
from dataver.lineage.trackers.base import active

if TYPE_CHECKING:
    from dataver.formats.context import Context
    from dataver.lineage.attribution.state import Scope

# Imports in functions: a process without a tracker asks none.

__all__ = [
    "NAME", "NOTES", "RUN", "Owner", "fresh_key", "key_of", "named_by_environment", "named_here", "wanted",
    "whose",
]  # fmt: skip

NAME: Final = "DATAVER_RUN_NAME"
NOTES: Final = "DATAVER_RUN_NOTES"

# Modules with objects for the current run or task; other systems use the environment.
_ASKED: Final = tuple(name for each in SYSTEMS if each not in TRACKERS for name in each.modules)
_TRACKERS: Final = tuple(name for each in TRACKERS for name in each.modules)
_REMEMBERED: Final = 1_000  # cached results
T = TypeVar("T")
_HEX: Final = frozenset("0123456789abcdef")


class Owner:
    """The run that a read belongs to, with its contexts. Equal results are the same object.

    Attributes:
        key: the run's key.
        how: `explicit` (named by the user), `tracker`, `joined` (that of the process that started this one),
            `found` (an enclosing task or job) or `implicit` (the process's own).
        name: the name given by the user or the tracker.
        contexts: the systems that it belongs to.
        trackers: the trackers' runs that receive its uses.
        active: the key of the tracker's active run, if that is another run; else None.
        process: the id of the process that reports the run, if a worker adds to its parent's; else None.
    """

    __slots__ = ("active", "contexts", "how", "key", "name", "process", "trackers")

    def __init__(
        self, key: str, how: str, name: str | None, trackers: tuple[Context, ...], around: tuple[Context, ...]
    ) -> None:
        self.key, self.how, self.trackers = key, how, trackers
        self.contexts = (*trackers, *around)
        own = next((each.facts for each in trackers if each.key == key), {})
        self.name = name or own.get("name") or own.get("step")
        first = trackers[0].key if trackers else None
        self.active = None if first == key else first
        self.process: str | None = None


class _Around(NamedTuple):
    """Runs and tasks according to the environment.

    Attributes:
        contexts: orchestrators, clusters, CI and launchers, nearest first.
        whole: of these, the key of the first that is one run or task.
        announced: runs of trackers that are named only in the environment.
        named: the key in `DATAVER_RUN`.
        parent: the process that started this one.
        owners: cached results in this environment.
    """

    contexts: tuple[Context, ...]
    whole: str | None
    announced: tuple[Context, ...]
    named: str | None
    parent: Parent | None
    owners: dict[tuple[object, ...], Owner]


def whose(run: object = None) -> Owner | None:
    """Return the run of a read in the calling thread now; None if there is none.

    Args:
        run: the run, if passed by the caller.

    Raises:
        InvalidInput: `run` is not a run.
    """
    stamp = environment_stamp()
    around: _Around | None = STATE.memory.get(stamp)
    if around is None:
        around = _remember(STATE.memory, stamp, _look())
    trackers = active(around.announced)
    if STATE.stale:
        trackers = tuple([each for each in trackers if each.key not in STATE.stale])
    scope, explicit = here(), None
    if scope is not None:
        explicit = next((each for each in chain(scope) if each.context is None), None)
        trackers = trackers or tuple([each.context for each in chain(scope) if each.context][:1])
    given = None
    if run is not None:
        given, context = key_of(run)
        if context is not None and context not in trackers:
            trackers = (context, *trackers)
    contexts, whole = around.contexts, around.whole
    # ids are unique: an owner references its trackers
    key: tuple[object, ...] = (given, explicit, *map(id, trackers))
    if _asked():
        contexts, whole = _surroundings()
        key = (*key, whole, *[each.key for each in contexts])
    owner: Owner | None = around.owners.get(key)
    if owner is None:
        chosen = _choose(given, explicit, trackers, whole, around)
        if chosen is None:
            return None
        owner, ahead = Owner(*chosen, trackers, contexts), around.parent
        if ahead is not None and (given is not None or ahead.key == owner.key):
            owner.process = ahead.process if STATE.forked or is_worker() else None
        _remember(around.owners, key, owner)
    return owner


def wanted() -> bool:
    """Return whether a read can belong to a run: not if lineage is off, nor in a command typed in a shell."""
    if not settings.enabled():
        return False
    if STATE.implicit or STATE.scopes or any(environment_stamp()):
        return True
    return _asked() or any(name in sys.modules for name in _TRACKERS)


def fresh_key() -> str:
    """Return the key of a new run."""
    return f"dataver:{os.urandom(16).hex()}"


def key_of(run: object) -> tuple[str, Context | None]:
    """Return the key of a run given as a key, 32 hex digits, a `Run` or a tracker's own object.

    Raises:
        InvalidInput: it is not one of these.
    """
    if isinstance(run, str):
        from dataver.formats.event import check_run_key

        return (f"dataver:{run}" if len(run) == 32 and _HEX.issuperset(run) else check_run_key(run)), None
    key = getattr(run, "key", None)
    if isinstance(key, str) and type(run).__module__.startswith("dataver."):
        return key, None
    from dataver.lineage.trackers.base import context_of

    context = context_of(run)
    if context is None:
        raise InvalidInput(
            f"unknown type of run '{type(run).__name__}'.",
            hint="give a key such as mlflow:4f1c…, a dataver.Run, or a tracker's run object",
        )
    return context.key, context


def named_by_environment() -> str | None:
    """Return the run in `DATAVER_RUN`; an invalid key is ignored with a warning."""
    given = (given_run() or "").strip()
    if not given:
        return None
    try:
        return key_of(given)[0]
    except InvalidInput as error:
        settings.warn(f"{RUN} is ignored: {error.message}")
        return None


def named_here() -> str | None:
    """Return the enclosing run named by the user, else the one in the environment."""
    scope = next(chain(CURRENT.get()), None)
    return scope.key if scope is not None else named_by_environment()


def _choose(
    given: str | None,
    explicit: Scope | None,
    trackers: tuple[Context, ...],
    whole: str | None,
    around: _Around,
) -> tuple[str, str, str | None] | None:
    """Return key, kind and name of the run."""
    if given is not None:
        return given, "explicit", None
    if explicit is not None:
        return explicit.key, "explicit", explicit.name
    if around.named is not None:
        return around.named, "explicit", os.environ.get(NAME) or None
    if trackers:
        return trackers[0].key, "tracker", None
    if whole is not None and (around.parent is None or whole != around.whole):
        return whole, "found", None  # a task executed by this process
    if around.parent is not None:
        return around.parent.key, "joined", None
    return (STATE.key, "implicit", None) if STATE.implicit else None


def _asked() -> bool:
    """Return whether a module of `_ASKED` is imported."""
    modules = sys.modules
    for name in _ASKED:  # noqa: SIM110  # faster than `any`, and called at each read
        if name in modules:
            return True
    return False


def _look() -> _Around:
    from dataver.lineage.trackers.runs_in_environment import announced_runs

    return _Around(*_surroundings(), announced_runs(), named_by_environment(), parent(), {})


def _surroundings() -> tuple[tuple[Context, ...], str | None]:
    from dataver.lineage.capture.contexts import look

    return look()


def _remember(known: dict[tuple[object, ...], T], key: tuple[object, ...], value: T) -> T:
    if len(known) >= _REMEMBERED:
        known.clear()
    known[key] = value
    return value
