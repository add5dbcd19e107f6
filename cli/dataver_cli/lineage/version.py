"""`dataver lineage version`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from dataver.documents import link_values, run_values, traced_values
from dataver_cli.command import ref_argument, subcommand
from dataver_cli.output import SHORT, when
from dataver_cli.render_lineage import (
    graph_options,
    indented,
    open_lineage,
    part_text,
    run_cells,
    runs_table,
    show_graph,
    traced_name,
)
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver.lineage.queries.results import VersionAnswer


@subcommand(
    "version",
    examples="""
        dataver lineage version vision/cats@1.0.1
        dataver lineage version vision/cats@production --down           # everything made from it
        dataver lineage version vision/cats@1.0.1 --up --depth 3
        dataver lineage version vision/cats@1.0.1 --dot | dot -Tsvg > cats.svg
    """,
)
@ref_argument()
@click.option("--up", is_flag=True, help="Show its origins, through runs and parents.")
@click.option("--down", is_flag=True, help="Show everything made from it, through runs and children.")
@click.option("--depth", type=click.IntRange(min=1), help="Number of steps to follow. Default: all.")
@graph_options
def command(session: Session, ref: str, up: bool, down: bool, depth: int | None, drawing: str | None) -> None:
    """Show which runs consumed or produced a version, and what was made from it.

    Shows one step in each direction. --up, --down, --dot and --mermaid show a graph over all steps.
    """
    lineage = open_lineage(session)
    if up or down or depth or drawing:
        both = not (up or down)
        show_graph(session, lineage.graph(ref, up=up or both, down=down or both, depth=depth), drawing)
        return
    answer = lineage.version(ref)
    values = {
        **traced_values(answer.version),
        "consumed_by": [{**run_values(run), "link": link_values(link)} for run, link in answer.consumed],
        "produced_by": [{**run_values(run), "link": link_values(link)} for run, link in answer.produced],
        "parents": [traced_values(each) for each in answer.parents],
        "children": [traced_values(each) for each in answer.children],
        "same_content": [traced_values(each) for each in answer.same],
    }
    session.out.show(values, _lines(answer))


def _lines(answer: "VersionAnswer") -> Iterator[str]:
    version = answer.version
    deleted = "" if version.deleted is None else f"  deleted {when(version.deleted)}"
    elsewhere = "" if version.known or deleted else "  (of another repository)"
    yield from indented(
        "version", [f"{version.ref}  {(version.digest or '')[: 4 + SHORT]}{deleted}{elsewhere}"]
    )
    yield from indented("same as", map(traced_name, answer.same))
    yield from indented("made from", map(traced_name, answer.parents))
    yield from indented("made by", runs_table([run_cells(run) for run, _ in answer.produced]))
    rows = [(*run_cells(run), part_text(link)) for run, link in answer.consumed]
    yield from indented("read by", runs_table(rows) or ["no known run"])
    yield from indented("became", map(traced_name, answer.children))
