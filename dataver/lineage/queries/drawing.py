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

__all__ = ["Node", "draw"]

_NODES: Final = 60
_EDGES: Final = 180
_BENDS: Final = 8  # layers that an edge may cross; a longer one is drawn straight
_SWEEPS: Final = 6
_WIDTH, _HEIGHT = 186, 40  # of a node
_ACROSS, _DOWN = 250, 54  # between the corners of nodes
_LETTERS: Final = 27, 33  # of the two lines of a node
_COLOURS: Final = {"version": "#3b8fc4", "run": "#c98a1b"}
_Slot: TypeAlias = str | tuple[int, int]  # a node, or the bend of an edge in a layer


class Node(NamedTuple):
    """A version or a run in a drawing.

    Attributes:
        kind: `version` or `run`.
        title: its name.
        text: what else is known, in a few words.
        key: the name by which lineage finds it, if that is not the title.
    """

    kind: str
    title: str
    text: str
    key: str = ""


def draw(nodes: Mapping[str, Node], edges: Iterable[tuple[str, str, str]], start: str) -> str:
    """Return the SVG of a graph.

    Args:
        nodes: the nodes by name.
        edges: causes, effects and labels; those labelled `parent` are dashed.
        start: the node of the query, drawn with a thicker border.
    """
    lines = sorted({each for each in edges if each[0] in nodes and each[1] in nodes})
    shown = _nearest(nodes, lines, start)
    if not shown:
        return ""
    between = [each for each in lines if each[0] in shown and each[1] in shown]
    lines = between[:_EDGES]
    layers = _layers(shown, lines)
    routes = [_route(number, layers, *line[:2]) for number, line in enumerate(lines)]
    places = _places(layers, routes)
    right = max(x for x, _ in places.values()) + _WIDTH + 4
    below = max(y for _, y in places.values()) + _HEIGHT + 4
    drawn = [
        _edge([places[slot] for slot in route], line[2]) for route, line in zip(routes, lines, strict=True)
    ]
    drawn += [_box(nodes[name], places[name], thick=name == start) for name in shown]
    return (
        f"<div style='overflow-x:auto'><svg xmlns='http://www.w3.org/2000/svg' role='img' width='{right}' "
        f"height='{below}' viewBox='0 0 {right} {below}' style='max-width:none' fill='none' "
        f"font-size='12'>{''.join(drawn)}</svg></div>{more(len(nodes), len(shown), 'node')}"
        f"{more(len(between), len(lines), 'edge')}"
    )


def _nearest(nodes: Mapping[str, Node], lines: Sequence[tuple[str, str, str]], start: str) -> list[str]:
    """Return the nodes to draw, nearest to the start first."""
    beside = defaultdict[str, list[str]](list)
    for source, target, _ in lines:
        beside[source].append(target)
        beside[target].append(source)
    found = [start] * (start in nodes)
    seen = set(found)
    for name in found:  # which grows
        found += [each for each in dict.fromkeys(beside[name]) if each not in seen]
        seen.update(beside[name])
    return list(dict.fromkeys([*found, *nodes]))[:_NODES]


def _layers(names: Sequence[str], lines: Sequence[tuple[str, str, str]]) -> dict[str, int]:
    """Return the layer of each node; in a circle one edge leads back."""
    after, waiting = defaultdict[str, list[str]](list), dict.fromkeys(names, 0)
    for source, target, _ in lines:
        after[source].append(target)
        waiting[target] += 1
    causes = {name for name in names if not waiting[name]}
    layers, left = dict.fromkeys(names, 0), dict.fromkeys(names)
    while left:
        name = next((each for each in left if not waiting[each]), next(iter(left)))
        del left[name]
        for target in after[name]:
            waiting[target] -= 1
            if target in left:
                layers[target] = max(layers[target], layers[name] + 1)
    for name in causes:  # beside its first effect, not at the far left
        layers[name] = max(0, min((layers[target] for target in after[name]), default=1) - 1)
    return layers


def _route(number: int, layers: Mapping[str, int], source: str, target: str) -> list[_Slot]:
    between = range(layers[source] + 1, layers[target])
    return [source, *((number, layer) for layer in between if len(between) <= _BENDS), target]


def _places(layers: Mapping[str, int], routes: Iterable[Sequence[_Slot]]) -> dict[_Slot, tuple[int, int]]:
    """Return the left upper corner of each node and bend."""
    columns, beside = defaultdict[int, list[_Slot]](list), defaultdict[_Slot, list[_Slot]](list)
    for name, layer in layers.items():
        columns[layer].append(name)
    for route in routes:
        for slot in route[1:-1]:
            assert not isinstance(slot, str)
            columns[slot[1]].append(slot)
        for one, other in pairwise(route):
            beside[one].append(other)
            beside[other].append(one)
    height = max(map(len, columns.values()))
    rows = {
        slot: row + (height - len(each)) / 2 for each in columns.values() for row, slot in enumerate(each)
    }
    for sweep in range(_SWEEPS):
        for layer in sorted(columns, reverse=sweep % 2 == 1):
            column = columns[layer]
            column.sort(key=lambda slot: _mean([rows[each] for each in beside[slot]] or [rows[slot]]))
            rows.update((slot, row + (height - len(column)) / 2) for row, slot in enumerate(column))
    return {
        slot: (2 + layer * _ACROSS, 2 + round(rows[slot] * _DOWN))
        for layer, column in columns.items()
        for slot in column
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _edge(places: Sequence[tuple[int, int]], label: str) -> str:
    (left, top), *rest = places
    middle = _HEIGHT // 2
    path = [f"M{left + _WIDTH} {top + middle}"]
    at, across = left + _WIDTH, (_ACROSS - _WIDTH) // 2
    for number, (x, y) in enumerate(rest, 1):
        before = places[number - 1][1] + middle
        path.append(f"C{at + across} {before} {x - across} {y + middle} {x} {y + middle}")
        at = x
        if number < len(rest):
            at += _WIDTH
            path.append(f"H{at}")
    path.append("m-6 -3l6 3l-6 3")
    dashes = " stroke-dasharray='4 3'" if label == "parent" else ""
    return f"<path d='{''.join(path)}' stroke='currentColor' stroke-opacity='.5'{dashes}/>"


def _box(node: Node, place: tuple[int, int], *, thick: bool) -> str:
    colour, round_ = _COLOURS[node.kind], 4 if node.kind == "version" else _HEIGHT // 2
    title, text = (escape(cut(each, most)) for each, most in zip(node[1:3], _LETTERS, strict=True))
    texts = (
        f"<text x='12' y='17' fill='currentColor'>{title}</text>"
        f"<text x='12' y='32' fill='currentColor' fill-opacity='.7' font-size='10'>{text}</text>"
    )
    return (
        f"<svg x='{place[0]}' y='{place[1]}' width='{_WIDTH}' height='{_HEIGHT}'>"
        f"<title>{escape(cut(f'{node.kind} {node.key or node.title}: {node.text}'))}</title>"
        f"<rect x='1.5' y='1.5' width='{_WIDTH - 3}' height='{_HEIGHT - 3}' rx='{round_}' fill='{colour}' "
        f"fill-opacity='.12' stroke='{colour}' stroke-width='{3 if thick else 1}'/>{texts}</svg>"
    )
