"""Forking a draft: tokens for workers, and the private draft of a worker.

    driver   fork → tokens            … join (`dataver.ingest.join_parts`) → finalize, upload: once
    worker   token → a private streamed draft, empty → add … → part

The idea: a worker is a streamed draft of its own, in the cache folder of its machine, whose tree begins empty
and whose packs go to the repository as they fill. Its part is this tree. Earlier content of the same paths is
looked up in the parent of the forked draft (`DraftStore.hint`), so that only new chunks are sent.

Keeps invariants 3 and 4: a part is made after its packs were sent; a worker that dies leaves unreferenced
packs, and a folder that the next worker on the machine removes. An attempt that is repeated makes an equal
part, whichever packs it needs.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from dataver.errors import IntegrityError, InvalidInput, StoreError
from dataver.formats.entry import check_path
from dataver.formats.fork import MAX_BLOCKS, ForkToken, Part, encode_blocks, fingerprint, parse_token
from dataver.formats.record import ParentRef
from dataver.hashing import digest
from dataver.ingest.add_operation import AddReport
from dataver.ingest.dedup import spooled
from dataver.ingest.draft import DraftCore
from dataver.ingest.draft_state import kept_in
from dataver.ingest.pack_uploader import note_sent, sent_before
from dataver.ingest.scan import Scan, ScannedItem, scan
from dataver.machine.cache_root import private_cache_root
from dataver.machine.configuration import options_for
from dataver.machine.locked_folder import LockedFolder
from dataver.machine.store_clock import store_now
from dataver.progress import SILENT
from dataver.repository import open_repository
from dataver.repository.forks import TOKEN_LASTS, mark_fork
from dataver.repository.layout import part_key
from dataver.tree import walk

__all__ = ["WorkerDraft", "begin_worker", "fork"]

_INLINE: Final = 8 << 10  # bytes of blocks that a part contains itself: about 150 entries


class WorkerDraft(DraftCore):
    """The private draft of one worker; `close` removes it."""

    token: ForkToken
    worker: str
    _home: LockedFolder
    _closed = False

    def locked(self) -> AbstractContextManager[None]:
        """Hold the draft's lock, as every change does.

        Raises:
            InvalidInput: the worker is closed.
        """
        self.require_open()
        return super().locked()

    def require_open(self) -> None:
        """Raise an error if the worker is closed: its folder is removed and must not be created again."""
        if self._closed:
            raise InvalidInput("this worker is closed.", hint="call finish() inside the with block")

    def add_files(self, files: Iterable[tuple[str | Path, str]]) -> AddReport:
        """Add single files; see `dataver.Worker.add_files`."""
        how, began = Scan(), time.perf_counter()

        def found() -> Iterator[list[ScannedItem]]:
            for source, path in files:
                check_path(path)
                if os.path.isdir(source):  # noqa: PTH112  # `scan` would find all files in it
                    raise InvalidInput(f"{source} is a folder.", hint="add folders with Worker.add")
                for each in scan(source, how):
                    yield [item._replace(path=path) for item in each]

        with self.changing(), self._adding(how, SILENT) as operation:
            operation.add_found(self._home.path, found())
        operation.report.seconds = time.perf_counter() - began
        return operation.report

    def finish(self) -> Part:
        """Send what is left, and return the part; the worker's draft is unchanged.

        Raises:
            StoreError: the store failed; calling it again continues.
            InvalidInput: the worker added more entries than a part can contain.
        """
        with self.locked():
            for path in spooled(self.spool):  # left by an interrupted sending
                pack_id = bytes.fromhex(path.name)
                self.repository.soundness.send(pack_id, path)
                note_sent(self.folder, pack_id)
                path.unlink()
            blocks = encode_blocks(
                (block.digest, self.log.object(block.digest))
                for block in walk([self.tree.digest], self.load_block, within=self.has_block)
            )
            if len(blocks) > MAX_BLOCKS:
                raise InvalidInput(
                    f"the {self.tree.summary().entries:,} entries that {self.worker} added take "
                    f"{len(blocks):,} bytes; a part has at most {MAX_BLOCKS:,}.",
                    hint="divide the files among more workers",
                )
            key = ""
            if len(blocks) > _INLINE:
                key = part_key(self.token.draft, os.urandom(16).hex())
                self.repository.store.put(key, blocks)
        summary = self.tree.summary()
        return Part(
            draft=self.token.draft,
            repository=self.token.repository,
            base=self.token.base,
            worker=self.worker,
            tree=self.state.tree,
            entries=summary.entries,
            size=summary.size,
            packs=len(sent_before(self.folder)),
            digest=digest(blocks).hex(),
            key=key,
            blocks=b"" if key else blocks,
        )

    def close(self) -> None:
        """Remove the worker's folder; calling it again changes nothing."""
        self._closed = True
        self._home.remove()


def fork(draft: DraftCore, count: int, hours: float) -> list[str]:
    """Return tokens for workers; see `dataver.Draft.fork`."""
    most = TOKEN_LASTS / timedelta(hours=1)
    whole = isinstance(count, int) and isinstance(hours, int | float)
    if not whole or count < 1 or not 0 < hours <= most:
        raise InvalidInput(
            f"a draft cannot be forked for {count!r} workers and {hours!r} hours.",
            hint=f"give one worker or more, and at most {most:g} hours; a draft can be forked again",
        )
    repository = draft.repository
    with draft.changing():
        draft.state.forked = True
        draft.commit()
        mark_fork(repository.store, draft.id)
        state = draft.state
    expires = store_now(repository.store) + timedelta(hours=hours)
    return [
        ForkToken(
            url=repository.url,
            repository=fingerprint(repository.id),
            dataset=state.dataset,
            draft=state.id,
            base=state.tree,
            parents=tuple(ParentRef(**each) for each in state.parents),
            worker=number,
            workers=count,
            expires=expires,
        ).encode(repository.id)
        for number in range(count)
    ]


def begin_worker(
    text: str, storage_options: Mapping[str, Any] | None, name: str | None, spool: int
) -> WorkerDraft:
    """Begin the work of one worker; see `dataver.join_draft`."""
    url = parse_token(text).url
    repository = open_repository(url, options_for(url, storage_options))
    token = parse_token(text, repository_id=repository.id)
    try:
        now = store_now(repository.store)
    except StoreError as error:
        raise StoreError(
            f"this worker cannot write to {repository.url}: {error.message}",
            hint="workers send their packs themselves: give each the right to write",
            transient=error.transient,
        ) from error
    if now > token.expires:
        raise InvalidInput(
            f"this token for draft {token.draft} expired at {token.expires:%Y-%m-%d %H:%M} UTC "
            f"(the clock of {repository.url} shows {now:%Y-%m-%d %H:%M}).",
            hint="fork the draft again",
        )
    with kept_in(private_cache_root()):
        home = LockedFolder(private_cache_root() / "workers")
    try:
        draft = WorkerDraft.start(repository, url, home.path, token.dataset, (), current=False, spool=spool)
    except BaseException:
        home.remove()
        raise
    draft.token, draft.worker, draft._home = token, name or f"worker {token.worker}", home
    if token.parents:
        try:
            draft.hint = repository.tree(bytes.fromhex(token.parents[-1].tree))
            draft.hint.summary()
        except IntegrityError:  # deleted meanwhile: only duplicates are missed
            draft.hint = None
    return draft
