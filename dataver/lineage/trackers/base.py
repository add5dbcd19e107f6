"""What dataver asks of an experiment tracker, and the trackers that apply in this process.

The idea: the recorder knows two verbs. `current()` looks at which run of the tracker is active in the
calling thread; `note()` writes a version onto that run, in the tracker's own way. No tracker's package is
imported unless the process has imported it, and no run is ever started (invariant 8).

Others add theirs without a change here: a package declares an entry point in the group `dataver.trackers`

    [project.entry-points."dataver.trackers"]
    hal = "hal_dataver:TRACKER"      # an object with the attributes of `Tracker`, or its class

It is loaded when the first link is noted, so its module should import the tracker's package inside functions
only. One that cannot be loaded, or is no tracker, is left out with one warning.

Some runs only announce themselves in the environment: a job's child that has not imported the tracker. Such a
run is named, so that the link is there to be found; nothing is written to it.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from dataver.lineage.trackers.announced import ANNOUNCED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dataver.formats.event import Context, Subset

__all__ = ["GROUP", "Tracker", "Use", "context_of", "declared", "trackers"]

GROUP: Final = "dataver.trackers"

# The key in sys.modules, and our module about it; the order decides which run is the primary one.
_BUILT_IN: Final = (
    ("mlflow", "mlflow"),
    ("clearml", "clearml"),
    ("wandb", "wandb"),
    ("comet_ml", "comet"),
    ("neptune", "neptune"),
    ("zenml", "zenml"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One version that a run consumed or produced, as a tracker is told of it.

    Attributes:
        role: `input` or `output`.
        repository_id: the repository's id, 32 hex.
        repository_url: where it is, without passwords, tokens or query.
        dataset: the dataset's name.
        label: the version's label; None for an output that is not published yet.
        ref: `dataset@label`; the bare dataset where there is no label yet.
        tree: the digest of its tree, 64 hex.
        record: the id of its record, 64 hex; None for an output that is not published yet.
        subset: what of it was read; false if it is the whole.
        files: how many files that is.
        size: bytes of them.
        asked: the reference the user typed, such as `cats@production`; None for outputs.
    """

    role: str
    repository_id: str
    repository_url: str
    dataset: str
    label: str | None
    ref: str
    tree: str
    record: str | None
    subset: Subset
    files: int
    size: int
    asked: str | None = None


@runtime_checkable
class Tracker(Protocol):
    """An experiment tracker that dataver can look at and write to.

    It may offer two things more: `recent() -> Context | None`, the run that this process had last or has in
    another thread, by which what was fetched before the run finds it; and `of(given) -> Context | None`, the
    run that an object of the tracker stands for (`context_of`).

    Attributes:
        system: its name in run keys, such as `mlflow`: a lower-case letter, then letters, digits, `_`, `-`.
        module: the key in `sys.modules` that tells whether this process uses it.
    """

    @property
    def system(self) -> str: ...  # noqa: D102  # above

    @property
    def module(self) -> str: ...  # noqa: D102

    def current(self) -> Context | None:
        """Return the run that is active in the calling thread, or None.

        It is called on the way of every fetch, so it looks at memory and environment only: no import, no
        request, and never a run started. What it raises counts as None.
        """
        ...

    def note(self, context: Context, use: Use) -> None:
        """Write `use` onto the run `context`, which `current` returned, perhaps in another thread.

        It may take long, raise, and be called twice for one use: the recorder calls it from a thread of its
        own and swallows what it raises. The run may have ended meanwhile.
        """
        ...


def trackers() -> Sequence[Tracker]:
    """Return the trackers that this process uses: the built-in ones, those of other packages, the announced.

    Only those whose package is imported, or whose run the environment names.
    """
    ours = [_built_in(name) for module, name in _BUILT_IN if module in sys.modules]
    theirs = [each for each in declared() if each.module in sys.modules]
    return [*ours, *theirs, *(each for each in ANNOUNCED if each.module not in sys.modules)]


def context_of(given: object) -> Context | None:
    """Return the run that a tracker's own object stands for (`fetch(run=neptune_run)`), or None.

    A tracker may offer `of(given) -> Context | None` for that; it is asked if its package is imported.
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
    """Load what other packages declare, once a process."""
    if not any(GROUP.encode() in text for text in _entry_point_files()):
        return ()
    from importlib.metadata import entry_points

    found: list[Tracker] = []
    for point in sorted(entry_points(group=GROUP), key=lambda each: (each.name, each.value)):
        try:
            loaded = point.load()
            tracker = loaded() if isinstance(loaded, type) else loaded
        except Exception as error:  # noqa: BLE001  # a stranger's module may raise anything; training goes on
            _left_out(point.value, f"{type(error).__name__}: {error}")
            continue
        if isinstance(tracker, Tracker):
            found.append(tracker)
        else:
            _left_out(point.value, "it has not the attributes of a tracker")
    return tuple(found)


def _left_out(value: str, why: str) -> None:
    from dataver.lineage.settings import warn

    warn(f"the tracker '{value}' is left out: {why}.")


def _entry_point_files() -> Iterator[bytes]:
    """Yield every installed distribution's entry points as they are on disk.

    A millisecond for a hundred distributions, where importing `importlib.metadata` and asking it takes 30: a
    fetch waits for this. What lies in zip files is not seen.
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
