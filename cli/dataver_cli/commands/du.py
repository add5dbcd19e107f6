"""`dataver du`."""

import click

from dataver.documents import usage_report_values
from dataver_cli.command import subcommand
from dataver_cli.completing import complete_ref
from dataver_cli.output import size, table
from dataver_cli.session import Session


@subcommand(
    "du",
    examples="""
        dataver du                      # all datasets
        dataver du vision/cats          # its versions
        dataver du vision/cats@1.0.0    # what deleting this version would free
        dataver du --json
    """,
)
@click.argument("name", required=False, shell_complete=complete_ref)
def command(session: Session, name: str | None) -> None:
    """Show the size of datasets and versions, and what deleting them would free.

    LOGICAL is the size of the files, and COMPRESSED the stored size of their content. STORED is the size of
    the packs and tree blocks that they need; SHARED is the part that other versions need as well, and UNIQUE
    the part that deleting it frees. EXTERNAL, if present, is the size of external files; no other column
    includes it.
    """
    repository = session.repository()
    report = repository.du(name)
    rows = report.versions if name else report.datasets
    values = usage_report_values(report)
    header: tuple[str, ...] = (
        "NAME",
        "VERSIONS",
        "FILES",
        "LOGICAL",
        "COMPRESSED",
        "STORED",
        "SHARED",
        "UNIQUE",
    )
    outside = any(each.external for each in rows)
    cells = [
        (
            each.name,
            str(each.versions),
            f"{each.files:,}",
            size(each.logical),
            size(each.compressed),
            size(each.total),
            size(each.shared),
            size(each.unique),
            *([size(each.external)] if outside else []),
        )
        for each in rows
    ]
    header += ("EXTERNAL",) if outside else ()
    session.out.show(
        values, table(cells, header, right=range(1, 9), omit=(4, 3, 2), shorten=0) if cells else []
    )
    session.out.note(
        f"{repository.url} uses {size(report.stored)}: {size(report.needed)} for versions, "
        f"{size(report.unneeded)} that no version needs, {size(report.other)} for records, tags and lineage."
    )
