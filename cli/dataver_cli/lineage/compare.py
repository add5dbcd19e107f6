"""`dataver lineage compare`."""

from typing import TYPE_CHECKING, Any

import click

from dataver.documents import diff_values, link_values, run_values
from dataver_cli.command import subcommand
from dataver_cli.render import diff_lines, diff_summary
from dataver_cli.render_lineage import open_lineage, part_text
from dataver_cli.session import Session

if TYPE_CHECKING:
    from dataver import Diff
    from dataver.lineage.lineage import Lineage
    from dataver.lineage.queries.compare import Pair
    from dataver.lineage.queries.results import IndexedLink


@subcommand(
    "compare",
    examples="""
        dataver lineage compare mlflow:4f1c mlflow:9d02
        dataver lineage compare 4f1c 9d02 --stat
    """,
)
@click.argument("first")
@click.argument("second")
@click.option("--stat", is_flag=True, help="Counts only.")
def command(session: Session, first: str, second: str, stat: bool) -> None:
    """Show whether two runs read the same data, and the differences.

    Files are compared by content: their paths, versions and datasets, and the way in which they were read,
    do not matter. Only files that one of the runs read are listed.
    """
    lineage = open_lineage(session)
    found = lineage.compare(first, second)
    values: dict[str, Any] = {
        "first": run_values(found.first.run),
        "second": run_values(found.second.run),
        "same": found.same,
        "common": [link_values(each) for each in found.common],
        "pairs": [],
    }
    lines = [f"{each.ref}  {part_text(each)}: read by both" for each in found.common]
    for pair in found.pairs:
        diff = _diff(lineage, pair)
        lines.append(
            f"{_side(pair.first)} -> {_side(pair.second)}" + (f": {diff_summary(diff)}" if diff else "")
        )
        if diff and not stat:
            lines += [f"  {line}" for line in diff_lines(diff)]
        values["pairs"].append(
            {
                "dataset": pair.dataset,
                "first": pair.first and link_values(pair.first),
                "second": pair.second and link_values(pair.second),
                "diff": None if diff is None else diff.summary() if stat else _values(diff),
            }
        )
    if not found.common and not found.pairs:
        lines = ["no data is recorded for either run"]
    session.out.show(values, lines)
    certain = all(each.used for each in (*found.first.inputs, *found.second.inputs))
    doubt = "" if certain else ", if they used the data that was available to them"
    session.out.note(f"The two runs read {'the same' if found.same else 'different'} data{doubt}.")


def _values(diff: "Diff") -> dict[str, Any]:
    values = diff_values(diff)
    return {"summary": values.pop("summary"), **{kind: list(changes) for kind, changes in values.items()}}


def _diff(lineage: "Lineage", pair: "Pair") -> "Diff | None":
    """Return the difference of the data of two runs; None if one read nothing or a tree does not exist."""
    from dataver import Diff, NotFound

    if pair.first is None or pair.second is None:
        return None
    try:
        return Diff.of(lineage.changes(pair))
    except NotFound:
        return None


def _side(link: "IndexedLink | None") -> str:
    if link is None:
        return "(not read)"
    return link.ref + (f" [{part_text(link)}]" if link.subset or not link.used else "")
