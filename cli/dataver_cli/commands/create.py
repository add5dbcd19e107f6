"""`dataver create`."""

import click

from dataver_cli.command import dataset_name, option, subcommand
from dataver_cli.completing import complete_ref
from dataver_cli.output import count
from dataver_cli.session import Session


@subcommand(
    "create",
    examples="""
        dataver create vision/cats                                     # an empty draft
        dataver create vision/cats --parent vision/cats                # from its latest version
        dataver create vision/pets --parent vision/cats --parent vision/dogs@2.0.0
    """,
)
@dataset_name
@option(
    "--parent",
    also=["--parents"],
    multiple=True,
    metavar="REF",
    shell_complete=complete_ref,
    help="Version to start from. Repeatable: if parents differ in a path, the later parent is used.",
)
def command(session: Session, name: str | None, parent: tuple[str, ...]) -> None:
    """Start a draft of the next version of a dataset.

    NAME is one or more parts of letters, digits, '.', '_' and '-', with '/' between them. The draft is kept
    in this folder's .dataver/ and is the one that the next commands use. Several drafts can be open; see
    `dataver drafts`.
    """
    if name is None:
        raise click.UsageError("missing dataset: dataver create NAME")
    repository = session.repository()
    draft = repository.create(name, parents=parent)
    files = draft.tree.summary().files
    values = {
        "draft": draft.id,
        "dataset": draft.dataset,
        "parents": draft.parents,
        "conflicts": draft.conflicts,
        "files": files,
    }
    start = f"from {', '.join(draft.parents)} ({count(files, 'file')})" if draft.parents else "empty"
    session.out.show(values, [f"Draft {draft.id} of {draft.dataset}, {start}, for {repository.url}."])
    for path in draft.conflicts[:20]:
        session.out.warn(f"the parents differ in {path}; the later parent's content was used")
    if len(draft.conflicts) > 20:
        session.out.warn(f"… and about {len(draft.conflicts) - 20:,} more paths (--json lists all)")
