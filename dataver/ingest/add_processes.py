"""Processes that read, hash and store files for one `add`.

The idea: this process scans, and recognises unchanged files; child processes get the rest in batches and
return entries. Each has its own packs, in a folder below the draft, so they share only the chunk index. One
process is limited by Python's lock: it makes a dozen short system calls a file.

    this process      scan → batch ─┐                      ┌─ entries → tree; packs → the draft's spool
    child processes                 └ read, cut, store, … ─┘

Keeps invariants 4 and 6: the packs are moved into the draft before its tree names them, and only if all
processes succeeded. A process whose parent ends reads the end of its pipe, and ends.
"""

import multiprocessing
import pickle
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from dataver.errors import StoreError
from dataver.formats.config import RepositoryConfig
from dataver.formats.entry import Entry
from dataver.ingest.add_operation import inside
from dataver.ingest.chunk_pipeline import Adder, Counts
from dataver.ingest.dedup import spooled
from dataver.ingest.draft_session import draft_session
from dataver.ingest.draft_state import kept_in, load_state
from dataver.ingest.draft_store import DraftStore
from dataver.ingest.pack_uploader import LEAST_SPOOL, note_sent, sent_before
from dataver.ingest.process_count import is_alone
from dataver.ingest.scan import ScannedItem
from dataver.ingest.stat_cache import FileStat, StatCache
from dataver.machine.locked_folder import LockedFolder
from dataver.repository import RepositoryCore
from dataver.storage.durable import flush_folder

__all__ = ["AddProcesses", "RemoteAdder"]

_BATCH_SIZE: Final = 4 << 20  # bytes of a batch …
_BATCH_FILES: Final = 512  # … and files
_AHEAD: Final = 2  # batches that a process has received and not finished
_ENDS: Final = 1.0  # seconds for a process to end by itself after an error


class _Begin(NamedTuple):
    """Arguments of a child process."""

    store: bytes  # pickled: connections are not shared
    config: RepositoryConfig
    workspace: Path
    draft: str
    folder: Path
    beside: tuple[Path, ...]
    spool: int


class _Result(NamedTuple):
    """Entries and counts of a child process since the last result."""

    entries: list[Entry]
    stats: list[tuple[str, FileStat, bytes, bool]]
    problems: list[tuple[str, str]]
    counts: Counts
    stored: int
    sent: tuple[int, int]


class AddProcesses:
    """Started processes; use in a `with`, and begin it before any thread of this process.

    Args:
        draft: the draft, which is locked.
        count: number of processes.
    """

    def __init__(self, draft: DraftStore, count: int) -> None:
        self._draft = draft
        self._home = LockedFolder(draft.folder / "writing")
        self._folders = folders = [self._home.path / str(number) for number in range(count)]
        alone = is_alone()
        context: Any = multiprocessing.get_context("fork" if alone else "spawn")
        repository = draft.repository
        spool = max(LEAST_SPOOL, draft.state.spool // count) if draft.state.spool else 0
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []
        self._waiting: dict[Connection, int] = {}
        self.stored = self.sent_packs = self.sent_size = 0
        for folder in folders:
            beside = (draft.spool, *(each / "packs" for each in folders if each != folder))
            begin = _Begin(
                *(pickle.dumps(repository.store), repository.config, draft.workspace, draft.id),
                *(folder, beside, spool),
            )
            here, there = context.Pipe()
            inherited = (*self._pipes, here) if alone else ()
            process = context.Process(target=_work, args=(there, begin, inherited), daemon=True)
            process.start()
            there.close()
            self._pipes.append(here)
            self._processes.append(process)
            self._waiting[here] = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for pipe in self._pipes:
            pipe.close()
        end = time.monotonic() + _ENDS
        for process in self._processes:
            if kind is not None:  # its folder is removed, so nothing is lost
                process.join(max(0.0, end - time.monotonic()))
                process.kill()
            process.join()
        self._home.remove()

    def give(self, items: Sequence[ScannedItem], done: Callable[[int, int, int], None]) -> None:
        """Pass files to the process with the least work; wait if all have enough."""
        while min(self._waiting.values()) >= _AHEAD:
            self._receive(done)
        pipe = min(self._waiting, key=self._waiting.__getitem__)
        self._send(pipe, items)
        self._waiting[pipe] += 1

    def collect(self, done: Callable[[int, int, int], None]) -> Iterator[_Result]:
        """Yield the result of each process; the packs of their entries are in the draft's spool."""
        while any(self._waiting.values()):
            self._receive(done)
        for pipe in self._pipes:
            self._send(pipe, None)
        results: list[_Result] = [self._read(pipe) for pipe in self._pipes]
        self._hand_over()
        yield from results

    def _send(self, pipe: Connection, items: Sequence[ScannedItem] | None) -> None:
        try:
            pipe.send(items)
        except OSError:
            while True:  # what it sent before it ended: counts, then its error
                self._read(pipe)

    def _receive(self, done: Callable[[int, int, int], None]) -> None:
        for pipe in wait([pipe for pipe, count in self._waiting.items() if count]):
            assert isinstance(pipe, Connection)
            done(*self._read(pipe))
            self._waiting[pipe] -= 1

    def _read(self, pipe: Connection) -> Any:
        try:
            found = pipe.recv()
        except (EOFError, OSError) as error:
            raise self._ended(pipe) from error
        if isinstance(found, BaseException):
            raise found
        return found

    def _ended(self, pipe: Connection) -> StoreError:
        process = self._processes[self._pipes.index(pipe)]
        process.join()
        return StoreError(
            f"a process that added files to draft {self._draft.id} ended (exit code {process.exitcode}); "
            "nothing was added.",
            hint="repeat the command; if memory was short, with --workers 1",
        )

    def _hand_over(self) -> None:
        """Move finished packs into the draft's spool."""
        spool, moved = self._draft.spool, False
        for folder in self._folders:
            for pack_id in sent_before(folder):
                note_sent(self._draft.folder, pack_id)
            for path in spooled(folder / "packs"):
                path.replace(spool / path.name)
                moved = True
        if moved:
            flush_folder(spool)


class RemoteAdder(Adder):
    """An `Adder` whose files are read by processes."""

    def __init__(self, processes: AddProcesses, **how: Any) -> None:
        super().__init__(**how)
        self._processes = processes
        self._batch: list[ScannedItem] = []
        self._batch_size = self._given = 0

    @property
    def waiting(self) -> int:
        """See `Adder`."""
        return self._given + len(self._plain)

    def entries(self) -> Iterator[Entry]:
        """See `Adder`."""
        self._give()
        plain, self._plain, self._given = self._plain, [], 0
        yield from plain
        for result in self._processes.collect(self._done):
            for row in result.stats:
                self._stats.put(*row[:3], still=row[3])
            self._problems.extend(result.problems)
            self.counts.add(result.counts)
            self._processes.stored += result.stored
            self._processes.sent_packs += result.sent[0]
            self._processes.sent_size += result.sent[1]
            yield from result.entries

    def _read(self, found: ScannedItem, prior: Entry | None) -> None:  # noqa: ARG002
        self._batch.append(found)
        self._batch_size += found.stat.size
        if self._batch_size >= _BATCH_SIZE or len(self._batch) >= _BATCH_FILES:
            self._give()

    def _give(self) -> None:
        if self._batch:
            self._processes.give(self._batch, self._done)
            self._given += len(self._batch)
            self._batch, self._batch_size = [], 0

    def _done(self, files: int, size: int, new: int) -> None:
        self._report(files, size, new)


# in the other processes


class _Noted(StatCache):
    """A stat cache that only notes what is put into it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "", checksum=True)
        self.rows: list[tuple[str, FileStat, bytes, bool]] = []

    def put(self, path: str, stat: FileStat, file_digest: bytes, *, still: bool = True) -> None:
        self.rows.append((path, stat, file_digest, still))


def _work(pipe: Connection, begin: _Begin, inherited: Sequence[Connection]) -> None:
    """Add the files that come through the pipe, until its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent closes the pipe
    for other in inherited:
        other.close()
    try:
        with kept_in(begin.folder.parents[2]), suppress(EOFError, BrokenPipeError, ConnectionResetError):
            _serve(pipe, begin)
    except BaseException as error:  # noqa: BLE001  # raised by the parent
        with suppress(OSError):
            pipe.send(error)


def _serve(pipe: Connection, begin: _Begin) -> None:
    store = pickle.loads(begin.store)  # noqa: S301  # from the parent
    repository = RepositoryCore(store, begin.config)
    draft = DraftStore(repository, begin.workspace, load_state(begin.folder.parents[2]))
    while True:
        items = pipe.recv()
        with ExitStack() as stack:
            session = stack.enter_context(
                draft_session(repository, begin.folder, begin.draft, begin.spool, beside=begin.beside)
            )
            told = (0, 0, 0)

            def report(*more: int) -> None:
                nonlocal told
                told = tuple(old + new for old, new in zip(told, more, strict=True))  # type: ignore[assignment]

            problems: list[tuple[str, str]] = []
            notes = _Noted(begin.folder)
            adder = stack.enter_context(
                Adder(
                    locate=inside([draft.tree], session.known),
                    known=session.known,
                    session=session.packs,
                    chunking=repository.config.chunking,
                    stats=notes,
                    problems=problems,
                    report=report,
                    unchanged=True,
                )
            )
            while items is not None:
                for found in items:
                    adder.add(found)
                pipe.send(told)
                told = (0, 0, 0)
                items = pipe.recv()
            entries = list(adder.entries())
            session.packs.close()
            sent = (0, 0)
            if session.sender is not None:
                session.sender.finish()
                sent = session.sender.packs, session.sender.size
            counts = adder.counts
        pipe.send(_Result(entries, notes.rows, problems, counts, session.packs.stored, sent))
