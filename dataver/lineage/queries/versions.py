"""Origin and uses of a version: one step, or as a graph of any depth."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from dataver.html_repr import card, note
from dataver.lineage.queries.drawing import Node, draw
from dataver.lineage.queries.resolve import find_version
from dataver.lineage.queries.results import IndexedLink, IndexedRun, IndexedVersion, VersionAnswer
from dataver.lineage.queries.rows import links_where, runs_of, versions_of
from dataver.printable import count
from dataver.short_repr import short_repr

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

__all__ = ["Edge", "Graph", "describe_version", "graph_of_all", "graph_of_run", "graph_of_version"]

_NEWEST = """SELECT 'v' || id, created AS time FROM versions WHERE created IS NOT NULL
    UNION ALL SELECT 'r' || id, started FROM runs WHERE part_of IS NULL ORDER BY time DESC LIMIT ?"""


class Edge(NamedTuple):
    """An edge from a cause to an effect; nodes are `v<number>` and `r<number>`.

    Attributes:
        source: the node of the cause.
        target: the node of the effect.
        label: `input`, `output` or `parent`.
    """

    source: str
    target: str
    label: str


@dataclass(slots=True)
class Graph:
    """A part of the lineage: versions and runs, and the edges between them.

    Attributes:
        start: the node of the query; empty for a whole lineage.
        versions: versions by node.
        runs: runs by node.
        edges: from causes to effects.
        cut: nodes with further edges, at the maximum depth or where the limit was reached.
    """

    start: str
    versions: dict[str, IndexedVersion] = field(default_factory=dict)
    runs: dict[str, IndexedRun] = field(default_factory=dict)
    edges: set[Edge] = field(default_factory=set)
    cut: set[str] = field(default_factory=set)

    __repr__ = short_repr

    def _repr_html_(self) -> str:
        nodes = {name: each.node() for name, each in self.versions.items()}
        nodes |= {name: each.node() for name, each in self.runs.items()}
        start = nodes.get(self.start, Node("version", "nothing", "", ""))
        ends = ((nodes.get(each.source), nodes.get(each.target), each.label) for each in self.edges)
        links = ((source, target, label) for source, target, label in ends if source and target)
        kind = f"lineage · {count(len(self.versions), 'version')}, {count(len(self.runs), 'run')}"
        cut = note(f"{count(len(self.cut), 'node')} with further edges") if self.cut else ""
        return card(start.title, kind, draw(start, links), cut)


def describe_version(db: sqlite3.Connection, ref: str) -> VersionAnswer:
    """Return the origin and the uses of a version, one step each way.

    Raises:
        NotFound: no such version.
        InvalidInput: not a ref.
    """
    number = find_version(db, ref)
    links = links_where(db, "l.version = ?", [number])
    parents = [
        row[0]
        for row in db.execute("SELECT parent FROM parents WHERE version = ? ORDER BY position", [number])
    ]
    children = [row[0] for row in db.execute("SELECT version FROM parents WHERE parent = ?", [number])]
    same = [
        row[0]
        for row in db.execute(
            "SELECT o.id FROM versions v JOIN versions o ON o.tree = v.tree AND o.id != v.id WHERE v.id = ?",
            [number],
        )
    ]
    versions = versions_of(db, [number, *parents, *children, *same])
    runs = runs_of(db, [link.run_row for link in links])
    return VersionAnswer(
        version=versions[number],
        consumed=_with_runs(links, runs, "input"),
        produced=_with_runs(links, runs, "output"),
        parents=[versions[each] for each in parents],
        children=_by_time(versions[each] for each in children),
        same=_by_time(versions[each] for each in same),
    )


def graph_of_version(
    db: sqlite3.Connection,
    ref: str,
    *,
    up: bool = True,
    down: bool = True,
    depth: int | None = None,
    limit: int | None = None,
) -> Graph:
    """Return causes and effects of a version, through runs and parents.

    Args:
        db: the index.
        ref: the version.
        up: include causes.
        down: include effects.
        depth: maximum number of edges from the start; None means no limit.
        limit: maximum number of nodes; None means no limit.
    """
    return _walk(db, f"v{find_version(db, ref)}", up=up, down=down, depth=depth, limit=limit)


def graph_of_run(
    db: sqlite3.Connection,
    number: int,
    *,
    up: bool = True,
    down: bool = True,
    depth: int | None = None,
    limit: int | None = None,
) -> Graph:
    """Return causes and effects of a run."""
    return _walk(db, f"r{number}", up=up, down=down, depth=depth, limit=limit)


def graph_of_all(db: sqlite3.Connection, limit: int) -> Graph:
    """Return the newest versions and runs, with the edges between them."""
    nodes = {node: None for node, _ in db.execute(_NEWEST, [limit])}
    edges = _edges(db, nodes, forward=True)
    return _filled(db, Graph("", edges={each for each in edges if each.target in nodes}), nodes)


def _walk(
    db: sqlite3.Connection, start: str, *, up: bool, down: bool, depth: int | None, limit: int | None
) -> Graph:
    graph = Graph(start)
    nodes = {start: None}
    for forward in [False] * up + [True] * down:
        frontier, seen, steps = [start], {start}, 0
        while frontier:
            edges = set(_edges(db, frontier, forward=forward))
            if depth is not None and steps >= depth:
                graph.cut |= {each.source if forward else each.target for each in edges - graph.edges}
                break
            graph.edges |= edges
            reached = {each.target if forward else each.source for each in edges}
            frontier = sorted(reached - seen)
            if limit is not None:
                frontier = frontier[: max(0, limit - len(nodes.keys() | seen))]
            seen.update(frontier)
            steps += 1
        nodes |= dict.fromkeys(seen)
    inside = {each for each in graph.edges if each.source in nodes and each.target in nodes}
    graph.cut |= {end for each in graph.edges - inside for end in (each.source, each.target) if end in nodes}
    graph.edges = inside
    return _filled(db, graph, nodes)


def _filled(db: sqlite3.Connection, graph: Graph, nodes: Iterable[str]) -> Graph:
    graph.versions = {f"v{key}": value for key, value in versions_of(db, _numbers(nodes, "v")).items()}
    graph.runs = {f"r{key}": value for key, value in runs_of(db, _numbers(nodes, "r")).items()}
    return graph


def _edges(db: sqlite3.Connection, nodes: Iterable[str], *, forward: bool) -> Iterator[Edge]:
    """Yield the edges from these nodes to effects (forward) or causes."""
    near = ("version", "run", "parent") if forward else ("run", "version", "version")
    numbers = {"run": json.dumps(_numbers(nodes, "r"))}
    inside = [f"{column} IN (SELECT value FROM json_each(?))" for column in near]  # noqa: S608
    rows = db.execute(
        f"""SELECT 'v' || version, 'r' || run, role FROM links WHERE {inside[0]} AND role = 'input'
            AND version IS NOT NULL
        UNION SELECT 'r' || run, 'v' || version, role FROM links WHERE {inside[1]} AND role = 'output'
            AND version IS NOT NULL
        UNION SELECT 'v' || parent, 'v' || version, 'parent' FROM parents WHERE {inside[2]}""",  # noqa: S608
        [numbers.get(column) or json.dumps(_numbers(nodes, "v")) for column in near],
    )
    return map(Edge._make, rows)


def _numbers(nodes: Iterable[str], kind: str) -> list[int]:
    return [int(node[1:]) for node in nodes if node[0] == kind]


def _with_runs(
    links: list[IndexedLink], runs: dict[int, IndexedRun], role: str
) -> list[tuple[IndexedRun, IndexedLink]]:
    return [(runs[link.run_row], link) for link in links if link.role == role]


def _by_time(versions: Iterable[IndexedVersion]) -> list[IndexedVersion]:
    return sorted(versions, key=lambda each: (each.created is None, each.created, each.ref))
