"""The lineage around a version or a run, or of the whole repository, placed for a drawing.

Five or more nodes that are alike are drawn as one group (`lineage.queries.groups`). Up to `_DRAWN` nodes are
drawn by the template; more, and the whole repository, by `static/lineage.js`.
"""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from threading import Thread
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
_STARTS: Final = 50  # datasets, runs
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
    that is shown in detail; `q` and `page` of the list of nodes, or of the members of a group. Of a large
    drawing, nodes and edges are only in the document, which the page asks for.
    """
    here = {name: asked.text(name) for name in _STATE}
    if not (here["ref"] or here["run"] or here["all"]):
        return _starts(asked)
    made = asked.memory.get(("lineage", *here.values()), lambda: _Drawing(asked), _SECONDS)
    at, words = asked.text("at"), asked.text("q").lower().split()
    listed = [each for each in made.groups.get(at, made.found) if not words or made.named(each, words)]
    rows, position = asked.page(reversed(listed), len(listed))
    known = {"here": here, "q": asked.text("q"), "at": at, "selected": made.details(at), "place": position}
    draw = partial(asked.memory.get, ("drawing", *here.values()), made.draw, _SECONDS)
    drawn = draw() if asked.as_json or not made.about["large"] else {}
    if not (drawn or at or words):  # the page asks for it; a list or a preview does not
        Thread(target=draw, name="dataver-drawing", daemon=True).start()
    return {**known, **made.about, **drawn, "listed": [made.node(each, whole=True) for each in rows]}


def _starts(asked: Asked) -> dict[str, Any]:
    """Return the datasets and runs that `q` finds, newest first, and what it names exactly."""
    lineage, words, exact = asked.repository.lineage, asked.text("q").strip(), []
    chosen = [each.latest for each in asked.datasets() if words.lower() in each.name.lower()]
    chosen.sort(key=lambda each: each.created, reverse=True)
    for find in (lineage.version, lineage.run) if words else ():
        with suppress(InvalidInput, NotFound):
            found = find(words)
            exact.append((found.version if isinstance(found, VersionAnswer) else found.run).node()._asdict())
    return {
        "here": None,
        "q": words,
        "exact": exact,
        "versions": [{"ref": each.ref, "created": each.created.isoformat()} for each in chosen[:_STARTS]],
        "runs": [row(each) for each in lineage.runs(find=words or None, limit=_STARTS)],
    }


class _Drawing:
    """A graph with its groups and places.

    Attributes:
        found: versions and runs by node, oldest first.
        groups: the members of each group.
        about: what is drawn.
    """

    def __init__(self, asked: Asked) -> None:
        hops, everything = asked.number("hops", 2, 100), asked.text("all") == "1"
        self._graph = graph = _graph(asked, None if everything else hops)
        found: dict[str, _Found] = {**graph.versions, **graph.runs}
        self.found = dict(sorted(found.items(), key=lambda each: time_of(each[1])))
        self._marks, impact = _impact(asked)
        out = [each for each in asked.text("out").split(",") if each in found]
        self.groups = {} if everything else groups(graph, out)
        self._group = {each: name for name, members in self.groups.items() for each in members}
        self._nodes = list(dict.fromkeys(self._group.get(each, each) for each in self.found))
        title = found[graph.start].node().title if graph.start else None
        self.about = {"start": graph.start, "title": title, "hops": hops, "impact": impact, "out": out}
        self.about["large"] = len(self._nodes) > _DRAWN or not graph.start
        self.about |= {"number": len(self._nodes), "limit": _NODES if len(found) >= _NODES else None}

    def draw(self) -> dict[str, Any]:
        """Return nodes and edges with their places, and the curves of a small drawing."""
        numbers = {node: number for number, node in enumerate(self._nodes)}
        at = {each: numbers[self._group.get(each, each)] for each in self.found}
        edges = sorted({(at[each.source], at[each.target], each.label) for each in self._graph.edges})
        edges = [each for each in edges if each[0] != each[1]]
        how: dict[str, Any] = {"bends": 0, "tall": _TALL} if self.about["large"] else {}
        layout = place(range(len(self._nodes)), [each[:2] for each in edges], **how)
        places = {slot: (x * _ACROSS, round(y * _DOWN)) for slot, (x, y) in layout.places.items()}
        curves = ([places[slot] for slot in route] for route in layout.routes if not how)
        return {
            "nodes": [
                self.node(each) | dict(zip("xy", places[number], strict=True))
                for number, each in enumerate(self._nodes)
            ],
            "edges": edges,
            "paths": [curve(points, _WIDTH, _HEIGHT, _ACROSS) for points in curves],
            "node": [_WIDTH, _HEIGHT],
            "width": max((x for x, _ in places.values()), default=0) + _WIDTH,
            "height": max((y for _, y in places.values()), default=0) + _HEIGHT,
        }

    def node(self, node: str, *, whole: bool = False) -> dict[str, Any]:
        """Return what a drawing shows of a node or a group, with the `whole` title of a node in a list."""
        members = self.groups.get(node, ())
        found = self.found[members[0] if members else node]
        kind, title, text, key = found.node()
        marks = [self._marks[each][0] for each in members or (node,) if each in self._marks]
        if members:
            bad = [each for each in marks if each != "mended"]
            affected = f", {len(bad)} {'' if 'tainted' in bad else 'perhaps '}affected" if bad else ""
            title, text, key = count(len(members), kind), f"{cut(family(found), 16)}{affected}", ""
        known = {
            "id": node,
            "kind": kind,
            "key": key,
            "cut": node in self._graph.cut,
            "members": len(members),
        }
        title, mark = title if whole else cut(title, 26), min(marks, key=_MARKS.index, default="")
        return {**known, "title": title, "text": cut(text, 36), "mark": mark}

    def details(self, node: str) -> dict[str, Any] | None:
        """Return what is known of a node or a group; None if it is not in the graph."""
        if (found := self.found.get(node)) is None:
            return {**self.node(node), "reason": None} if node in self.groups else None
        values = traced_values(found) if isinstance(found, IndexedVersion) else row(found)
        reason = self._marks.get(node, ("", None))[1]
        return {**self.node(node, whole=True), "values": values, "reason": reason}

    def named(self, node: str, words: Iterable[str]) -> bool:
        """Return whether the name of a version or a run contains all words."""
        name = " ".join(self.found[node].node()[1::2]).lower()
        return all(word in name for word in words)


def _graph(asked: Asked, depth: int | None) -> Graph:
    lineage = asked.repository.lineage
    how: dict[str, Any] = {name: asked.text(name) != "0" for name in ("up", "down")}
    how |= {"depth": depth, "limit": _NODES}
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
