"""From files to a sealed draft, and from there into the repository."""

from dataver.ingest.draft import DraftCore
from dataver.ingest.draft_state import DraftState, current_draft, list_drafts, load_state, set_current
from dataver.ingest.taking import AddReport
from dataver.ingest.upload import Sent, upload_draft

__all__ = [
    "AddReport",
    "DraftCore",
    "DraftState",
    "Sent",
    "current_draft",
    "list_drafts",
    "load_state",
    "set_current",
    "upload_draft",
]
