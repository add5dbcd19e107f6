"""Groups of nodes of a graph that are alike, so that a drawing shows one node in place of many.

Versions of one dataset are alike, and runs of one system that read and produced versions of the same
datasets, at the same distance from the start of the graph.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zlib import crc32

from dataver.lineage.queries.results import IndexedRun, IndexedVersion

if TYPE_CHECKING:
    from collections.abc import Collection

    from dataver.lineage.queries.versions import Graph

__all__ = ["family", "groups", "time_of"]

_ALIKE = 5
_UNKNOWN = datetime.min.replace(tzinfo=UTC)


def family(found: IndexedVersion | IndexedRun) -> str:
    """Return the dataset of a version, or the system of a run."""
    return found.dataset or "" if isinstance(found, IndexedVersion) else found.key.partition(":")[0]


def time_of(found: IndexedVersion | IndexedRun) -> datetime:
    """Return the time of a version or the start of a run; the earliest time there is if it is unknown."""
    return (found.created or _UNKNOWN) if isinstance(found, IndexedVersion) else found.started


def groups(graph: Graph, apart: Collection[str] = ()) -> dict[str, list[str]]:
    """Return the members of each group of five or more, oldest first, by a name made of what is alike.

    Args:
        graph: the graph.
        apart: nodes that are in no group, besides the start.
    """
    alike = defaultdict[str, set[str]](set)
    for each in graph.edges:
        for node, other in ((each.source, each.target), (each.target, each.source)):
            if node in graph.runs and other in graph.versions:
                alike[node].add(f"{each.label} {graph.versions[other].dataset}")
    levels, found = _levels(graph), defaultdict[str, list[str]](list)
    everything: dict[str, IndexedVersion | IndexedRun] = {**graph.versions, **graph.runs}
    for node, about in sorted(everything.items(), key=lambda each: time_of(each[1])):
        if node != graph.start and node not in apart:
            kind = (levels[node], node[0], family(about), *sorted(alike[node]))
            found[f"g{crc32(repr(kind).encode()):08x}"].append(node)
    return {name: members for name, members in found.items() if len(members) >= _ALIKE}


def _levels(graph: Graph) -> dict[str, int]:
    """Return the distance of each node from the start; of origins it is negative."""
    effects, causes = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for each in graph.edges:
        effects[each.source].append(each.target)
        causes[each.target].append(each.source)
    levels = {graph.start: 0}
    for step, nearest in ((1, effects), (-1, causes)):
        order = [graph.start]
        for node in order:  # which grows
            order += [each for each in dict.fromkeys(nearest[node]) if each not in levels]
            levels |= {each: levels[node] + step for each in nearest[node] if each not in levels}
    return levels
