"""Places of the nodes of a directed graph: causes to the left of effects, few crossings.

The idea (Sugiyama, Tagawa and Toda 1981): each node gets the layer after the last of its causes; an edge over
several layers gets a bend in each between; within a layer, nodes and bends are sorted by the mean position of
their neighbours. Linear in nodes and edges, but for these sorts. In a circle one edge leads back.
"""

from collections import defaultdict, deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar

__all__ = ["Layout", "curve", "place"]

_BENDS: Final = 12  # layers that an edge may cross; a longer one is drawn straight
_SWEEPS: Final = 6
_FEW: Final = 1_000  # edges; of more there are half as many sweeps
_N = TypeVar("_N", bound=Hashable)


class _Bend(NamedTuple):
    layer: int
    edge: int


_Slot: TypeAlias = _N | _Bend


class Layout(NamedTuple, Generic[_N]):
    """Places in a grid.

    Attributes:
        places: column and row of each node and bend; rows have fractions, as columns are centred.
        routes: for each edge its nodes and the bends between them.
    """

    places: dict[_Slot[_N], tuple[int, float]]
    routes: list[list[_Slot[_N]]]


def place(
    nodes: Iterable[_N], edges: Sequence[tuple[_N, _N]], *, bends: int = _BENDS, tall: int | None = None
) -> Layout[_N]:
    """Return the places of nodes.

    Args:
        nodes: the nodes; those that come first are drawn first where their neighbours do not decide.
        edges: pairs of a cause and an effect.
        bends: maximum number of bends of an edge.
        tall: maximum number of rows; a longer layer gets several columns.
    """
    layers = _layers(list(nodes), edges)
    routes: list[list[_Slot[_N]]] = []
    for number, (source, target) in enumerate(edges):
        first, last = layers[source] + 1, layers[target]
        turns = [_Bend(layer, number) for layer in range(first, last)] if last - first <= bends else []
        routes.append([source, *turns, target])
    return Layout(_places(layers, routes, tall), routes)


def _layers(nodes: Sequence[_N], edges: Iterable[tuple[_N, _N]]) -> dict[_N, int]:
    after, waiting = defaultdict[_N, list[_N]](list), dict.fromkeys(nodes, 0)
    for source, target in edges:
        after[source].append(target)
        waiting[target] += 1
    causes = [node for node in nodes if not waiting[node]]
    layers, done = dict.fromkeys(nodes, 0), set[_N]()
    ready, others = deque(causes), iter(nodes)
    while len(done) < len(layers):
        node = ready.popleft() if ready else next(each for each in others if each not in done)
        done.add(node)
        for target in after[node]:
            waiting[target] -= 1
            if target not in done:
                layers[target] = max(layers[target], layers[node] + 1)
                if not waiting[target]:
                    ready.append(target)
    for node in causes:  # beside its first effect, not at the far left
        layers[node] = max(0, min((layers[target] for target in after[node]), default=1) - 1)
    return layers


def _places(
    layers: Mapping[_N, int], routes: Sequence[Sequence[_Slot[_N]]], tall: int | None
) -> dict[_Slot[_N], tuple[int, float]]:
    columns, beside = defaultdict[int, list[_Slot[_N]]](list), defaultdict[_Slot[_N], list[_Slot[_N]]](list)
    for node, layer in layers.items():
        columns[layer].append(node)
    for route in routes:
        for bend in route[1:-1]:
            if isinstance(bend, _Bend):
                columns[bend.layer].append(bend)
        for one, other in pairwise(route):
            beside[one].append(other)
            beside[other].append(one)
    rows: dict[_Slot[_N], float] = {}
    for slots in columns.values():
        rows.update((slot, row - (len(slots) - 1) / 2) for row, slot in enumerate(slots))
    for sweep in range(_SWEEPS if len(routes) < _FEW else _SWEEPS // 2):
        for layer in sorted(columns, reverse=sweep % 2 == 1):
            means = {
                slot: sum([rows[each] for each in near]) / len(near) if (near := beside[slot]) else rows[slot]
                for slot in columns[layer]
            }
            columns[layer] = sorted(means, key=means.__getitem__)
            middle = (len(means) - 1) / 2
            rows.update((slot, row - middle) for row, slot in enumerate(columns[layer]))
    parts = [
        columns[layer][start : start + (tall or len(columns[layer]))]
        for layer in sorted(columns)
        for start in range(0, len(columns[layer]), tall or len(columns[layer]))
    ]
    most = max(map(len, parts), default=0)
    return {
        slot: (column, row + (most - len(part)) / 2)
        for column, part in enumerate(parts)
        for row, slot in enumerate(part)
    }


def curve(points: Sequence[tuple[int, int]], width: int, height: int, across: int) -> str:
    """Return the path of an edge in SVG, with an arrow.

    Args:
        points: left upper corners of its nodes and bends.
        width: of a node.
        height: of a node.
        across: from a column to the next one.
    """
    middle, before = height // 2, (across - width) // 2
    curves = [
        f"C{x + width + before} {y + middle} {left - before} {top + middle} {left} {top + middle}"
        for (x, y), (left, top) in pairwise(points)
    ]
    start = f"M{points[0][0] + width} {points[0][1] + middle}"
    return f"{start}{f'h{width}'.join(curves)}m-6 -3l6 3l-6 3"
