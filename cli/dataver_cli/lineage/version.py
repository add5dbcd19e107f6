"""`dataver lineage version`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from dataver_cli.command import ref_argument, subcommand
from dataver_cli.output import table
from dataver_cli.session import Session
from dataver_cli.tracing import (
    graph_options,
    indented,
    link_values,
    open_lineage,
    run_cells,
    run_values,
    show_graph,
    subset_text,
    traced_values,
)

if TYPE_CHECKING:
    from dataver.lineage.questions.answers import VersionAnswer


@subcommand(
    "version",
    examples="""
        dataver lineage version vision/cats@1.0.1
        dataver lineage version vision/cats@production --down           # everything that came of it
        dataver lineage version vision/cats@1.0.1 --up --depth 3
        dataver lineage version vision/cats@1.0.1 --dot | dot -Tsvg > cats.svg
    """,
)
@ref_argument()
@click.option("--up", is_flag=True, help="Show what led to it, through runs and parents.")
@click.option("--down", is_flag=True, help="Show what came of it, through runs and children.")
@click.option("--depth", type=click.IntRange(min=1), help="How many steps to follow; all unless told.")
@graph_options
def command(session: Session, ref: str, up: bool, down: bool, depth: int | None, drawing: str | None) -> None:
    """Show which runs consumed or produced a version, and what came of it.

    One step each way; with --up, --down, --dot or --mermaid as a graph of any number of steps.
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
    gone = "" if version.known else "  (deleted, or of another repository)"
    yield from indented("version", [f"{version.ref}  {(version.digest or '')[:16]}{gone}"])
    yield from indented("same as", [each.ref for each in answer.same])
    yield from indented("made from", [each.ref for each in answer.parents])
    yield from indented("made by", table([run_cells(run) for run, _ in answer.produced]))
    rows = [(*run_cells(run), subset_text(link.subset)) for run, link in answer.consumed]
    yield from indented("read by", table(rows) or ["no run that is known"])
    yield from indented("became", [each.ref for each in answer.children])
