"""What one command on a draft works with: known chunks, the pack writer and, where packs are sent, a sender.

All of it is ended in the right order, whatever happens: the writer first, then the sender, then the index
that both tell.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from dataver.formats.pack import Footer
from dataver.ingest.chunk_index import ChunkIndex
from dataver.ingest.known import KnownChunks
from dataver.ingest.packing import PackSession
from dataver.ingest.streaming import PackSender, note_sent, sent_before
from dataver.repository import Repository
from dataver.repository.private_place import private_cache_root

__all__ = ["Session", "draft_session", "open_index"]


class Session(NamedTuple):
    """One command's tools; `sender` is None where packs stay in the spool until `upload`."""

    packs: PackSession
    known: KnownChunks
    sender: PackSender | None


def open_index(repository: Repository, draft_id: str) -> ChunkIndex:
    """Open this machine's chunk index of a repository, as a draft sees it."""
    return ChunkIndex(private_cache_root() / "index" / f"{repository.id}.sqlite", draft_id)


@contextmanager
def draft_session(
    repository: Repository, folder: Path, draft_id: str, spool: int, *, beside: Path | None = None
) -> Iterator[Session]:
    """Give the tools of one command on a draft.

    Args:
        repository: the repository.
        folder: the draft's, or another one that packs are written below.
        draft_id: the draft.
        spool: bytes of packs that may wait to be sent; 0 if all stay in the folder.
        beside: the draft's own packs, where `folder` is not the draft's.
    """
    index = open_index(repository, draft_id)
    packs = folder / "packs"
    try:
        known = KnownChunks(index, repository.packs, packs, *([beside] if beside else []))
        try:
            if spool:
                known.learn(sent_before(folder))  # asks the store only where the index was lost
            with _sending(repository, folder, known, spool) as sender:
                session = _packs(repository, packs, known, sender)
                try:
                    yield Session(session, known, sender)
                finally:
                    session.abandon()  # after `close` only the threads' end is left to make sure of
        finally:
            known.close()
    finally:
        index.close()


@contextmanager
def _sending(
    repository: Repository, folder: Path, known: KnownChunks, spool: int
) -> Iterator[PackSender | None]:
    if not spool:
        yield None
        return

    def sent(pack_id: bytes) -> None:
        known.sent(pack_id)
        note_sent(folder, pack_id)

    config = repository.config
    sender = PackSender(
        repository.store,
        folder / "packs",
        limit=spool,
        pack_size=config.pack_size,
        frame=config.chunking.maximum,
        on_sent=sent,
    )
    try:
        yield sender
    finally:
        sender.end()


def _packs(
    repository: Repository, folder: Path, known: KnownChunks, sender: PackSender | None
) -> PackSession:
    config = repository.config
    if sender is None:
        return PackSession(
            folder, level=config.compression, pack_size=config.pack_size, on_pack=known.finished
        )

    def finished(footer: Footer) -> None:
        known.finished(footer)
        sender.finished(footer.pack_id)

    return PackSession(
        folder,
        level=config.compression,
        pack_size=sender.pack_size,
        on_pack=finished,
        room=sender.full,
        make_room=sender.make_room,
    )
