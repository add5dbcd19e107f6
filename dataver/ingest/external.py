"""Recording files that stay where they are: each is read once, for its digests, and not copied.

The idea: objects are read in ranges, many at once; every piece is hashed by the thread that read it, the
whole file in order by the caller's. What comes out are entries like any other, whose extents lie in external
packs. What is recorded already, by the same tag, version or time, is not read again.

Keeps invariant 1: an object that changes while it is read is read again, or refused. Write order as for any
draft (invariant 4): external packs, forced to the disk, before the blocks that name them. Unlike what `add`
takes, these bytes are not safe (invariant 6): their owner may change them, and readers will be told.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from dataver.errors import IntegrityError, InvalidInput, NotFound, StoreError
from dataver.formats.entry import Entry, Extent, is_external
from dataver.formats.external import PIECE, Builder, ExternalPack, Piece, Source, parse_external, piece_of
from dataver.formats.jsontext import format_time
from dataver.hashing import digest, new_hasher
from dataver.ingest.local_draft import LocalDraft
from dataver.ingest.outside import Outside, Wanted, find_outside, reads_at_once
from dataver.ingest.scan import Scan
from dataver.ingest.taking import changes_with
from dataver.progress import Progress
from dataver.repository import Repository
from dataver.repository.allowing import allow, is_allowed
from dataver.repository.externals import pin_of
from dataver.storage import ObjectChanged, Pin, Store
from dataver.storage.durable import flush_folder, temporary_file

__all__ = ["ExternalPlan", "ExternalReport", "Recorder", "add_external", "plan_external"]

_RANGE: Final = 8 * PIECE  # bytes of one read
_IN_FLIGHT: Final = 128 << 20  # bytes of files that are being read at once
_FILES: Final = 64  # and how many of them
_FLUSH: Final = 50_000  # entries that are turned into tree blocks together
_TRIES: Final = 3  # readings of an object that keeps changing

Load = Callable[[bytes], ExternalPack]


@dataclass
class ExternalReport:
    """What an `add_external` did. Sizes in bytes.

    Attributes:
        files: files, links and empty folders looked at.
        size: their bytes, all of which stay where they are.
        unchanged: how many were recorded already, as they are now.
        read: bytes read to hash them.
        packs: external packs written.
        ignored: files and folders that patterns left out.
        allowed: the file in which it was noted that this machine may read the places, if it was not before.
        seconds: wall time.
        problems: `(name, reason)` of everything that was not recorded.
    """

    files: int = 0
    size: int = 0
    unchanged: int = 0
    read: int = 0
    packs: int = 0
    ignored: int = 0
    allowed: Path | None = None
    seconds: float = 0.0
    problems: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class ExternalPlan:
    """What an `add_external` would do. Sizes in bytes.

    Attributes:
        files: files to be recorded.
        size: their bytes.
        unchanged: how many are recorded already, as they are now.
        read: bytes that would be read to hash the others.
        ignored: files and folders that patterns leave out.
        places: the URLs that this machine would be allowed to read from.
        problems: `(name, reason)` of what cannot be recorded.
    """

    files: int
    size: int
    unchanged: int
    read: int
    ignored: int
    places: list[str]
    problems: list[tuple[str, str]]


class _Read(NamedTuple):
    """A file that was read: how it looked, its pieces and its digest."""

    wanted: Wanted
    pin: Pin
    pieces: list[Piece]
    digest: bytes


class _Left(NamedTuple):
    """A file that was not: because nothing changed (None), or why."""

    wanted: Wanted
    problem: str | None


class Recorder:
    """Records files of one place, one command long.

    Args:
        outside: the place and its files.
        prior: returns the entry that stands at a path now, or None.
        load: returns an external pack, of the draft or the repository.
        folder: where new external packs go.
        report: what is counted and left out goes there.
        progress: told of files and bytes.
    """

    def __init__(
        self,
        outside: Outside,
        *,
        prior: Callable[[str], Entry | None],
        load: Load,
        folder: Path,
        report: ExternalReport,
        progress: Progress,
    ) -> None:
        self._outside = outside
        self._store: Store = outside.store
        self._prior, self._load, self._folder = prior, load, folder
        self._report, self._progress = report, progress
        self._builder = Builder(outside.place)
        self._parts: list[
            tuple[list[Extent], int, int, int]
        ] = []  # where an extent goes, once the id is known
        self._waiting: list[tuple[Wanted, bytes, list[Extent]]] = []

    def entries(self) -> Iterator[Entry]:
        """Read what has to be read and yield the entries, those of a pack when it is on the disk.

        Raises:
            StoreError: the store cannot be reached; nothing of it is in the draft.
        """
        report = self._report
        for entry in self._outside.others:
            report.files += 1
            yield entry
        for done in self._results():
            report.files += 1
            report.size += done.wanted.size
            if isinstance(done, _Read):
                yield from self._take(done)
            elif done.problem is None:
                report.unchanged += 1
            else:
                report.files -= 1
                report.size -= done.wanted.size
                name = f"{self._outside.place}/{done.wanted.key}"
                report.problems.append((name, done.problem))
            self._progress.advance(1, done.wanted.size)
        yield from self._close()

    # reading

    def _results(self) -> Iterator[_Read | _Left]:
        """Yield what became of each file, in no order; a large one is read by all threads, a small by one."""
        with ThreadPoolExecutor(reads_at_once(self._store), "dataver-record") as pool:
            flying: deque[tuple[Future[_Read | _Left], int]] = deque()
            size = 0
            try:
                for wanted in self._outside.files:
                    entry = self._prior(wanted.path)
                    if wanted.size > _RANGE:
                        yield self._large(wanted, entry, pool)
                        continue
                    while flying and (size + wanted.size > _IN_FLIGHT or len(flying) >= _FILES):
                        done, cost = flying.popleft()
                        size -= cost
                        yield done.result()
                    flying.append((pool.submit(self._small, wanted, entry), wanted.size))
                    size += wanted.size
                for done, _ in flying:
                    yield done.result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _small(self, wanted: Wanted, entry: Entry | None) -> _Read | _Left:
        def read(pin: Pin) -> tuple[list[Piece], bytes]:
            if not pin.size:
                return [], digest(b"")
            pieces, data = self._range(wanted.key, pin, 0)
            return pieces, pieces[0].digest if len(pieces) == 1 else digest(data)

        return self._read(wanted, entry, read)

    def _large(self, wanted: Wanted, entry: Entry | None, pool: ThreadPoolExecutor) -> _Read | _Left:
        def read(pin: Pin) -> tuple[list[Piece], bytes]:
            hasher, pieces = new_hasher(), list[Piece]()
            ahead: deque[Future[tuple[list[Piece], bytes]]] = deque()
            try:
                for start in range(0, pin.size, _RANGE):
                    ahead.append(pool.submit(self._range, wanted.key, pin, start))
                    if len(ahead) * _RANGE >= _IN_FLIGHT:
                        _hash_next(ahead, hasher, pieces)
                while ahead:
                    _hash_next(ahead, hasher, pieces)
            finally:
                for each in ahead:
                    each.cancel()
            return pieces, hasher.digest()

        return self._read(wanted, entry, read)

    def _read(
        self, wanted: Wanted, entry: Entry | None, read: Callable[[Pin], tuple[list[Piece], bytes]]
    ) -> _Read | _Left:
        """Read a file unless it is recorded as it is now, until it holds still."""
        try:
            for _ in range(_TRIES):
                pin = self._store.pin(wanted.key)
                now = wanted._replace(size=pin.size)
                if entry is not None and _same_source(entry, self._outside.place, now, pin, self._load):
                    return _Left(now, None)
                try:
                    pieces, whole = read(pin)
                except ObjectChanged:
                    continue
                if pin.etag or self._store.pin(wanted.key) == pin:
                    return _Read(now, pin, pieces, whole)
        except StoreError as error:
            if error.transient:
                raise
            return _Left(wanted, error.message)
        except (NotFound, InvalidInput, IntegrityError) as error:
            return _Left(wanted, error.message)
        return _Left(wanted, "it kept changing while it was read")

    def _range(self, key: str, pin: Pin, start: int) -> tuple[list[Piece], bytes]:
        data = self._store.get_pinned(key, pin, start, min(_RANGE, pin.size - start))
        self._progress.advance(0, 0, new=len(data))
        view = memoryview(data)
        return [piece_of(view[at : at + PIECE]) for at in range(0, len(data), PIECE)], data

    # recording

    def _take(self, done: _Read) -> Iterator[Entry]:
        """Put a file's pieces into external packs; yield the entries of packs that were finished for it."""
        pin, left, position = done.pin, done.pieces, 0
        self._report.read += pin.size
        extents: list[Extent] = []
        self._waiting.append((done.wanted, done.digest, extents))
        modified = None if pin.modified is None else format_time(pin.modified, "an object")
        while left:
            if self._builder.full:
                yield from self._close()
            source = Source(done.wanted.key, pin.size, position, 0, pin.etag, pin.version, modified)
            count, offset, stored = self._builder.take(source, left)
            length = sum(piece.length for piece in left[:count])
            self._parts.append((extents, offset, stored, length))
            left, position = left[count:], position + length

    def _close(self) -> Iterator[Entry]:
        """Write the external pack that is being filled, and yield the entries that are complete with it."""
        if not self._builder.empty:
            name, data = self._builder.encode()
            _write_pack(self._folder, name, data)
            self._report.packs += 1
            for extents, offset, stored, length in self._parts:
                extents.append(Extent(name, offset, stored, 0, length))
            self._builder, self._parts = Builder(self._outside.place), []
        waiting, self._waiting = self._waiting, []
        for wanted, whole, extents in waiting:
            if sum(extent.length for extent in extents) == wanted.size:
                yield Entry(wanted.path, wanted.kind, wanted.size, whole, "", tuple(extents))
            else:
                self._waiting.append((wanted, whole, extents))


def add_external(
    draft: LocalDraft,
    repository: Repository,
    edit: Callable[[dict[str, Entry | None]], None],
    urls: Sequence[str | Path],
    how: Scan,
    progress: Progress,
) -> ExternalReport:
    """Record what there is at some URLs; the caller holds the draft and commits.

    Raises:
        PathNotFound: there is nothing at one of them.
        StoreError: a store refuses, or cannot be reached.
        InvalidInput: this machine's configuration cannot be told that the places may be read.
    """
    began = time.perf_counter()
    report = ExternalReport()
    found = [find_outside(url, how) for url in urls]
    for outside in found:
        report.allowed = allow(outside.place, repository.url) or report.allowed
    progress.start(
        sum(len(outside.files) for outside in found),
        sum(wanted.size for outside in found for wanted in outside.files),
    )
    for outside in found:
        tree = draft.tree
        recorder = Recorder(
            outside,
            prior=tree.get if tree.summary().entries else lambda _path: None,
            load=draft.external_pack,
            folder=draft.external,
            report=report,
            progress=progress,
        )
        entries = recorder.entries()
        while batch := list(islice(entries, _FLUSH)):
            changes = changes_with(draft.tree, batch, how)
            if changes:
                edit(changes)
    report.problems += how.problems
    report.ignored, report.seconds = how.ignored, time.perf_counter() - began
    return report


def plan_external(
    draft: LocalDraft, repository: Repository, urls: Sequence[str | Path], how: Scan
) -> ExternalPlan:
    """Find out what `add_external` would record and read; asks how every object looks, and reads none."""
    found = [find_outside(url, how) for url in urls]
    tree = draft.tree
    filled = tree.summary().entries > 0
    problems, unchanged, size, read = list[tuple[str, str]](), 0, 0, 0
    for outside in found:
        with ThreadPoolExecutor(reads_at_once(outside.store), "dataver-plan") as pool:
            known = [(wanted, tree.get(wanted.path) if filled else None) for wanted in outside.files]
            for wanted, done in zip(outside.files, pool.map(_looker(outside, draft), known), strict=True):
                if isinstance(done, str):
                    problems.append((f"{outside.place}/{wanted.key}", done))
                    continue
                size += wanted.size
                unchanged += done
                read += 0 if done else wanted.size
    return ExternalPlan(
        files=sum(len(outside.files) for outside in found) - len(problems),
        size=size,
        unchanged=unchanged,
        read=read,
        ignored=how.ignored,
        places=[each.place for each in found if not is_allowed(each.place, repository.url)],
        problems=problems + how.problems,
    )


def _looker(outside: Outside, draft: LocalDraft) -> Callable[[tuple[Wanted, Entry | None]], bool | str]:
    """Return what tells whether a file is recorded as it is now, or what keeps it from being."""

    def look(known: tuple[Wanted, Entry | None]) -> bool | str:
        wanted, entry = known
        if entry is None:
            return False
        try:
            pin = outside.store.pin(wanted.key)
        except (NotFound, InvalidInput) as error:
            return error.message
        return _same_source(entry, outside.place, wanted, pin, draft.external_pack)

    return look


def _same_source(entry: Entry, place: str, wanted: Wanted, pin: Pin, load: Load) -> bool:
    """Tell whether an entry is external and its object still looks as it did when it was recorded."""
    if (entry.kind, entry.size) != (wanted.kind, pin.size) or not entry.extents:
        return False
    if not all(is_external(extent.pack) for extent in entry.extents):
        return False
    try:
        for extent in entry.extents:
            pack = load(extent.pack)
            for run in pack.runs(*pack.frames_of(extent)):
                if (pack.place, run.source.key) != (place, wanted.key) or not _alike(pin_of(run.source), pin):
                    return False
    except IntegrityError:
        return False
    return True


def _write_pack(folder: Path, name: bytes, data: bytes) -> None:
    """Write an external pack into a draft's folder, durably."""
    parse_external(data, name)  # what no reader would accept is never named by a tree
    folder.mkdir(exist_ok=True)
    with temporary_file(folder, [data]) as path:
        path.replace(folder / name[1:].hex())
    flush_folder(folder)


def _hash_next(ahead: "deque[Future[tuple[list[Piece], bytes]]]", hasher: Any, pieces: list[Piece]) -> None:
    more, data = ahead.popleft().result()
    hasher.update(data)
    pieces += more


def _alike(old: Pin, new: Pin) -> bool:
    if old.etag or new.etag:
        return (old.etag, old.version, old.size) == (new.etag, new.version, new.size)
    return new.modified is not None and (old.modified, old.size) == (new.modified, new.size)
