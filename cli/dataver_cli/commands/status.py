"""`dataver status`."""

from itertools import chain

import click

from dataver.documents import diff_values
from dataver_cli.command import draft_option, subcommand
from dataver_cli.output import count, size
from dataver_cli.render import diff_lines, diff_summary
from dataver_cli.session import Session


@subcommand(
    "status",
    examples="""
        dataver status
        dataver status --stat           # counts only
    """,
)
@click.option("--stat", is_flag=True, help="Counts only.")
@draft_option
def command(session: Session, stat: bool, draft: str | None) -> None:
    """Show the changes of the draft.

    The draft is compared with its parent, or with the merged parents if there are several.
    """
    target = session.draft(draft)
    published = target.version().ref if target.status_name == "uploaded" else None
    diff = target.status()
    summary = target.tree.summary()
    values = {
        "draft": target.id,
        "dataset": target.dataset,
        "status": target.status_name,
        "published": published,
        "parents": target.parents,
        "conflicts": target.conflicts,
        "files": summary.files,
        "size": summary.size,
        **({"summary": diff.summary()} if stat else diff_values(diff)),
    }
    since = f", from {', '.join(target.parents)}" if target.parents else ""
    named = f" as {published}" if published else ""
    state = f"{target.status_name}{named}{since}: {count(summary.files, 'file')}, {size(summary.size)}."
    session.out.show(
        values,
        chain(
            (f"Draft {target.id} of {target.dataset}, {state}",),
            () if stat else diff_lines(diff),
            (f"Changes: {diff_summary(diff)}.",),
        ),
    )
