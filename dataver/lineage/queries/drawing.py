"""Drawing of a lineage graph as inline SVG, causes to the left of effects.

The idea (Sugiyama, Tagawa and Toda 1981): each node gets the layer after the last of its causes; an edge over
several layers gets a bend in each between; within a layer, nodes and bends are sorted by the mean position of
their neighbours. The `_NODES` nodes nearest to the start are drawn. Texts are escaped (`dataver.html_repr`).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Final, NamedTuple, TypeAlias

from dataver.html_repr import cut, more

__all__ = ["Link", "Node", "draw"]

_NODES: Final = 60
_EDGES: Final = 180
_BENDS: Final = 12  # layers that an edge may cross; a longer one is drawn straight
_SWEEPS: Final = 6
_WIDTH, _HEIGHT = 186, 40  # of a node
_ACROSS, _DOWN = 250, 54  # between the corners of nodes
_BEFORE: Final = (_ACROSS - _WIDTH) // 2  # from a node to where an edge turns
_COLOURS: Final = {"version": "#3b8fc4", "run": "#c98a1b"}


class Node(NamedTuple):
    """A version or a run in a drawing.

    Attributes:
        kind: `version` or `run`.
        title: its name.
        text: what else is known, in a few words.
        key: the name by which lineage finds it.
    """

    kind: str
    title: str
    text: str
    key: str


Link: TypeAlias = tuple[Node, Node, str]
"""A cause, an effect, and the label of the edge; those labelled `parent` are dashed."""

_Slot: TypeAlias = Node | tuple[int, int]  # a node, or the bend of an edge in a layer


def draw(start: Node, links: Iterable[Link]) -> str:
    """Return the SVG of a graph; the border of the start is thicker."""
    lines = sorted(set(links))
    nodes = _by_distance(start, lines)
    shown = set(nodes[:_NODES])
    between = [line for line in lines if shown.issuperset(line[:2])]
    layers = _layers(nodes[:_NODES], between[:_EDGES])
    routes = [_route(number, layers, *line[:2]) for number, line in enumerate(between[:_EDGES])]
    places = _places(layers, routes)
    right, below = (max(ends) + 4 for ends in zip(*places.values(), strict=True))
    drawn = [
        _edge([places[slot] for slot in route], line[2]) for route, line in zip(routes, between, strict=False)
    ]
    drawn += [_box(node, *places[node], 3 if node == start else 1) for node in layers]
    return (
        f"<div style='overflow-x:auto'><svg xmlns='http://www.w3.org/2000/svg' role='img' font-size='12' "
        f"width='{right + _WIDTH}' height='{below + _HEIGHT}' style='max-width:none' fill='none'>"
        f"{''.join(drawn)}</svg></div>{more(len(nodes), _NODES, 'node')}{more(len(between), _EDGES, 'edge')}"
    )


def _by_distance(start: Node, lines: Sequence[Link]) -> list[Node]:
    beside = defaultdict[Node, dict[Node, None]](dict)
    for source, target, _ in lines:
        beside[source][target] = beside[target][source] = None
    found = {start: None}
    for node in (order := [start]):  # which grows
        order += [each for each in beside[node] if each not in found]
        found |= beside[node]
    return list(found | dict.fromkeys(beside))


def _layers(nodes: Sequence[Node], lines: Sequence[Link]) -> dict[Node, int]:
    """Return the layer of each node; in a circle one edge leads back."""
    after, waiting = defaultdict[Node, list[Node]](list), dict.fromkeys(nodes, 0)
    for source, target, _ in lines:
        after[source].append(target)
        waiting[target] += 1
    causes = [node for node in nodes if not waiting[node]]
    layers, left = dict.fromkeys(nodes, 0), dict.fromkeys(nodes)
    while left:
        node = next((each for each in left if not waiting[each]), next(iter(left)))
        del left[node]
        for target in after[node]:
            waiting[target] -= 1
            if target in left:
                layers[target] = max(layers[target], layers[node] + 1)
    for node in causes:  # beside its first effect, not at the far left
        layers[node] = max(0, min((layers[target] for target in after[node]), default=1) - 1)
    return layers


def _route(number: int, layers: Mapping[Node, int], source: Node, target: Node) -> list[_Slot]:
    between = range(layers[source] + 1, layers[target])
    return [source, *((layer, number) for layer in between if len(between) <= _BENDS), target]


def _places(layers: Mapping[Node, int], routes: Iterable[Sequence[_Slot]]) -> dict[_Slot, tuple[int, int]]:
    """Return the left upper corner of each node and bend."""
    columns, beside = defaultdict[int, dict[_Slot, None]](dict), defaultdict[_Slot, list[_Slot]](list)
    for slot in (*layers, *(bend for route in routes for bend in route[1:-1])):
        columns[layers[slot] if isinstance(slot, Node) else slot[0]][slot] = None
    for one, other in (pair for route in routes for pair in pairwise(route)):
        beside[one].append(other)
        beside[other].append(one)
    height = max(map(len, columns.values()))
    rows: dict[_Slot, float] = {}
    for sweep in range(_SWEEPS):
        for layer in sorted(columns, reverse=sweep % 2 == 1):
            near = {slot: [rows[each] for each in beside[slot] if each in rows] for slot in columns[layer]}
            column = sorted(near, key=lambda slot: sum(near[slot]) / (len(near[slot]) or 1))
            rows |= {slot: row + (height - len(column)) / 2 for row, slot in enumerate(column)}
    return {slot: (2 + at * _ACROSS, 2 + round(rows[slot] * _DOWN)) for at in columns for slot in columns[at]}


def _edge(places: Sequence[tuple[int, int]], label: str) -> str:
    middle = _HEIGHT // 2
    curves = [
        f"C{x + _WIDTH + _BEFORE} {y + middle} {left - _BEFORE} {top + middle} {left} {top + middle}"
        for (x, y), (left, top) in pairwise(places)
    ]
    path = f"M{places[0][0] + _WIDTH} {places[0][1] + middle}{f'h{_WIDTH}'.join(curves)}m-6 -3l6 3l-6 3"
    dashes = " stroke-dasharray='4 3'" if label == "parent" else ""
    return f"<path d='{path}' stroke='currentColor' stroke-opacity='.5'{dashes}/>"


def _box(node: Node, x: int, y: int, border: int) -> str:
    colour, round_ = _COLOURS[node.kind], 4 if node.kind == "version" else _HEIGHT // 2
    return (
        f"<svg x='{x}' y='{y}' width='{_WIDTH}' height='{_HEIGHT}'>"
        f"<title>{escape(cut(f'{node.kind} {node.key}: {node.text}'))}</title>"
        f"<rect x='1.5' y='1.5' width='{_WIDTH - 3}' height='{_HEIGHT - 3}' rx='{round_}' fill='{colour}' "
        f"fill-opacity='.12' stroke='{colour}' stroke-width='{border}'/>"
        f"<text x='12' y='17' fill='currentColor'>{escape(cut(node.title, 27))}</text>"
        f"<text x='12' y='32' fill='currentColor' fill-opacity='.7' font-size='10'>"
        f"{escape(cut(node.text, 33))}</text></svg>"
    )
