"""`dataver lineage impact`."""

from dataver_cli.command import option, ref_argument, subcommand
from dataver_cli.output import count, table
from dataver_cli.session import Session
from dataver_cli.tracing import indented, open_lineage, run_cells, run_values, traced_values


@subcommand(
    "impact",
    examples="""
        dataver lineage impact vision/cats@1.0.0
        dataver lineage impact vision/cats@1.0.0 --paths 'train/bad/**'   # only what these files reached
    """,
)
@ref_argument()
@option(
    "--paths", also=["--path"], multiple=True, metavar="GLOB", help="Only these files are bad. Repeatable."
)
def command(session: Session, ref: str, paths: tuple[str, ...]) -> None:
    """Show which runs and versions are tainted if some data is bad.

    A version is tainted where it holds the bad content under any name, was made from a version that is bad as
    a whole, or was produced by a tainted run; a run where it read the bad part of a tainted version.
    """
    found = open_lineage(session).impact(ref, list(paths) or None)
    values = {
        "versions": [{**traced_values(each), "reason": reason} for each, reason in found.versions],
        "runs": [
            {**run_values(run), "reason": reason, "certain": certain} for run, reason, certain in found.runs
        ],
    }
    runs = [
        (*run_cells(run), reason + ("" if certain else " (perhaps)")) for run, reason, certain in found.runs
    ]
    lines = [
        *indented("versions", table([(each.ref, reason) for each, reason in found.versions]) or ["none"]),
        *indented("runs", table(runs) or ["none that is known"]),
    ]
    session.out.show(values, lines)
    session.out.note(
        f"{count(len(found.versions), 'version')} and {count(len(found.runs), 'run')} are tainted."
    )
