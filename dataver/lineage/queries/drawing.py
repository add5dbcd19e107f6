"""Drawing of a lineage graph as inline SVG for notebooks, causes to the left of effects (`layout`).

The `_NODES` nodes nearest to the start are drawn. Texts are escaped (`dataver.html_repr`).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final, NamedTuple, TypeAlias

from dataver.html_repr import cut, more
from dataver.lineage.queries.layout import curve, place

__all__ = ["Link", "Node", "draw"]

_NODES: Final = 60
_EDGES: Final = 180
_WIDTH, _HEIGHT = 186, 40  # of a node
_ACROSS, _DOWN = 250, 54  # between the corners of nodes
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


def draw(start: Node, links: Iterable[Link]) -> str:
    """Return the SVG of a graph; the border of the start is thicker."""
    lines = sorted(set(links))
    nodes = _by_distance(start, lines)
    shown = set(nodes[:_NODES])
    between = [line for line in lines if shown.issuperset(line[:2])]
    found = place(nodes[:_NODES], [line[:2] for line in between[:_EDGES]])
    places = {slot: (2 + x * _ACROSS, 2 + round(y * _DOWN)) for slot, (x, y) in found.places.items()}
    right, below = (max(ends) + 4 for ends in zip(*places.values(), strict=True))
    drawn = [
        _edge(curve([places[slot] for slot in route], _WIDTH, _HEIGHT, _ACROSS), line[2])
        for route, line in zip(found.routes, between, strict=False)
    ]
    drawn += [_box(node, *places[node], 3 if node == start else 1) for node in nodes[:_NODES]]
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


def _edge(path: str, label: str) -> str:
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
