"""The lineage around a version or a run, or of the whole repository, placed for a drawing.

Five or more nodes that are alike are drawn as one group (`lineage.queries.groups`). Up to `_DRAWN` nodes are
drawn by the template; more, and the whole repository, by `static/lineage.js`.
"""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from dataver.documents import traced_values
from dataver.errors import InvalidInput, NotFound
from dataver.html_repr import cut
from dataver.lineage.queries.groups import family, groups, time_of
from dataver.lineage.queries.layout import curve, place
from dataver.lineage.queries.results import IndexedRun, IndexedVersion, VersionAnswer
from dataver.lineage.queries.versions import Graph
from dataver.printable import count
from dataver.ui.asked import Asked
from dataver.ui.runs import row

__all__ = ["page"]

_NODES: Final = 10_000
_DRAWN: Final = 150
_ROWS: Final = 50
_TALL: Final = 100  # rows of a large drawing
_WIDTH, _HEIGHT, _ACROSS, _DOWN = 200, 44, 260, 60
_SECONDS: Final = 30.0
_MARKS: Final = ("tainted", "perhaps", "mended")
_STATE: Final = ("ref", "run", "hops", "up", "down", "all", "impact", "path", "out")

_Found = IndexedVersion | IndexedRun


def page(asked: Asked) -> dict[str, Any]:
    """Return the lineage of a version (`ref`), a run (`run`) or all of it (`all`), else where to start.

    Further values: `hops`; `up=0` and `down=0` to leave out origins or results; `impact=1` to mark what is
    tainted, by the file `path` alone if there is one; `out`, the nodes taken out of groups; `at`, the node
    that is shown in detail; `q` and `page` of the list of nodes, or of the members of a group.
    """
    here = {name: asked.text(name) for name in _STATE}
    if not (here["ref"] or here["run"] or here["all"]):
        return _starts(asked)
    made = asked.memory.get(("lineage", *here.values()), lambda: _Drawing(asked), _SECONDS)
    at, words = asked.text("at"), asked.text("q").lower().split()
    listed = [each for each in made.groups.get(at, made.found) if not words or made.named(each, words)]
    rows, position = asked.page(reversed(listed), len(listed))
    return {
        "here": here,
        "q": asked.text("q"),
        **made.document,
        "at": at,
        "selected": made.details(at),
        "listed": [made.node(each) | {"title": made.found[each].node().title} for each in rows],
        "place": position,
    }


def _starts(asked: Asked) -> dict[str, Any]:
    """Return the datasets and runs that `q` finds, newest first, and what it names exactly."""
    lineage, words = asked.repository.lineage, asked.text("q").strip()
    chosen = [each for each in asked.datasets() if words.lower() in each.name.lower()]
    chosen.sort(key=lambda each: each.latest.created, reverse=True)
    exact = []
    for find in (lineage.version, lineage.run) if words else ():
        with suppress(InvalidInput, NotFound):
            found = find(words)
            exact.append((found.version if isinstance(found, VersionAnswer) else found.run).node()._asdict())
    runs = lineage.runs(find=words or None, limit=_ROWS)
    return {
        "here": None,
        "q": words,
        "exact": exact,
        "versions": [
            {"ref": each.latest.ref, "created": each.latest.created.isoformat()} for each in chosen[:_ROWS]
        ],
        "runs": [row(each) for each in runs],
    }


class _Drawing:
    """A graph with its groups and places.

    Attributes:
        found: versions and runs by node, oldest first.
        groups: the members of each group.
        document: what is drawn.
    """

    def __init__(self, asked: Asked) -> None:
        hops, everything = asked.number("hops", 2, 100), asked.text("all") == "1"
        self._graph = graph = _graph(asked, None if everything else hops)
        found: dict[str, _Found] = {**graph.versions, **graph.runs}
        self.found = dict(sorted(found.items(), key=lambda each: time_of(each[1])))
        self._marks, impact = _impact(asked)
        out = [each for each in asked.text("out").split(",") if each in found]
        self.groups = {} if everything else groups(graph, out)
        inside = {each: name for name, members in self.groups.items() for each in members}
        nodes = list(dict.fromkeys(inside.get(each, each) for each in self.found))
        numbers = {each: number for number, each in enumerate(nodes)}
        at = {each: numbers[inside.get(each, each)] for each in found}
        edges = sorted({(at[each.source], at[each.target], each.label) for each in graph.edges})
        self.document = {
            "start": graph.start,
            "title": found[graph.start].node().title if graph.start else None,
            "hops": hops,
            **self._placed(nodes, [each for each in edges if each[0] != each[1]]),
            "limit": _NODES if len(found) >= _NODES else None,
            "impact": impact,
            "out": out,
        }

    def _placed(self, nodes: list[str], edges: list[tuple[int, int, str]]) -> dict[str, Any]:
        large = len(nodes) > _DRAWN or not self._graph.start
        how: dict[str, Any] = {"bends": 0, "tall": _TALL} if large else {}
        layout = place(range(len(nodes)), [each[:2] for each in edges], **how)
        places = {slot: (x * _ACROSS, round(y * _DOWN)) for slot, (x, y) in layout.places.items()}
        curves = ([places[slot] for slot in route] for route in layout.routes if not large)
        return {
            "large": large,
            "nodes": [
                self.node(each) | {"x": places[number][0], "y": places[number][1]}
                for number, each in enumerate(nodes)
            ],
            "edges": edges,
            "paths": [curve(points, _WIDTH, _HEIGHT, _ACROSS) for points in curves],
            "node": [_WIDTH, _HEIGHT],
            "width": max((x for x, _ in places.values()), default=0) + _WIDTH,
            "height": max((y for _, y in places.values()), default=0) + _HEIGHT,
        }

    def node(self, node: str) -> dict[str, Any]:
        """Return what a drawing shows of a node or a group."""
        members = self.groups.get(node, ())
        found = self.found[members[0] if members else node]
        kind, title, text, key = found.node()
        marks = [self._marks[each][0] for each in members or (node,) if each in self._marks]
        if members:
            bad = [each for each in marks if each != "mended"]
            affected = f", {len(bad)} {'' if 'tainted' in bad else 'perhaps '}affected" if bad else ""
            title, text, key = count(len(members), kind), f"{cut(family(found), 16)}{affected}", ""
        return {
            "id": node,
            "kind": kind,
            "title": cut(title, 26),
            "text": cut(text, 36),
            "key": key,
            "mark": min(marks, key=_MARKS.index, default=""),
            "cut": node in self._graph.cut,
            "members": len(members),
        }

    def details(self, node: str) -> dict[str, Any] | None:
        """Return what is known of a node or a group; None if it is not in the graph."""
        if node in self.groups:
            return {**self.node(node), "reason": None}
        if (found := self.found.get(node)) is None:
            return None
        values = traced_values(found) if isinstance(found, IndexedVersion) else row(found)
        _, reason = self._marks.get(node, ("", None))
        return {**self.node(node), "title": found.node().title, "values": values, "reason": reason}

    def named(self, node: str, words: Iterable[str]) -> bool:
        """Return whether the name of a version or a run contains all words."""
        name = " ".join((self.found[node].node().title, self.found[node].node().key)).lower()
        return all(word in name for word in words)


def _graph(asked: Asked, depth: int | None) -> Graph:
    lineage, both = asked.repository.lineage, ("up", "down")
    how: dict[str, Any] = {name: asked.text(name) != "0" for name in both} | {"depth": depth, "limit": _NODES}
    if asked.text("run"):
        return lineage.graph_of_run(asked.text("run"), **how)
    return lineage.graph(asked.text("ref"), **how) if asked.text("ref") else lineage.graph_of_all(_NODES)


def _impact(asked: Asked) -> tuple[dict[str, tuple[str, str]], dict[str, dict[str, int]] | None]:
    """Return the mark of each node with its reason, and the numbers of what is affected."""
    if not (asked.text("ref") and asked.text("impact") == "1"):
        return {}, None
    path = asked.text("path")
    found = asked.repository.lineage.impact(asked.text("ref"), [path] if path else None)
    possible = {each.row for each in found.possible}
    marks = {f"v{each.row}": ("mended", f"made again by {run.key}") for each, run in found.mended}
    for each, reason in found.versions:
        marks[f"v{each.row}"] = ("perhaps" if each.row in possible else "tainted", reason)
    for run, reason, certain in found.runs:
        marks[f"r{run.row}"] = ("tainted" if certain else "perhaps", reason)
    kinds = Counter((mark, node[0]) for node, (mark, _) in marks.items())
    return marks, {mark: {"version": kinds[mark, "v"], "run": kinds[mark, "r"]} for mark in _MARKS}
