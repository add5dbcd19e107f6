"""Fetching a version: a read-only view in the cache, or a writable working copy.

The idea: both fill a new private folder and rename it at the end. In the cache this happens once for all
processes of a machine: one fills the folder under its lock, the others wait for it; a complete folder is used
without the lock. An interrupted fetch leaves its folder, and the next one reuses its intact files.

Keeps invariants 1, 4, 9 and 10. A working copy survives a power cut: its files are synced before they get
their names, all by one call, and the names before the fetch ends. The cache is not synced: a file that a
power cut emptied or truncated no longer matches its stat values, and is fetched again.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dataver.cache.stat_manifest import Row, write_rows
from dataver.cache.version_cache import CachedFolder, VersionCache, free_partial
from dataver.checkout.cached_check import damaged, shared_folder
from dataver.checkout.cached_files import CachedFiles
from dataver.checkout.folder import Folder, status_of
from dataver.checkout.local_sources import LARGE, Interrupted, LocalSource
from dataver.checkout.materialise import check_space, fill, local_errors, parts_of
from dataver.checkout.selection import FetchRequest, folding_of, survey, written_size
from dataver.checkout.working_copy import Existing, FolderComparison
from dataver.errors import Conflict
from dataver.formats.entry import Kind
from dataver.hashing.digest import digest
from dataver.machine.cache_root import private_cache_root
from dataver.machine.deep_folders import open_folder, remove_folder, walk_folders
from dataver.progress import SILENT, Counters, Progress
from dataver.repository.read_again import PackMissing
from dataver.short_repr import short_repr
from dataver.storage.durable import flush_file_system, flush_folder
from dataver.tree.selection import WHOLE, Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dataver.formats.entry import Entry
    from dataver.repository import RepositoryCore

__all__ = ["FetchReport", "fetch"]

_EMPTY_FOLDER: Final = int(Kind.DIRECTORY)
_STAGING: Final = "fetch-"
_NO_CACHE: Final = "set DATAVER_CACHE to a folder that can be written, or fetch a working copy with `--dest`"


@dataclass(slots=True)
class FetchReport:
    """Result of a fetch. It can be used as the path of the folder: `open(report / "a.csv")`.

    Attributes:
        path: the folder.
        files: files of the version in it.
        size: their bytes.
        transferred: stored bytes read from the repository.
        reused: bytes of files that were on this machine already.
        seconds: wall time.
        problems: entries left out, with the reason; without any, the folder is complete.
        extra: files in `dest` that are not in the version; they are unchanged.
        repaired: damaged entries that were replaced.
        uncached: the reason why no cache was used; else empty.
    """

    path: Path
    files: int = 0
    size: int = 0
    transferred: int = 0
    reused: int = 0
    seconds: float = 0.0
    problems: list[tuple[str, str]] = field(default_factory=list)
    extra: int = 0
    repaired: int = 0
    uncached: str = ""

    __repr__ = short_repr

    def __fspath__(self) -> str:
        return str(self.path)

    def __truediv__(self, name: str | os.PathLike[str]) -> Path:
        return self.path / name

    def glob(self, pattern: str) -> Iterator[Path]:
        """Yield the paths in the folder that match a pattern, as `pathlib.Path.glob` does."""
        return self.path.glob(pattern)

    def rglob(self, pattern: str) -> Iterator[Path]:
        """Yield the paths at any depth that match a pattern, as `pathlib.Path.rglob` does."""
        return self.path.rglob(pattern)

    def iterdir(self) -> Iterator[Path]:
        """Yield the paths of the files and folders in the folder."""
        return self.path.iterdir()

    def __str__(self) -> str:
        return str(self.path)


def fetch(
    repo: RepositoryCore,
    tree: bytes,
    *,
    dest: Path | None = None,
    selection: Selection = WHOLE,
    cache: VersionCache,
    progress: Progress = SILENT,
    verify: str = "stat",
    overwrite: bool = False,
    near: Sequence[bytes] = (),
    ref: str = "",
) -> FetchReport:
    """Bring a version, or a selection of it, to this machine.

    Args:
        repo: the repository.
        tree: digest of the version's tree.
        dest: folder for a writable working copy; None gives the read-only view in the cache.
        selection: the part of the version.
        cache: the machine's cached folders.
        progress: receives counts of files and bytes.
        verify: how local files are checked before they are used: "stat" or "full" (hashed).
        overwrite: replace files in `dest` that differ.
        near: digests of trees that share much with this one, such as the parents'.
        ref: the version's name, recorded in the cache.

    Raises:
        PathNotFound: a pattern matches nothing.
        Conflict: files in `dest` differ; nothing was changed.
        InvalidInput: the file system cannot distinguish two names; nothing was written.
        IntegrityError: the repository holds damaged bytes of a file, which it names.
        StoreError: the repository or the local disk failed.
    """
    begin = time.monotonic()
    wish = FetchRequest(repo, tree, selection)

    def attempt() -> FetchReport:
        job = _Fetch(wish, cache, Counters(progress), verify == "full", tuple(near), ref)
        with local_errors(cache.root, _NO_CACHE) if dest is None else local_errors(dest):
            return job.into_cache() if dest is None else job.into(dest, overwrite=overwrite)

    try:
        report = attempt()
    except PackMissing:  # the layouts read before may predate a repack
        repo.blocks.refresh()
        report = attempt()  # continues with the files that have arrived
    report.seconds = time.monotonic() - begin
    return report


@dataclass(slots=True)
class _Fetch:
    wish: FetchRequest
    cache: VersionCache
    progress: Progress
    full: bool
    near: tuple[bytes, ...]
    ref: str

    # the read-only view in the cache

    def into_cache(self) -> FetchReport:
        """Return the complete folder, or complete it under its lock."""
        wish = self.wish
        name = wish.name
        self.cache.use(name)
        found = self.cache.lookup(wish.tree, wish.selection)
        if found is not None and not self.full and damaged(found, None) == set():
            self.cache.touch(found)
            return _ready(found)
        if found is None and (shared := shared_folder(wish, self.cache, full=self.full)) is not None:
            return _ready(shared)
        with self.cache.lock(name):
            found = self.cache.lookup(wish.tree, wish.selection)
            if found is None:
                return self._make(name)
            bad = damaged(found, wish.entries() if self.full else None)
            if bad is None:
                return self._make(name)
            self.cache.touch(found)
            return self._repair(found, bad) if bad else _ready(found)

    def _make(self, name: str) -> FetchReport:
        """Fill a new folder, reusing local files, and rename it."""
        from dataver.cache.eviction import make_room  # a folder that is found ready does without

        wish = self.wish
        partial, left = self.cache.begin(name)
        final = self.cache.trees / name
        if os.path.lexists(final):  # unknown contents: its files are verified again, as after an interruption
            moved = partial.with_name(f"{partial.name}-0")
            remove_folder(moved)
            final.chmod(0o700)
            final.rename(moved)
            left = [moved, *(path for path in left if path != moved)]
        total = survey(wish, folding_of(self.cache.trees))
        self.progress.start(total.files, total.size)
        with ExitStack() as stack:
            cached = stack.enter_context(self._cached(link=True))
            parts = cached.look_up(wish.parts())
            size = written_size(wish, total.size)
            make_room(self.cache, size, cached.used)
            if not left and not cached.used:
                check_space(self.cache.trees, size)
            folder = stack.enter_context(Folder(partial, writable=False))
            sources = [*self._interrupted(stack, left), cached]
            filled = fill(wish.repo, parts, folder, sources, self.progress)
            made = CachedFolder(
                final,
                wish.tree,
                wish.selection,
                self.ref,
                total.files,
                total.size,
                tuple(filled.problems),
                wish.repo.url,
            )
            left_out = {path for path, _ in filled.problems}
            write_rows(made.manifest, _rows(wish, folder.fd, left_out, filled.stamps, folder.seal_above))
            folder.seal()
            self.cache.describe(made)
            partial.rename(final)  # from here on it is visible to other processes
        for path in left:
            remove_folder(path)
        make_room(self.cache, 0, [name])
        return _ready(made, transferred=filled.transferred, reused=filled.reused)

    def _repair(self, found: CachedFolder, bad: set[str]) -> FetchReport:
        """Fetch damaged and missing files again and replace them with one rename each."""
        wish = self.wish
        partial, left = self.cache.begin(found.path.name)
        for path in left:
            remove_folder(path)
        again = [entry for entry in wish.entries() if entry.path in bad]
        self.progress.start(len(again), sum(entry.size for entry in again))
        with Folder(partial, writable=False) as folder:
            filled = fill(wish.repo, parts_of(again), folder, (), self.progress)
            left_out = {path for path, _ in found.problems}
            with _writable_folders(found.path), Existing(found.path) as existing:
                for entry in again:
                    if entry.kind == Kind.DIRECTORY:
                        existing.make_folder(entry.path)
                    elif entry.path not in left_out:
                        existing.move_in(entry.path, folder.fd, overwrite=True)
            fd = open_folder(found.path)
            try:
                fresh = found.manifest.with_suffix(".stat.new")
                write_rows(fresh, _rows(wish, fd, left_out))
                fresh.replace(found.manifest)
            finally:
                os.close(fd)
        remove_folder(partial)
        kept = found.size - sum(entry.size for entry in again)
        report = _ready(found, transferred=filled.transferred, reused=kept)
        report.repaired = len(again)
        return report

    # a working copy

    def into(self, dest: Path, *, overwrite: bool) -> FetchReport:
        """Create or complete a working copy."""
        dest = Path(os.path.abspath(dest))  # noqa: PTH100  # Path.absolute keeps `..`
        key = digest(os.fsencode(dest))[:16].hex()
        with _locked(self.cache, f"dest-{key}"):
            if os.path.lexists(dest):
                if not dest.is_dir():
                    raise Conflict(f"{dest} exists and is not a folder.", hint="choose another folder")
                return self._merge(dest, overwrite=overwrite)
            dest.parent.mkdir(parents=True, exist_ok=True)
            return self._new(dest)

    def _new(self, dest: Path) -> FetchReport:
        """Fill a folder beside `dest`, then rename it."""
        wish = self.wish
        name = wish.name[:96]
        partial, left = free_partial(dest.with_name(f".{dest.name[:80]}.dataver-{name[:16]}"))
        total = survey(wish, folding_of(dest.parent))
        self.progress.start(total.files, total.size)
        with ExitStack() as stack:
            cached = stack.enter_context(self._cached(link=False))
            if not left:
                check_space(dest.parent, written_size(wish, total.size))
            folder = stack.enter_context(Folder(partial, writable=True))
            sources = [*self._interrupted(stack, left), cached]
            filled = fill(wish.repo, cached.look_up(wish.parts()), folder, sources, self.progress)
            flush_file_system(partial)
            try:
                partial.rename(dest)
            except OSError as error:
                raise Conflict(
                    f"{dest} was created by another process during the fetch; it is unchanged.",
                    hint="fetch again",
                ) from error
            flush_folder(dest.parent)
        for path in left:
            remove_folder(path)
        return FetchReport(
            dest, total.files, total.size, filled.transferred, filled.reused, problems=filled.problems
        )

    def _merge(self, dest: Path, *, overwrite: bool) -> FetchReport:
        """Fill a folder inside `dest` with the missing files, then move each file to its place."""
        wish = self.wish
        total = survey(wish, folding_of(dest))
        self.progress.start(total.files, total.size)
        with ExitStack() as stack:
            existing = stack.enter_context(Existing(dest))
            compared = existing.compare(wish.entries())
            compared.refuse(dest, overwrite=overwrite)
            kept = sum(compared.same)
            self.progress.advance(kept, compared.equal_size)
            staging = stack.enter_context(_staging(dest, wish))
            left = free_partial(staging)[1]
            cached = stack.enter_context(self._cached(link=False))
            if not left:
                check_space(dest, written_size(wish, total.size) - compared.equal_size)
            with Folder(staging, writable=True) as folder:
                parts = cached.look_up(parts_of(_missing(wish, compared)))
                sources = [*self._interrupted(stack, left), cached]
                filled = fill(wish.repo, parts, folder, sources, self.progress)
                left_out = {path for path, _ in filled.problems}
                if not all(compared.same):
                    flush_file_system(staging)
                for entry in _missing(wish, compared):
                    if entry.kind == Kind.DIRECTORY:
                        existing.make_folder(entry.path)
                    elif entry.path not in left_out:
                        existing.move_in(entry.path, folder.fd, overwrite=overwrite)
            if not all(compared.same):
                flush_file_system(dest)
            for path in (staging, *left):
                remove_folder(path)
            folders = sum(rows.kinds[n] == _EMPTY_FOLDER for rows, numbers in wish.parts() for n in numbers)
            written = total.entries - folders - len(left_out)
            extra = existing.count_files() - written
        return FetchReport(
            dest,
            total.files,
            total.size,
            filled.transferred,
            filled.reused + compared.equal_size,
            problems=filled.problems,
            extra=max(extra, 0),
        )

    def _interrupted(self, stack: ExitStack, left: Iterable[Path]) -> Iterator[LocalSource]:
        """Open the folders of interrupted fetches."""
        for path in left:
            with suppress(OSError):
                source = Interrupted(path, self.wish.repo)
                stack.callback(source.close)
                yield source

    def _cached(self, *, link: bool) -> CachedFiles:
        """Return the files of the cached folders, those of this tree and of near ones first."""
        wish = self.wish
        return CachedFiles(wish.repo, self.cache, (wish.tree, *self.near), link=link, full=self.full)


@contextmanager
def _locked(cache: VersionCache, name: str) -> Iterator[None]:
    """Hold a lock in the cache, else in the private folder; no lock if neither can be written."""
    with ExitStack() as stack:
        for each in (cache, VersionCache(private_cache_root())):
            with suppress(OSError):
                stack.enter_context(each.lock(name))
                break
        yield


def _ready(found: CachedFolder, *, transferred: int = 0, reused: int | None = None) -> FetchReport:
    """Return the report on a complete folder; by default, all of it was reused."""
    kept = found.size if reused is None else reused
    return FetchReport(found.path, found.files, found.size, transferred, kept, problems=list(found.problems))


def _missing(wish: FetchRequest, compared: FolderComparison) -> Iterator[Entry]:
    for entry, same in zip(wish.entries(), compared.same, strict=True):
        if not same:
            yield entry


def _rows(
    wish: FetchRequest,
    root: int,
    left_out: set[str],
    stamps: Sequence[int] = (),
    passed: Callable[[str], None] | None = None,
) -> Iterator[list[Row]]:
    """Yield the manifest rows of all written entries, a leaf at a time.

    Args:
        wish: the fetched selection.
        root: descriptor of the folder.
        left_out: entries that were not written.
        stamps: modification time of each entry in order, 0 if unknown; may end early.
        passed: called with each path; that of an empty folder ends with `/`.
    """
    known = iter(stamps)
    for rows, numbers in wish.parts():
        found = []
        for number in numbers:
            path, kind, size, stamp = (
                rows.paths[number],
                rows.kinds[number],
                rows.sizes[number],
                next(known, 0),
            )
            extents = rows.entry(number).extents if size >= LARGE else ()
            if kind == _EMPTY_FOLDER:
                found.append(Row(path, kind, 0, 0))
                path += "/"
            elif stamp:
                found.append(Row(path, kind, size, stamp, rows.file_digest(number), extents))
            elif path not in left_out:
                status = status_of(root, path)
                name = rows.file_digest(number)
                found.append(Row(path, kind, status.st_size, status.st_mtime_ns, name, extents))
            if passed is not None:
                passed(path)
        yield found


@contextmanager
def _writable_folders(path: Path) -> Iterator[None]:
    """Make read-only folders writable temporarily, so that files can be replaced."""
    top = open_folder(path)
    try:
        for bits in (stat.S_IWUSR, 0):
            for visit in walk_folders(top):
                mode = stat.S_IMODE(os.fstat(visit.fd).st_mode)
                os.fchmod(visit.fd, mode | bits if bits else mode & 0o555)
            if bits:
                yield
    finally:
        os.close(top)


@contextmanager
def _staging(dest: Path, wish: FetchRequest) -> Iterator[Path]:
    """Provide a path for a private folder below `dest`, which no entry can have."""
    parent = dest / ".dataver"
    ours = not os.path.lexists(parent)
    try:
        if ours:
            parent.mkdir()
        os.close(open_folder(parent))  # a link there would lead elsewhere
        ours = ours or all(
            path.name.startswith(_STAGING) for path in parent.iterdir()
        )  # left by an interrupted fetch, if it is empty as well
        yield parent / f"{_STAGING}{wish.name[:90]}"
    finally:
        if ours:
            with suppress(OSError):  # keeps the files with which the next fetch can continue
                parent.rmdir()
