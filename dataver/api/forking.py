"""Versions made by many processes: `Draft.fork` and `Draft.join`, and the `Worker` in between."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, Self

from dataver.api.parquet import TableWriting
from dataver.errors import InvalidInput
from dataver.ingest.pack_uploader import SPOOL, check_spool
from dataver.ingest.scan import Scan
from dataver.progress import SILENT

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from dataver.formats.fork import Part
    from dataver.ingest import AddReport, DraftCore
    from dataver.ingest.fork import WorkerDraft
    from dataver.ingest.join_parts import JoinReport

# Imports in functions: every `Draft` has these methods, and few drafts are forked.

__all__ = ["Forking", "Worker", "join_draft"]


class Forking(TableWriting):
    """Base class of `dataver.Draft`: the methods by which many processes make one version."""

    _core: DraftCore

    def fork(self, workers: int, *, hours: float = 12) -> list[str]:
        """Return tokens with which other processes, on any machine, add to this draft.

        A token is JSON text without secrets: workers open the repository with their own credentials. One
        token may be used by several workers and attempts. gc deletes no packs for two days
        after the fork: until then the parts must be joined and the draft uploaded.

            tokens = draft.fork(8)
            parts = list(pool.map(add_some, tokens, folders))     # see `dataver.join_draft`
            draft.join(parts)

        Args:
            workers: the number of tokens.
            hours: the time within which a worker must begin, by the store's clock; at most 24.

        Raises:
            InvalidInput: a number is out of range.
            Conflict: the draft was finalized, or a running gc does not end.
        """
        from dataver.ingest.fork import fork

        return fork(self._core, workers, hours)

    def join(self, parts: Iterable[Part]) -> JoinReport:
        """Add what workers added. A part that was joined before, or an equal one, changes nothing.

        Args:
            parts: the results of `Worker.finish`; any number of them, in any order.

        Raises:
            Conflict: two workers, or a worker and this draft, added different content at a path; nothing was
                joined.
            InvalidInput: a part belongs to another draft, or is none.
            IntegrityError: a part is damaged, or gc has deleted it.
        """
        from dataver.ingest.join_parts import join_parts

        return join_parts(self._core, parts)


class Worker(TableWriting):
    """One process that adds to a draft of another; made by `join_draft`. Use it in a `with`.

    Packs go to the repository while files are added. Nothing is visible until the draft is published. Methods
    of a closed worker raise `InvalidInput`.
    """

    _any_name = True

    def __init__(self, core: WorkerDraft) -> None:
        self._core = core

    def __repr__(self) -> str:
        return f"Worker({self.dataset!r}, {self.name!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def dataset(self) -> str:
        """The dataset that the draft will be a version of."""
        return self._core.dataset

    @property
    def name(self) -> str:
        """The name by which errors refer to this worker."""
        return self._core.worker

    @property
    def rank(self) -> int:
        """The number of this worker's token, from 0."""
        return self._core.token.worker

    @property
    def world(self) -> int:
        """The number of tokens of the fork."""
        return self._core.token.workers

    def add(
        self,
        *sources: str | Path,
        dest: str = "",
        exclude: Sequence[str] = (),
        include: Sequence[str] = (),
        follow_links: bool = False,
        default_ignore: bool = True,
    ) -> AddReport:
        """Add files and the contents of folders; arguments and errors as for `Draft.add`."""
        how = Scan(dest, exclude, include, follow_links, default_ignore=default_ignore)
        return self._core.add(sources, how, SILENT)

    def add_files(self, files: Iterable[tuple[str | Path, str]]) -> AddReport:
        """Add single files, each at a path of its own; they share packs.

        Args:
            files: pairs of a file on this machine and its path in the version.

        Raises:
            PathNotFound: a file does not exist; none was added.
            InvalidInput: a path is not valid in a version, or a source is a folder.
        """
        return self._core.add_files(files)

    def open(self, path: str | os.PathLike[str], mode: str = "wb") -> IO[Any]:
        """Open a file of the version to write it; modes and errors as for `Draft.open`."""
        from dataver.api.draft_file import open_in_draft

        self._core.require_open()
        return open_in_draft(
            self._core, path, mode, executable=None, encoding=None, errors=None, newline=None
        )

    def finish(self) -> Part:
        """Return the part for `Draft.join`: a few hundred bytes, or up to 11 KB if it has few entries.

        Raises:
            StoreError: the store failed; call again to continue.
        """
        return self._core.finish()

    def close(self) -> None:
        """Remove this worker's local files; again, do nothing. What it sent is kept if its part is joined."""
        self._core.close()


def join_draft(
    token: str,
    *,
    name: str | None = None,
    spool: int = SPOOL,
    storage_options: Mapping[str, Any] | None = None,
) -> Worker:
    """Begin to add to a draft of another process.

        with dataver.join_draft(token) as worker:
            worker.add("photos/2026", dest="train")
            part = worker.finish()                # to the driver, pickled or as `part.to_json()`

    Args:
        token: one of `Draft.fork`.
        name: name of this worker in errors; None means the number of its token.
        spool: the limit of bytes of unsent packs on this machine.
        storage_options: as for `dataver.open`.

    Raises:
        InvalidInput: the token has expired, was changed, or was made for another repository.
        NotFound: there is no repository at the token's URL.
        StoreError: the repository cannot be reached or written.
    """
    from dataver.ingest.fork import begin_worker

    if not isinstance(token, str):
        raise InvalidInput(f"a token is a text, not {type(token).__name__}.", hint="see `Draft.fork`")
    return Worker(begin_worker(token, storage_options, name, check_spool(spool)))
