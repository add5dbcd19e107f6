"""Tools of one command on a draft: known chunks, the pack writer and, if packs are sent, a sender.

They are always closed in this order, also after errors: the writer, the sender, then the index that both use.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from dataver.formats.pack import Footer
from dataver.ingest.chunk_index import ChunkIndex
from dataver.ingest.dedup import KnownChunks
from dataver.ingest.pack_uploader import PackSender, note_sent, sent_before
from dataver.ingest.pack_writer import PackSession
from dataver.machine.cache_root import private_cache_root
from dataver.repository import RepositoryCore

__all__ = ["DraftSession", "draft_session", "open_index"]


class DraftSession(NamedTuple):
    """Tools of one command; `sender` is None if packs stay in the spool until `upload`."""

    packs: PackSession
    known: KnownChunks
    sender: PackSender | None


def open_index(repository: RepositoryCore, draft_id: str) -> ChunkIndex:
    """Open this machine's chunk index of a repository for a draft."""
    return ChunkIndex(private_cache_root() / "index" / f"{repository.local_name}.sqlite", draft_id)


@contextmanager
def draft_session(
    repository: RepositoryCore, folder: Path, draft_id: str, spool: int, *, beside: Sequence[Path] = ()
) -> Iterator[DraftSession]:
    """Provide the tools of one command on a draft.

    Args:
        repository: the repository.
        folder: the draft's folder, or another one below which packs are written.
        draft_id: the draft.
        spool: the limit of bytes of unsent packs; 0 if all stay in the folder.
        beside: folders of other packs of the draft; beyond the first, other processes fill them meanwhile.
    """
    index = open_index(repository, draft_id)
    packs = folder / "packs"
    index.empty = index.empty and len(beside) < 2
    try:
        known = KnownChunks(index, repository.packs, repository.soundness, packs, *beside)
        try:
            if spool:
                known.learn(sent_before(folder))  # queries the store only if the index was lost
            with _sending(repository, folder, known, spool) as sender:
                session = _packs(repository, packs, known, sender)
                try:
                    yield DraftSession(session, known, sender)
                finally:
                    session.abandon()  # after `close` this only ends the threads
        finally:
            known.close()
    finally:
        index.close()


@contextmanager
def _sending(
    repository: RepositoryCore, folder: Path, known: KnownChunks, spool: int
) -> Iterator[PackSender | None]:
    if not spool:
        yield None
        return

    def sent(pack_id: bytes) -> None:
        known.sent(pack_id)
        note_sent(folder, pack_id)

    config = repository.config
    sender = PackSender(
        repository.soundness.send,
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
    repository: RepositoryCore, folder: Path, known: KnownChunks, sender: PackSender | None
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
