"""`dataver diff`."""

import click

from dataver_cli.command import option, ref_argument, subcommand
from dataver_cli.render import diff_lines, diff_summary, diff_values
from dataver_cli.session import Session


@subcommand(
    "diff",
    examples="""
        dataver diff vision/cats@1.0.0 vision/cats@1.0.1
        dataver diff vision/cats@production            # changes up to the latest version
        dataver diff vision/cats@1.0.0 vision/dogs --stat
    """,
)
@ref_argument("old", required=False)
@ref_argument("new", required=False)
@click.option("--stat", is_flag=True, help="Counts only.")
@option("--source", hidden=True)
@option("--target", hidden=True)
def command(
    session: Session, old: str | None, new: str | None, stat: bool, source: str | None, target: str | None
) -> None:
    """Show the differences between two versions.

    A marks added, D removed, M modified and R renamed paths. With one REF, compares it with the latest
    version of the same dataset.
    """
    before, after = source or old, target or new
    if before is None:
        raise click.UsageError("missing version: dataver diff OLD NEW")
    repository = session.repository()
    one = repository.version(before)
    two = repository.version(after or one.dataset)
    diff = repository.diff(one.ref, two.ref)
    values = {"old": one.ref, "new": two.ref, **({"summary": diff.summary()} if stat else diff_values(diff))}
    lines = [] if stat else list(diff_lines(diff)) if not session.out.as_json else []
    session.out.show(values, [*lines, f"{one.ref} -> {two.ref}: {diff_summary(diff)}."])
