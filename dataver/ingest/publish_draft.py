"""Publishing of a sealed draft upon the latest version of its line."""

from dataver.ingest.draft import DraftCore
from dataver.ingest.draft_state import save_state
from dataver.ingest.upload import ROUNDS, Sent, upload_draft
from dataver.progress import Progress
from dataver.repository import Published
from dataver.repository.lines import Behind, Position, busy, find_position

__all__ = ["publish_draft"]


def publish_draft(
    draft: DraftCore, progress: Progress, rebase: bool, allow_fork: bool
) -> tuple[Sent, Published | None]:
    """Publish; return the amount sent, and the version that the changes were applied to, if any.

    Raises:
        As `dataver.Draft.upload`. Behind: a draft that mirrors a folder is behind the latest version.
    """
    with draft.locked():
        onto = None
        for _ in range(ROUNDS):
            try:
                sent = _publish_once(draft, progress, allow_fork)
            except Behind as behind:
                if draft.state.mirrors is not None:
                    raise
                onto = behind.latest
                draft.merge_onto(onto, keep=rebase)
            else:
                return sent, onto
        raise busy(draft.dataset)


def _publish_once(draft: DraftCore, progress: Progress, allow_fork: bool) -> Sent:
    state = draft.state
    record = draft.record(state.sealed or {})

    def remember(label: str) -> None:
        state.attempted = label
        save_state(draft.folder, state)

    def locate() -> Position:
        return find_position(
            draft.repository.records,
            record,
            label=state.label,
            bump=state.bump,
            mirrors=state.mirrors is not None,
            allow_fork=allow_fork,
        )

    if state.label is not None:
        draft.repository.tags.refuse_label(draft.dataset, state.label)
    sent = upload_draft(
        draft,
        draft.repository,
        record,
        locate=locate,
        attempted=state.attempted,
        on_attempt=remember,
        progress=progress,
    )
    draft.mark_published(sent.published, sent.packs)
    return sent
