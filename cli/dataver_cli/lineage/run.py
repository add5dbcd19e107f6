"""`dataver lineage run`."""

from collections.abc import Iterator
from operator import itemgetter
from typing import TYPE_CHECKING

import click

from dataver.documents import answer_values
from dataver_cli.command import subcommand
from dataver_cli.output import table, when
from dataver_cli.render_lineage import (
    graph_options,
    indented,
    link_cells,
    open_lineage,
    outcome,
    show_graph,
)
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver.lineage.queries.results import RunAnswer


@subcommand(
    "run",
    examples="""
        dataver lineage run mlflow:4f1c                # any tracker's id, or the start of it
        dataver lineage run 4f1c --json
        dataver lineage run slurm:1234 --graph         # its origins and its results
        dataver lineage run 4f1c --mermaid > run.mmd
    """,
)
@click.argument("run")
@click.option(
    "--graph", is_flag=True, help="Show the graph of the run's origins and results, over all steps."
)
@click.option("--depth", type=click.IntRange(min=1), help="With a graph: number of steps.")
@graph_options
def command(session: Session, run: str, graph: bool, depth: int | None, drawing: str | None) -> None:
    """Show which versions a run consumed and produced, and its details.

    RUN is the id from any system (mlflow:…, clearml:…, wandb:…, slurm:…), dataver's own id, or an unambiguous
    beginning of one, with or without the system's name.
    """
    lineage = open_lineage(session)
    if graph or drawing:
        show_graph(session, lineage.graph_of_run(run, depth=depth), drawing)
        return
    answer = lineage.run(run)
    session.out.show(answer_values(answer), _lines(answer))


def _lines(answer: "RunAnswer") -> Iterator[str]:
    run, facts = answer.run, answer.facts
    yield from indented("run", [run.key + (f"  {run.name}" if run.name else "")])
    who = f", {run.user or '?'} on {run.host}" if run.host else ""
    yield from indented("when", [f"{when(run.started)}, {outcome(run)}{who}"])
    yield from indented(
        "in", [_context(each.key, each.facts) for each in run.contexts if each.key != run.key]
    )
    git = facts.get("git")
    if isinstance(git, dict) and git.get("commit"):
        dirty = ", with uncommitted changes" if git.get("dirty") else ""
        yield from indented("code", [f"{str(git['commit'])[:12]}{dirty}  {git.get('remote') or ''}".rstrip()])
    if answer.command:
        import shlex

        yield from indented("command", [shlex.join(answer.command)])
    consumed = sorted(map(link_cells, answer.inputs), key=itemgetter(0, 3))  # workers end in any order
    yield from indented("consumed", table(consumed) or ["nothing"])
    yield from indented("produced", table([link_cells(each) for each in answer.outputs]) or ["nothing"])
    if run.part_of:
        yield from indented("merged into", [run.part_of])


def _context(key: str, facts: dict[str, str]) -> str:
    shown = ", ".join(f"{name} {value}" for name, value in sorted(facts.items()) if name != "url")
    return key + (f"  ({shown})" if shown else "")
