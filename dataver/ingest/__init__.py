"""Adding files to a draft, sealing it, and uploading it to the repository."""

from dataver.ingest.add_operation import AddReport
from dataver.ingest.current_draft import current_draft
from dataver.ingest.draft import DraftCore
from dataver.ingest.draft_state import DraftState, find_draft, list_damaged, list_drafts, load_state
from dataver.ingest.upload import Sent, upload_draft

__all__ = [
    "AddReport",
    "DraftCore",
    "DraftState",
    "Sent",
    "current_draft",
    "find_draft",
    "list_damaged",
    "list_drafts",
    "load_state",
    "upload_draft",
]
