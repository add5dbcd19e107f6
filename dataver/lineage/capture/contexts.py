"""Which run is this? Every system that this process belongs to, nearest first.

The idea: a table of small detectors, each of which looks at modules that the process has imported already and
at the environment, and at nothing else (invariant 8: nothing is imported, started, or asked over a network).
What a detector raises means that its system is not there.

Of what they find, the first *whole* context names the run: trackers' runs before tasks of orchestrators,
before jobs of clusters and CI, before launchers. A context that is not whole (a flow around a task) is
recorded as surroundings.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from dataver.lineage.capture import orchestrators, platforms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from dataver.formats.event import Context
    from dataver.lineage.capture.found import Found

__all__ = ["DETECTORS", "Glance", "Surroundings", "glance", "look", "run_of"]

DETECTORS: Final[tuple[Callable[[Mapping[str, object], Mapping[str, str]], Iterable[Found]], ...]] = (
    orchestrators.airflow,
    orchestrators.prefect,
    orchestrators.dagster,
    orchestrators.metaflow,
    orchestrators.kubeflow,
    orchestrators.sagemaker,
    orchestrators.azureml,
    orchestrators.databricks,
    platforms.ray,
    platforms.slurm,
    platforms.github,
    platforms.torchrun,
)


class Surroundings(NamedTuple):
    """What was found.

    Attributes:
        trackers: runs of trackers that are active in the calling thread; the first is the primary one.
        others: orchestrators, clusters, CI and launchers, nearest first.
        whole: of the others, the key of the first that is one run or task; None where none is.
    """

    trackers: tuple[Context, ...] = ()
    others: tuple[Context, ...] = ()
    whole: str | None = None

    @property
    def contexts(self) -> tuple[Context, ...]:
        """All, primary first."""
        return (*self.trackers, *self.others)


def look(
    modules: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
    *,
    trackers: bool = True,
    recent: bool = False,
) -> Surroundings:
    """Return what this process belongs to just now, as the calling thread sees it.

    Args:
        modules: what is imported; None means `sys.modules`.
        environment: None means the process's.
        trackers: whether trackers are asked; they look at the process itself.
        recent: whether a tracker without a run in this thread may name the process's last one.
    """
    loaded = sys.modules if modules is None else modules
    variables = os.environ if environment is None else environment
    found = [each for detector in DETECTORS for each in _careful(detector, loaded, variables)]
    others = {each.context.key: each for each in reversed(found)}  # a key found twice: the nearer holds
    ordered = [others[key] for key in dict.fromkeys(each.context.key for each in found)]
    whole = next((each.context.key for each in ordered if each.whole), None)
    active = tuple(_tracked(recent=recent)) if trackers else ()
    return Surroundings(active, tuple(each.context for each in ordered), whole)


class Glance(NamedTuple):
    """What a thread sees at one moment.

    Attributes:
        now: what it belongs to.
        passed: the same with runs of trackers that are over; they do not get what is noted now.
    """

    now: Surroundings
    passed: Surroundings


def glance() -> Glance:
    """Look, for a note that is made now."""
    now = look()
    return Glance(now, now if now.trackers else look(recent=True))


def run_of(surroundings: Surroundings) -> str | None:
    """Return the key of the run that the surroundings name, or None."""
    return surroundings.trackers[0].key if surroundings.trackers else surroundings.whole


def _careful(
    detector: Callable[[Mapping[str, object], Mapping[str, str]], Iterable[Found]],
    loaded: Mapping[str, object],
    variables: Mapping[str, str],
) -> list[Found]:
    try:
        return list(detector(loaded, variables))
    except Exception:  # noqa: BLE001  # foreign code outside of its run: the system is not there
        return []


def _tracked(*, recent: bool) -> Iterator[Context]:
    from dataver.lineage.trackers.base import trackers

    for tracker in trackers():
        try:
            context = tracker.current()
            if context is None and recent and hasattr(tracker, "recent"):
                context = tracker.recent()
        except Exception:  # noqa: BLE001, S112  # foreign code: no run of this tracker
            continue
        if context is not None:
            yield context
