"""The drafts of a workspace: start, open, and what gc must keep for them."""

from collections.abc import Sequence
from pathlib import Path

from dataver import parallel
from dataver.api.draft import Draft
from dataver.formats.names import check_dataset_name
from dataver.ingest import DraftCore, current_draft, find_draft, list_drafts
from dataver.ingest.draft_state import belongs
from dataver.ingest.upload import needs_of_draft
from dataver.machine.paths import find_workspace, workspace_of
from dataver.repository import Ref, RepositoryCore

__all__ = ["create_draft", "needs_of_drafts", "open_draft", "open_drafts"]


def create_draft(
    core: RepositoryCore,
    url: str,
    name: str,
    parents: Ref | Sequence[Ref],
    workspace: str | Path | None,
    *,
    spool: int,
) -> Draft:
    """Start a draft; see `dataver.Repository.create`."""
    check_dataset_name(name)
    wanted = list(parents) if isinstance(parents, Sequence) and not isinstance(parents, str) else [parents]
    if core.store.local_root is not None or len(wanted) < 2:
        found = [core.resolve(ref) for ref in wanted]
    else:
        with parallel.pool(parallel.REQUESTS, "parents") as pool:
            found = list(pool.map(core.resolve, wanted))
    if name not in {each.record.dataset for each in found}:
        core.records.refuse_dataset(name)
    folder = Path.cwd() if workspace is None else None
    return Draft(DraftCore.start(core, url, workspace_of(workspace), name, found, folder=folder, spool=spool))


def open_draft(core: RepositoryCore, draft_id: str | None, workspace: str | Path | None) -> Draft:
    """Open a draft of a workspace; see `dataver.Repository.draft`."""
    start = Path(workspace) if workspace is not None else None
    if draft_id is None:
        home, draft_id = current_draft(start)
    else:
        home = find_workspace(start) or workspace_of(workspace)
        draft_id = find_draft(home, draft_id)
    return Draft(DraftCore.load(core, home, draft_id))


def open_drafts(core: RepositoryCore, workspace: str | Path | None) -> list[Draft]:
    """Open the drafts of a workspace; see `dataver.Repository.drafts`."""
    home = find_workspace(Path(workspace) if workspace is not None else None)
    return [
        Draft(DraftCore(core, home, state))
        for state in (list_drafts(home) if home else [])
        if home and state.status != "uploaded" and belongs(state, core)
    ]


def needs_of_drafts(core: RepositoryCore) -> tuple[set[bytes], set[bytes]]:
    """Return the packs and roots of trees that drafts of this workspace need."""
    packs: set[bytes] = set()
    trees: set[bytes] = set()
    home = find_workspace()
    for state in list_drafts(home) if home else ():
        if home and state.repository_id == core.id and state.status != "uploaded":
            needs = needs_of_draft(DraftCore(core, home, state))
            packs |= needs[0]
            trees |= needs[1]
    return packs, trees
