"""Rendering of graphs as text for a terminal, for Graphviz (`dot`) and for Mermaid; names are escaped."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataver.lineage.queries.results import IndexedRun, IndexedVersion
    from dataver.lineage.queries.versions import Edge, Graph

__all__ = ["as_dot", "as_mermaid", "as_text", "run_title", "version_title"]

_ARROWS = {"input": "read by", "output": "produced", "parent": "became"}


def version_title(version: IndexedVersion) -> str:
    """Return a short description of a version."""
    return version.ref + ("" if version.known else " (deleted or elsewhere)")


def run_title(run: IndexedRun) -> str:
    """Return a short description of a run: its name, if it has one, and its key."""
    system, _, native = run.key.partition(":")
    short = f"{system}:{native[:12]}…" if len(native) > 16 else run.key
    return f"{run.name} ({short})" if run.name else short


def as_text(graph: Graph) -> Iterator[str]:
    """Yield lines: causes above the start, effects below it, each once, indented by depth."""
    causes, effects = _neighbours(graph, forward=False), _neighbours(graph, forward=True)
    above = list(_indented(graph, causes, forward=False))
    yield from reversed(above)
    yield f"● {_title(graph, graph.start)}"
    yield from _indented(graph, effects, forward=True)


def as_dot(graph: Graph) -> Iterator[str]:
    """Yield the lines of a Graphviz digraph."""
    yield "digraph lineage {"
    yield '  rankdir=LR; node [fontname="sans-serif", fontsize=10];'
    for node in sorted([*graph.versions, *graph.runs]):
        shape = "box" if node in graph.versions else "ellipse"
        bold = ", penwidth=2" if node == graph.start else ""
        yield f'  {node} [shape={shape}{bold}, label="{_dot(_title(graph, node))}"];'
    for edge in sorted(graph.edges):
        style = ", style=dashed" if edge.label == "parent" else ""
        yield f'  {edge.source} -> {edge.target} [label="{edge.label}"{style}];'
    yield "}"


def as_mermaid(graph: Graph) -> Iterator[str]:
    """Yield the lines of a Mermaid flowchart."""
    yield "flowchart LR"
    for node in sorted(graph.versions):
        yield f'  {node}["{_mermaid(_title(graph, node))}"]'
    for node in sorted(graph.runs):
        yield f'  {node}(["{_mermaid(_title(graph, node))}"])'
    for edge in sorted(graph.edges):
        arrow = "-.->" if edge.label == "parent" else "-->"
        yield f"  {edge.source} {arrow}|{edge.label}| {edge.target}"


def _title(graph: Graph, node: str) -> str:
    version = graph.versions.get(node)
    if version is not None:
        return version_title(version)
    return run_title(graph.runs[node]) if node in graph.runs else node


def _neighbours(graph: Graph, *, forward: bool) -> dict[str, list[Edge]]:
    found: defaultdict[str, list[Edge]] = defaultdict(list)
    for edge in sorted(
        graph.edges, key=lambda each: (_title(graph, each.target), _title(graph, each.source))
    ):
        found[edge.source if forward else edge.target].append(edge)
    return found


def _indented(graph: Graph, neighbours: dict[str, list[Edge]], *, forward: bool) -> Iterator[str]:
    shown = {graph.start}
    waiting = [(edge, 1) for edge in reversed(neighbours.get(graph.start, []))]
    while waiting:
        edge, depth = waiting.pop()
        node = edge.target if forward else edge.source
        again = node in shown
        more = " …" if node in graph.cut else " (see there)" if again and neighbours.get(node) else ""
        mark = "└─" if forward else "┌─"
        words = _ARROWS[edge.label]
        yield (
            f"{'   ' * (depth - 1)}{mark} {words} → {_title(graph, node)}{more}"
            if forward
            else (f"{'   ' * (depth - 1)}{mark} {_title(graph, node)} {words} →{more}")
        )
        if not again:
            shown.add(node)
            waiting += [(below, depth + 1) for below in reversed(neighbours.get(node, []))]


def _dot(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")


def _mermaid(text: str) -> str:
    """Replace characters with a meaning in Mermaid by entity codes."""
    return "".join(each if each.isalnum() or each in " @./:_-()" else f"#{ord(each)};" for each in text)
