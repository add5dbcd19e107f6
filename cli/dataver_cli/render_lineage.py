"""Conversion of runs, links and graphs to JSON values and lines of text, for all lineage commands."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from dataver.documents import graph_values
from dataver_cli.output import count, duration, size, table, when
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver.lineage.lineage import Lineage
    from dataver.lineage.queries.results import IndexedLink, IndexedRun, IndexedVersion
    from dataver.lineage.queries.versions import Graph

__all__ = [
    "graph_options",
    "link_cells",
    "open_lineage",
    "outcome",
    "part_text",
    "run_cells",
    "runs_table",
    "show_graph",
    "traced_name",
]

Function = Callable[..., object]


def open_lineage(session: Session) -> "Lineage":
    """Return the updated lineage of the repository; warn if it could not be updated."""
    lineage = session.repository().lineage
    with session.progress("Reading lineage", "object") as progress:
        problem = lineage.refresh(progress)
    if problem:
        session.out.warn(f"the lineage could not be updated, so newer entries may be missing: {problem}")
    return lineage


def graph_options(function: Function) -> Function:
    """Declare `--dot` and `--mermaid`."""
    for each in (
        click.option("--mermaid", "drawing", flag_value="mermaid", help="Print the graph for Mermaid."),
        click.option("--dot", "drawing", flag_value="dot", help="Print the graph for Graphviz."),
    ):
        function = each(function)
    return function


def show_graph(session: Session, graph: "Graph", drawing: str | None) -> None:
    """Print a graph as text, for Graphviz or for Mermaid, or as JSON."""
    from dataver_cli.render_graph import as_dot, as_mermaid, as_text

    lines = {"dot": as_dot, "mermaid": as_mermaid}.get(drawing or "", as_text)(graph)
    session.out.show(graph_values(graph), lines)


def traced_name(version: "IndexedVersion") -> str:
    """Return a version's name, with a note if it was deleted or is only known from links."""
    if version.deleted is not None:
        return f"{version.ref} (deleted)"
    return version.ref if version.known else f"{version.ref} (not of this repository)"


def run_cells(run: "IndexedRun") -> tuple[str, ...]:
    """Return a run as cells of a table: key, name, start, outcome, user and host."""
    who = f"{run.user or '?'} on {run.host}" if run.host else run.user or ""
    return (run.key, run.name or "-", when(run.started), outcome(run), who)


def runs_table(rows: Sequence[Sequence[str]], header: Sequence[str] = (), margin: int = 10) -> list[str]:
    """Return rows that begin with `run_cells` as a table; a key may be shortened, as commands accept it."""
    return table(rows, header, omit=(4, 1), shorten=0, margin=margin)


def link_cells(link: "IndexedLink") -> tuple[str, ...]:
    """Return a link as cells of a table: version, files, size, subset, how."""
    return (link.ref, count(link.files, "file"), size(link.size), link.part, link.how)


def outcome(run: "IndexedRun") -> str:
    """Return the outcome of a run and its duration."""
    if run.ended is None:
        return "open"
    return f"{run.outcome or 'ended'}, {duration(max(0.0, (run.ended - run.started).total_seconds()))}"


def part_text(link: "IndexedLink") -> str:
    """Return a short description of the part that a run read, or that was available to it."""
    return link.part + ("" if link.used else ", available: it may have used it")


def indented(title: str, lines: Iterable[str]) -> Iterator[str]:
    """Yield lines with a title before the first one."""
    for number, line in enumerate(lines):
        yield f"{title if number == 0 else '':<10}{line}"
