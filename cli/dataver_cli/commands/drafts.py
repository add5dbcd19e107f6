"""`dataver drafts`."""

from datetime import datetime
from typing import TYPE_CHECKING

import click

from dataver_cli.command import subcommand
from dataver_cli.output import table, when
from dataver_cli.session import Session, damaged_drafts, draft_states

if TYPE_CHECKING:
    from dataver.ingest import DraftState


@subcommand(
    "drafts",
    examples="""
        dataver drafts
        dataver drafts --all           # include uploaded drafts
    """,
    repo=False,
)
@click.option("--all", "everything", is_flag=True, help="Include uploaded drafts.")
def command(session: Session, everything: bool) -> None:
    """List the drafts of this folder.

    Drafts are kept in the .dataver/ of this folder or of the nearest folder above. `*` marks the current
    draft, which commands use without --draft: the one of this folder, else of the nearest folder above.
    """
    states = [state for state in draft_states() if everything or state.status != "uploaded"]
    damaged = damaged_drafts()
    current = _current()
    rows = [
        (
            "*" if state.id == current else " ",
            state.id,
            state.dataset,
            state.status,
            _parents(state),
            when(datetime.fromisoformat(state.created)),
            state.repository,
        )
        for state in states
    ]
    rows += [(" ", name, "", "damaged", "-", "", "") for name in damaged]
    values = [
        {
            "draft": state.id,
            "current": state.id == current,
            "dataset": state.dataset,
            "status": state.status,
            "parents": [f"{each['dataset']}@{each['label']}" for each in state.parents],
            "changed": state.tree != state.base,
            "published": state.published,
            "created": state.created,
            "repository": state.repository,
        }
        for state in states
    ]
    values += [{"draft": name, "current": False, "status": "damaged"} for name in damaged]
    session.out.show(
        values,
        table(rows, ("", "DRAFT", "DATASET", "STATUS", "FROM", "CREATED", "REPOSITORY")) if rows else [],
    )
    for name, error in damaged.items():
        session.out.warn(f"{error.message.rstrip('.')}; `dataver discard --draft {name}` deletes it")
    if not rows:
        session.out.note("There are no drafts here; `dataver create NAME` starts one.")


def _parents(state: "DraftState") -> str:
    return ", ".join(f"{each['dataset']}@{each['label']}" for each in state.parents) or "-"


def _current() -> str | None:
    from dataver.errors import DataverError
    from dataver.ingest import current_draft

    try:
        return current_draft()[1]
    except DataverError:
        return None
