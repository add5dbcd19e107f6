"""Profiles of drafts, when they are sealed and published."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataver.ingest import DraftCore, Sent
    from dataver.progress import Progress
    from dataver.repository import Published

# Imports in functions: profiles may be off.

__all__ = ["profile_sealed", "publish_profiled"]


def profile_sealed(draft: DraftCore) -> None:
    """Make cheap profiles of a sealed draft, unless `DATAVER_PROFILES=off`."""
    if os.environ.get("DATAVER_PROFILES", "").lower() not in ("off", "0", "no", "false"):
        from dataver.api.draft_file import open_in_draft
        from dataver.profiles.drafts import profile_draft

        opening = partial(
            open_in_draft, draft, mode="rb", executable=None, encoding=None, errors=None, newline=None
        )
        profile_draft(draft, cast("Callable[[str], BinaryIO]", opening))


def publish_profiled(
    draft: DraftCore, progress: Progress, rebase: bool, allow_fork: bool
) -> tuple[Sent, Published | None]:
    """Publish a draft, then its profiles; arguments and errors as of `publish_draft`."""
    from dataver.ingest.upload import publish_draft
    from dataver.profiles.drafts import send_profiles

    sent = publish_draft(draft, progress, rebase, allow_fork)
    send_profiles(draft, sent[0].published)
    return sent
