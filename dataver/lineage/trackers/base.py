"""The protocol of experiment trackers, and the trackers of this process.

The idea: the recorder needs two methods. `current()` returns the tracker's active run in the calling thread;
`note()` writes a use to that run, in the tracker's own form. No tracker's package is imported unless the
process has imported it, and no run is ever started (invariant 8).

Other packages add trackers by an entry point in the group `dataver.trackers`

    [project.entry-points."dataver.trackers"]
    hal = "hal_dataver:TRACKER"      # an object with the attributes of `Tracker`, or its class

It is loaded with the first record, so its module should import the tracker's package only inside functions.
One that cannot be loaded, or is not a tracker, is ignored with one warning.

Some runs are only in the environment, for example in a job's child process that has not imported the tracker.
Links are recorded for such a run, but nothing is written to it.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from dataver.lineage.systems import TRACKERS
from dataver.lineage.trackers.runs_in_environment import ANNOUNCED
from dataver.lineage.trackers.use import Use

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dataver.formats.context import Context

# Imports in functions: most processes have no tracker of another package, and warn of nothing.

__all__ = ["GROUP", "Tracker", "Use", "context_of", "declared", "trackers"]

GROUP: Final = "dataver.trackers"


@runtime_checkable
class Tracker(Protocol):
    """An experiment tracker that dataver can read and write.

    Optional members: `of(given) -> Context | None` returns the run of a tracker's object (`context_of`);
    `watch(begins, ends)` patches the tracker's own functions to call `begins(context)` when a run begins and
    `ends(context, outcome)` when it ends; `updates` is true if a later use of the same version replaces the
    earlier one; `outcome(context) -> str | None` returns the outcome of a run.

    Attributes:
        system: its name in run keys, such as `mlflow`: a lower-case letter, then letters, digits, `_`, `-`.
        module: the key in `sys.modules` that is present if this process uses it.
    """

    @property
    def system(self) -> str: ...  # noqa: D102  # above

    @property
    def module(self) -> str: ...  # noqa: D102

    def current(self) -> Context | None:
        """Return the run that is active in the calling thread, or None.

        Every read calls it, so it only reads memory and environment: it does not import, send requests or
        start a run. An exception counts as None.
        """
        ...

    def note(self, context: Context, use: Use) -> None:
        """Write a use to a run returned by `current`, possibly in another thread.

        The recorder calls it on its own thread, possibly twice for one use. It may be slow; exceptions become
        a warning. The run may have ended in the meantime.
        """
        ...


def trackers() -> Sequence[Tracker]:
    """Return the trackers that this process uses: built-in ones, those of other packages, announced ones.

    Only those with an imported package or a run in the environment.
    """
    return [*_loaded(), *(each for each in ANNOUNCED if each.module not in sys.modules)]


def active(announced: Sequence[Context] = ()) -> tuple[Context, ...]:
    """Return the runs of trackers that are active in the calling thread, the primary one first.

    Args:
        announced: runs in the environment; those of imported trackers are ignored.
    """
    found: list[Context] = []
    for tracker in _loaded():
        if announced:
            announced = [each for each in announced if each.system != tracker.system]
        try:
            context = tracker.current()
        except Exception:  # noqa: BLE001, S112  # foreign code: no run of this tracker
            continue
        if context is not None:
            found.append(context)
    return (*found, *announced)


def updating() -> set[str]:
    """Return the systems of trackers that accept updates of a use (attribute `updates`)."""
    return {each.system for each in trackers() if getattr(each, "updates", False)}


def note(context: Context, use: Use) -> None:
    """Write a use to a tracker's run; a failure is a warning."""
    for tracker in trackers():
        if tracker.system == context.system:
            try:
                tracker.note(context, use)
            except Exception as error:  # noqa: BLE001  # a tracker's client may raise anything
                _warn(f"{use.ref} was not written to {context.key}: {type(error).__name__}: {error}.")


def outcome_of(context: Context) -> str | None:
    """Return the outcome of a run, from a tracker that offers it (`outcome`)."""
    for tracker in trackers():
        if tracker.system == context.system and hasattr(tracker, "outcome"):
            outcome: str | None = tracker.outcome(context)
            return outcome
    return None


def watch(watched: set[str], begins: Callable[..., None], ends: Callable[..., None]) -> None:
    """Install the hooks of trackers, which call `begins(context)` and `ends(context, outcome)`.

    Args:
        watched: systems with hooks installed; extended.
        begins: records the start of a run in the calling thread.
        ends: records the end of a run; with `before=True`, the run rejects writes after the end.
    """
    for tracker in _loaded():
        put = getattr(tracker, "watch", None)
        if put is not None and tracker.system not in watched:
            watched.add(tracker.system)
            put(begins, ends)


def _loaded() -> list[Tracker]:
    """Return the trackers with an imported package."""
    modules = sys.modules
    ours = [_built_in(each.name) for each in TRACKERS if each.modules[0] in modules]
    return ours + [each for each in declared() if each.module in modules]


def context_of(given: object) -> Context | None:
    """Return the run of a tracker's own object (`fetch(run=wandb_run)`), or None.

    Calls the optional method `of(given) -> Context | None` of trackers with an imported package.
    """
    for tracker in trackers():
        of = getattr(tracker, "of", None)
        context: Context | None = of(given) if of is not None else None
        if context is not None:
            return context
    return None


@cache
def _built_in(name: str) -> Tracker:
    tracker: Tracker = import_module(f"dataver.lineage.trackers.{name}").TRACKER
    return tracker


@cache
def declared() -> tuple[Tracker, ...]:
    """Load the trackers of other packages, once per process."""
    if not any(GROUP.encode() in text for text in _entry_point_files()):
        return ()
    from importlib.metadata import entry_points

    found: list[Tracker] = []
    for point in sorted(entry_points(group=GROUP), key=lambda each: (each.name, each.value)):
        try:
            loaded = point.load()
            tracker = loaded() if isinstance(loaded, type) else loaded
        except Exception as error:  # noqa: BLE001  # foreign modules may raise anything; training continues
            _left_out(point.value, f"{type(error).__name__}: {error}")
            continue
        if isinstance(tracker, Tracker):
            found.append(tracker)
        else:
            _left_out(point.value, "it lacks attributes of a tracker")
    return tuple(found)


def _left_out(value: str, why: str) -> None:
    _warn(f"the tracker '{value}' is ignored: {why}.")


def _warn(message: str) -> None:
    from dataver.lineage.settings import warn

    warn(message)


def _entry_point_files() -> Iterator[bytes]:
    """Yield the contents of every installed distribution's `entry_points.txt`, except in zip files.

    Takes 1 ms for a hundred distributions, instead of 30 with `importlib.metadata`: a fetch waits for this.
    """
    for folder in dict.fromkeys(sys.path):
        try:
            with os.scandir(folder or ".") as entries:
                found = [each.path for each in entries if each.name.endswith((".dist-info", ".egg-info"))]
        except OSError:
            continue
        for path in found:
            try:
                with open(f"{path}/entry_points.txt", "rb") as file:
                    yield file.read()
            except OSError:
                continue
