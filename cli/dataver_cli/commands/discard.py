"""`dataver discard`."""

from typing import TYPE_CHECKING

import click

from dataver_cli.command import draft_option, subcommand
from dataver_cli.render import diff_summary
from dataver_cli.session import Session, draft_place

if TYPE_CHECKING:
    from dataver import Draft


@subcommand(
    "discard",
    examples="""
        dataver discard
        dataver discard --draft 3fa9 --yes
    """,
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@draft_option
def command(session: Session, yes: bool, draft: str | None) -> None:
    """Delete a draft.

    Asks first; without a terminal, --yes is required. Uploaded data stays in the repository. A draft that is
    damaged, or whose repository does not exist any more, can be deleted as well.
    """
    from dataver.errors import IntegrityError, NotFound, StoreError
    from dataver.ingest.current_draft import drop_draft

    workspace, identity = draft_place(draft)
    target: Draft | None = None
    values: dict[str, object] = {"draft": identity, "dataset": None, "discarded": True}
    try:
        state = session.draft_state(identity)
        values["dataset"] = state.dataset
        what = f"draft {identity} of {state.dataset} ({state.status})"
        target = session.draft(identity)
    except IntegrityError as error:
        what = f"draft {identity}, which is damaged"
        session.out.warn(error.message)
    except (NotFound, StoreError) as error:  # a draft can be deleted without its repository
        session.out.warn(error.message)
    if not yes:
        waiting = target if target is not None and target.status_name != "uploaded" else None
        lines = [f"Not uploaded: {diff_summary(waiting.status())}."] if waiting else []
        session.out.confirm(lines, f"Delete {what}?", f"deleting {what}")
    if target is None:
        drop_draft(workspace, identity)
    else:
        target.discard()
    session.out.show(values, [])
    session.out.note(f"Deleted {what}.")
