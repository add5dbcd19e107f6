"""Runs, links and graphs as JSON values and as lines of text: the same in every command of lineage."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from dataver_cli.output import count, duration, size, when
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver.formats.event import Subset
    from dataver.lineage.lineage import Lineage
    from dataver.lineage.questions.answers import Link, Run, Version
    from dataver.lineage.questions.versions import Graph

__all__ = [
    "graph_options",
    "link_cells",
    "link_values",
    "open_lineage",
    "outcome",
    "run_cells",
    "run_values",
    "show_graph",
    "subset_text",
    "traced_values",
]

Function = Callable[..., object]
_NAMES = 2  # patterns or paths shown in a line


def open_lineage(session: Session) -> "Lineage":
    """Return the lineage of the repository, brought up to date; says so where it could not be."""
    lineage = session.repository().lineage
    with session.progress("Reading lineage", "object") as progress:
        problem = lineage.refresh(progress)
    if problem:
        session.out.warn(f"this is what was known here at last: {problem}")
    return lineage


def graph_options(function: Function) -> Function:
    """Take `--dot` and `--mermaid`."""
    for each in (
        click.option("--mermaid", "drawing", flag_value="mermaid", help="Print the graph for Mermaid."),
        click.option("--dot", "drawing", flag_value="dot", help="Print the graph for Graphviz."),
    ):
        function = each(function)
    return function


def show_graph(session: Session, graph: "Graph", drawing: str | None) -> None:
    """Print a graph as text, for Graphviz or for Mermaid, or as JSON."""
    from dataver.lineage.questions.drawing import as_dot, as_mermaid, as_text

    values = {
        "start": graph.start,
        "versions": {node: traced_values(each) for node, each in sorted(graph.versions.items())},
        "runs": {node: run_values(each) for node, each in sorted(graph.runs.items())},
        "edges": [
            {"source": each.source, "target": each.target, "label": each.label}
            for each in sorted(graph.edges)
        ],
        "cut": sorted(graph.cut),
    }
    lines = {"dot": as_dot, "mermaid": as_mermaid}.get(drawing or "", as_text)(graph)
    session.out.show(values, lines)


def traced_values(version: "Version") -> dict[str, Any]:
    """Return what the index knows of a version."""
    return {
        "ref": version.ref,
        "digest": version.digest,
        "record": version.record,
        "known": version.known,
        "created": _time(version.created),
        "message": version.message,
        "files": version.files,
        "size": version.size,
    }


def run_values(run: "Run") -> dict[str, Any]:
    """Return a run in a few values."""
    return {
        "run": run.key,
        "name": run.name,
        "started": _time(run.started),
        "ended": _time(run.ended),
        "outcome": run.outcome,
        "user": run.user,
        "host": run.host,
        "commit": run.commit,
        "part_of": run.part_of,
        "contexts": [{"key": each.key, "kind": each.kind, "facts": each.facts} for each in run.contexts],
    }


def link_values(link: "Link") -> dict[str, Any]:
    """Return a link."""
    return {
        "role": link.role,
        "ref": link.ref,
        "digest": link.digest,
        "record": link.record,
        "subset": link.subset.values(),
        "files": link.files,
        "size": link.size,
        "time": _time(link.time),
        "how": link.how,
        "context": link.context,
    }


def run_cells(run: "Run") -> tuple[str, ...]:
    """Return a run as cells of a table: key, name, when, outcome, who."""
    who = f"{run.user or '?'} on {run.host}" if run.host else run.user or ""
    return (run.key, run.name or "-", when(run.started), outcome(run), who)


def link_cells(link: "Link") -> tuple[str, ...]:
    """Return a link as cells of a table: version, files, size, which part, how."""
    return (link.ref, count(link.files, "file"), size(link.size), subset_text(link.subset), link.how)


def outcome(run: "Run") -> str:
    """Return how a run ended and how long it took."""
    if run.ended is None:
        return "open"
    return f"{run.outcome or 'ended'}, {duration(max(0.0, (run.ended - run.started).total_seconds()))}"


def subset_text(subset: "Subset") -> str:
    """Return which part of a version was read, in a few words."""
    if not subset:
        return "whole"
    parts = [_few(subset.patterns)] if subset.patterns else []
    if subset.paths:
        parts.append(_few(subset.paths))
    if subset.listed:
        parts.append("a list of files")
    if subset.shard:
        parts.append(f"shard {subset.shard[0]} of {subset.shard[1]}")
    return ", ".join(parts)


def _few(names: Iterable[str]) -> str:
    every = list(names)
    return " ".join(every[:_NAMES]) + (f" and {len(every) - _NAMES} more" if len(every) > _NAMES else "")


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def indented(title: str, lines: Iterable[str]) -> Iterator[str]:
    """Yield lines behind a title, the first beside it."""
    for number, line in enumerate(lines):
        yield f"{title if number == 0 else '':<10}{line}"
