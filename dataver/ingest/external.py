"""Recording external files: each is read once, for its digests, and not copied.

The idea: objects are read in ranges, many at once; each piece is hashed by the thread that read it, the
whole file in order by the caller's. The results are ordinary entries whose extents are in external packs.
Files already recorded with the same tag, version or time are not read again.

Keeps invariant 1: an object that changes while it is read is read again, or refused. Write order as for any
draft (invariant 4): external packs are synced before the blocks that name them. Unlike files added with
`add`, these bytes are not safe (invariant 6): their owner may change them, which readers detect.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from dataver import parallel
from dataver.errors import IntegrityError, InvalidInput, NotFound, StoreError
from dataver.formats.canonical_json import format_time
from dataver.formats.entry import Entry, Extent, is_external
from dataver.formats.external import (
    PIECE,
    ExternalBuilder,
    ExternalPack,
    ExternalPiece,
    ExternalSource,
    parse_external,
    piece_of,
)
from dataver.hashing import digest, new_hasher
from dataver.hashing.checksums import Hasher, hasher
from dataver.ingest.add_operation import changes_with
from dataver.ingest.draft_store import DraftStore
from dataver.ingest.external_listing import ExternalFile, Outside, find_outside, reads_at_once
from dataver.ingest.scan import Scan, require_included
from dataver.progress import Progress
from dataver.repository import RepositoryCore
from dataver.repository.external_trust import allow, is_allowed
from dataver.repository.externals import pin_of
from dataver.short_repr import short_repr
from dataver.storage import ObjectChanged, Pin, Store
from dataver.storage.durable import replace_file

__all__ = [
    "ExternalPlan",
    "ExternalRecorder",
    "ExternalReport",
    "add_external",
    "plan_external",
    "record_outside",
]

_RANGE: Final = 8 * PIECE  # bytes of one read
_IN_FLIGHT: Final = 128 << 20  # bytes of files that are being read at once
_FILES: Final = 64  # and their number
_FLUSH: Final = 50_000  # entries that are turned into tree blocks together
_TRIES: Final = 3  # attempts to read an object that keeps changing

Load = Callable[[bytes], ExternalPack]


@dataclass
class ExternalReport:
    """Result of an `add_external`. Sizes in bytes.

    Attributes:
        files: files, links and empty folders scanned.
        size: their bytes, none of which are copied.
        unchanged: how many were recorded already and are unchanged.
        read: bytes read to hash them.
        packs: external packs written.
        ignored: files and folders that patterns excluded.
        allowed: the configuration file that now allows this machine to read the places, if it was changed.
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

    __repr__ = short_repr


@dataclass(frozen=True)
class ExternalPlan:
    """Plan of an `add_external`. Sizes in bytes.

    Attributes:
        files: files to be recorded.
        size: their bytes.
        unchanged: how many are recorded already and are unchanged.
        read: bytes that would be read to hash the others.
        ignored: files and folders that patterns exclude.
        places: the URLs that this machine would be allowed to read from.
        problems: `(name, reason)` of items that cannot be recorded.
    """

    files: int
    size: int
    unchanged: int
    read: int
    ignored: int
    places: list[str]
    problems: list[tuple[str, str]]

    __repr__ = short_repr


class _Read(NamedTuple):
    """A file that was read: its attributes, its pieces and its digest."""

    wanted: ExternalFile
    pin: Pin
    pieces: list[ExternalPiece]
    digest: bytes


class _Left(NamedTuple):
    """A file that was not read: it is unchanged (None), or the reason."""

    wanted: ExternalFile
    problem: str | None


class ExternalRecorder:
    """Recorder of the files of one place, for one command.

    Args:
        outside: the place and its files.
        prior: returns the current entry at a path, or None.
        load: returns an external pack, of the draft or the repository.
        folder: receives new external packs.
        report: receives counts and problems.
        progress: receives counts of files and bytes.
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
        self._builder = ExternalBuilder(outside.place)
        self._parts: list[
            tuple[list[Extent], int, int, int]
        ] = []  # entries whose extents are completed once the id is known
        self._waiting: list[tuple[ExternalFile, bytes, list[Extent]]] = []

    def entries(self) -> Iterator[Entry]:
        """Read new and changed files and yield their entries, those of a pack once it is durable.

        Raises:
            StoreError: the store cannot be reached; the draft is unchanged.
        """
        report = self._report
        for entry in self._outside.others:
            report.files += 1
            yield entry
        for done in self._results():
            report.files += 1
            report.size += done.wanted.size
            if isinstance(done, _Read):
                yield from self._append_pieces(done)
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
        """Yield the result for each file, in no order; all threads read a large one, one a small one."""
        with parallel.pool(reads_at_once(self._store), "record") as pool:
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

    def _small(self, wanted: ExternalFile, entry: Entry | None) -> _Read | _Left:
        def read(pin: Pin, other: Hasher | None) -> tuple[list[ExternalPiece], bytes]:
            if not pin.size:
                return [], digest(b"")
            pieces, data = self._range(wanted.key, pin, 0)
            if other is not None:
                other.update(data)
            return pieces, pieces[0].digest if len(pieces) == 1 else digest(data)

        return self._read(wanted, entry, read)

    def _large(self, wanted: ExternalFile, entry: Entry | None, pool: ThreadPoolExecutor) -> _Read | _Left:
        def read(pin: Pin, other: Hasher | None) -> tuple[list[ExternalPiece], bytes]:
            ours, pieces = new_hasher(), list[ExternalPiece]()
            hashers = [ours, other] if other is not None else [ours]
            ahead: deque[Future[tuple[list[ExternalPiece], bytes]]] = deque()
            try:
                for start in range(0, pin.size, _RANGE):
                    ahead.append(pool.submit(self._range, wanted.key, pin, start))
                    if len(ahead) * _RANGE >= _IN_FLIGHT:
                        _hash_next(ahead, hashers, pieces)
                while ahead:
                    _hash_next(ahead, hashers, pieces)
            finally:
                for each in ahead:
                    each.cancel()
            return pieces, ours.digest()

        return self._read(wanted, entry, read)

    def _read(
        self,
        wanted: ExternalFile,
        entry: Entry | None,
        read: Callable[[Pin, Hasher | None], tuple[list[ExternalPiece], bytes]],
    ) -> _Read | _Left:
        """Read a file until it is stable, unless it is already recorded and unchanged."""
        check = wanted.check
        try:
            for _ in range(_TRIES):
                pin = self._store.pin(wanted.key, wanted.version)
                now = wanted._replace(size=pin.size)
                if entry is not None and _same_source(entry, self._outside.place, now, pin, self._load):
                    return _Left(now, None)
                other = check and hasher(check.algorithm, pin.size)
                try:
                    pieces, whole = read(pin, other)
                except ObjectChanged:
                    continue
                if check and other and (wrong := check.difference(other.hexdigest())):
                    return _Left(wanted, wrong)
                if pin.etag or self._store.pin(wanted.key, wanted.version) == pin:
                    return _Read(now, pin, pieces, whole)
        except StoreError as error:
            if error.transient:
                raise
            return _Left(wanted, error.message)
        except (NotFound, InvalidInput, IntegrityError) as error:
            return _Left(wanted, error.message)
        return _Left(wanted, "it kept changing while it was read")

    def _range(self, key: str, pin: Pin, start: int) -> tuple[list[ExternalPiece], bytes]:
        data = self._store.get_pinned(key, pin, start, min(_RANGE, pin.size - start))
        self._progress.advance(0, 0, new=len(data))
        view = memoryview(data)
        return [piece_of(view[at : at + PIECE]) for at in range(0, len(data), PIECE)], data

    # recording

    def _append_pieces(self, done: _Read) -> Iterator[Entry]:
        """Put a file's pieces into external packs; yield the entries of packs finished meanwhile."""
        pin, left, position = done.pin, done.pieces, 0
        self._report.read += pin.size
        extents: list[Extent] = []
        self._waiting.append((done.wanted, done.digest, extents))
        modified = None if pin.modified is None else format_time(pin.modified, "an object")
        while left:
            if self._builder.full:
                yield from self._close()
            source = ExternalSource(done.wanted.key, pin.size, position, 0, pin.etag, pin.version, modified)
            count, offset, stored = self._builder.append(source, left)
            length = sum(piece.length for piece in left[:count])
            self._parts.append((extents, offset, stored, length))
            left, position = left[count:], position + length

    def _close(self) -> Iterator[Entry]:
        """Write the current external pack, and yield the entries that it completes."""
        if not self._builder.empty:
            name, data = self._builder.encode()
            _write_pack(self._folder, name, data)
            self._report.packs += 1
            for extents, offset, stored, length in self._parts:
                extents.append(Extent(name, offset, stored, 0, length))
            self._builder, self._parts = ExternalBuilder(self._outside.place), []
        waiting, self._waiting = self._waiting, []
        for wanted, whole, extents in waiting:
            if sum(extent.length for extent in extents) == wanted.size:
                yield Entry(wanted.path, wanted.kind, wanted.size, whole, "", tuple(extents))
            else:
                self._waiting.append((wanted, whole, extents))


def _outside(urls: Sequence[str | Path], how: Scan) -> list[Outside]:
    """Return the files at some URLs, after checking that each pattern of `include` matches one."""
    found = [find_outside(url, how) for url in urls]
    skip = len(how.dest) + 1 if how.dest else 0
    paths = [each.path for outside in found for each in outside.files]
    paths += [each.path for outside in found for each in outside.others]
    require_included(how, (path[skip:] for path in (*paths, *how.unseen)))
    return found


def add_external(
    draft: DraftStore,
    repository: RepositoryCore,
    edit: Callable[[dict[str, Entry | None]], None],
    urls: Sequence[str | Path],
    how: Scan,
    progress: Progress,
) -> ExternalReport:
    """Record the files at some URLs; the caller holds the draft and commits.

    Raises:
        PathNotFound: there is nothing at one of them.
        StoreError: a store refuses, or cannot be reached.
        InvalidInput: this machine's configuration cannot be changed to allow reading the places.
    """
    began = time.perf_counter()
    report = ExternalReport()
    found = _outside(urls, how)
    for outside in found:
        report.allowed = allow(outside.place, repository.url) or report.allowed
    progress.start(
        sum(len(outside.files) for outside in found),
        sum(wanted.size for outside in found for wanted in outside.files),
    )
    for outside in found:
        record_outside(draft, edit, outside, how, report, progress)
    report.problems += how.problems
    report.ignored, report.seconds = how.ignored, time.perf_counter() - began
    return report


def record_outside(
    draft: DraftStore,
    edit: Callable[[dict[str, Entry | None]], None],
    outside: Outside,
    how: Scan,
    report: ExternalReport,
    progress: Progress,
) -> None:
    """Record the files of one place; the caller holds the draft and commits. Errors as of `add_external`."""
    tree = draft.tree
    recorder = ExternalRecorder(
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


def plan_external(
    draft: DraftStore, repository: RepositoryCore, urls: Sequence[str | Path], how: Scan
) -> ExternalPlan:
    """Return what `add_external` would record and read; queries attributes only, reads no object."""
    found = _outside(urls, how)
    tree = draft.tree
    filled = tree.summary().entries > 0
    problems, unchanged, size, read = list[tuple[str, str]](), 0, 0, 0
    for outside in found:
        with parallel.pool(reads_at_once(outside.store), "plan") as pool:
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


def _looker(outside: Outside, draft: DraftStore) -> Callable[[tuple[ExternalFile, Entry | None]], bool | str]:
    """Return a function that returns whether a file is recorded and unchanged, or the problem with it."""

    def look(known: tuple[ExternalFile, Entry | None]) -> bool | str:
        wanted, entry = known
        if entry is None:
            return False
        try:
            pin = outside.store.pin(wanted.key)
        except (NotFound, InvalidInput) as error:
            return error.message
        return _same_source(entry, outside.place, wanted, pin, draft.external_pack)

    return look


def _same_source(entry: Entry, place: str, wanted: ExternalFile, pin: Pin, load: Load) -> bool:
    """Return whether an entry is external and its object has the recorded attributes."""
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
    parse_external(data, name)  # a tree must not name a pack that readers reject
    folder.mkdir(exist_ok=True)
    replace_file(folder / name[1:].hex(), data, durable=True)


def _hash_next(
    ahead: "deque[Future[tuple[list[ExternalPiece], bytes]]]",
    hashers: Sequence[Any],
    pieces: list[ExternalPiece],
) -> None:
    more, data = ahead.popleft().result()
    for each in hashers:
        each.update(data)
    pieces += more


def _alike(old: Pin, new: Pin) -> bool:
    if old.etag or new.etag:
        return (old.etag, old.version, old.size) == (new.etag, new.version, new.size)
    return new.modified is not None and (old.modified, old.size) == (new.modified, new.size)
