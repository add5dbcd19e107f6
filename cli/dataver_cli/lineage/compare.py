"""`dataver lineage compare`."""

from typing import TYPE_CHECKING, Any

import click

from dataver_cli.command import subcommand
from dataver_cli.describing import diff_lines, diff_summary, diff_values
from dataver_cli.session import Session
from dataver_cli.tracing import link_values, open_lineage, run_values, subset_text

if TYPE_CHECKING:
    from dataver import Diff
    from dataver.lineage.lineage import Lineage
    from dataver.lineage.questions.answers import Link
    from dataver.lineage.questions.compare import Pair


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
    """Show whether two runs read the same data, and what differs.

    Same means the same content and the same part of it, under whatever name.
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
    lines = [f"{each.ref}  {subset_text(each.subset)}: read by both" for each in found.common]
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
                "diff": None if diff is None else diff.summary() if stat else diff_values(diff),
            }
        )
    if not found.common and not found.pairs:
        lines = ["neither run is known to have read anything"]
    session.out.show(values, lines)
    session.out.note(
        "The two runs read the same data." if found.same else "The two runs read different data."
    )


def _diff(lineage: "Lineage", pair: "Pair") -> "Diff | None":
    """Return the difference of two versions; None where one is missing or their trees are gone."""
    from dataver import Diff, NotFound

    if pair.first is None or pair.second is None:
        return None
    try:
        return Diff.of(lineage.changes(pair))
    except NotFound:
        return None


def _side(link: "Link | None") -> str:
    if link is None:
        return "(not read)"
    return link.ref + (f" [{subset_text(link.subset)}]" if link.subset else "")
