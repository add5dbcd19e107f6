"""Orchestrators, clusters, CI and launchers that this process belongs to, nearest first.

The idea: small detectors, one for each row of `systems`, which only read imported modules and the environment
(invariant 8: no import, start or network request). An exception in a detector means that its system is not
present.

The first *whole* context determines the key of the run: tasks of orchestrators before jobs of clusters and
CI, before launchers. Other contexts, such as the flow of a task, are only recorded.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from dataver.lineage.capture import orchestrators, platforms
from dataver.lineage.systems import SYSTEMS, TRACKERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from dataver.formats.event import Context
    from dataver.lineage.capture.detection import Found

__all__ = ["DETECTORS", "Surroundings", "look"]

_READERS: Final[Mapping[str, object]] = {"orchestrators": orchestrators, "platforms": platforms}

DETECTORS: Final[tuple[Callable[[Mapping[str, object], Mapping[str, str]], Iterable[Found]], ...]] = tuple(
    getattr(_READERS[each.reader], each.name) for each in SYSTEMS if each not in TRACKERS
)


class Surroundings(NamedTuple):
    """The contexts of a process.

    Attributes:
        contexts: orchestrators, clusters, CI and launchers, nearest first.
        whole: of these, the key of the first that is one run or task; None if there is none.
    """

    contexts: tuple[Context, ...] = ()
    whole: str | None = None


def look(
    modules: Mapping[str, object] | None = None, environment: Mapping[str, str] | None = None
) -> Surroundings:
    """Return the current contexts of this process, in the calling thread.

    Args:
        modules: imported modules; None means `sys.modules`.
        environment: environment variables; None means those of the process.
    """
    loaded = sys.modules if modules is None else modules
    variables = os.environ if environment is None else environment
    found = [each for detector in DETECTORS for each in _careful(detector, loaded, variables)]
    nearest = {each.context.key: each for each in reversed(found)}  # of a duplicate key, the nearest
    ordered = [nearest[key] for key in dict.fromkeys(each.context.key for each in found)]
    whole = next((each.context.key for each in ordered if each.whole), None)
    return Surroundings(tuple(each.context for each in ordered), whole)


def _careful(
    detector: Callable[[Mapping[str, object], Mapping[str, str]], Iterable[Found]],
    loaded: Mapping[str, object],
    variables: Mapping[str, str],
) -> list[Found]:
    try:
        return list(detector(loaded, variables))
    except Exception:  # noqa: BLE001  # foreign code outside of its run: the system is not present
        return []
