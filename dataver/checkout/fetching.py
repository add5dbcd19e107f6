"""Fetching a version: a read-only folder in the cache, or an own writable copy.

The idea: both ways fill a fresh private folder and give it its name at the end. In the cache that happens
once for all processes of a machine: one fills the folder under its lock, the others wait and find it ready;
whoever finds it ready needs no lock. An interrupted fetch leaves its folder, and the next one takes over what
is whole.

Keeps invariants 1, 4, 9 and 10. Cached files are not fsynced, like those of `cp`: after a power cut
`verify="full"` finds what the disk lost.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dataver.checkout.folder import Folder, located, open_folder
from dataver.checkout.materialise import check_space, fill, fill_entries, local_errors
from dataver.checkout.own_copy import Comparison, Existing
from dataver.checkout.reuse import Cached, Interrupted, Source, hash_file
from dataver.checkout.stat_manifest import Row, read_rows, write_rows
from dataver.checkout.version_cache import CachedFolder, free_partial, remove_folder
from dataver.checkout.wish import Wish, folding_of, survey
from dataver.errors import Conflict, IntegrityError, InvalidInput
from dataver.formats.entry import Kind
from dataver.hashing.digest import digest
from dataver.progress import SILENT, Counters, Progress
from dataver.repository.packs import PackMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dataver.checkout.version_cache import VersionCache
    from dataver.formats.entry import Entry
    from dataver.repository import Repository
    from dataver.tree.shard import Shard

__all__ = ["FetchReport", "fetch"]

_EMPTY_FOLDER: Final = int(Kind.DIRECTORY)
_STAGING: Final = "fetch-"


@dataclass(slots=True)
class FetchReport:
    """What a fetch did.

    Attributes:
        path: the folder.
        files: files of the version in it.
        size: bytes of them.
        transferred: stored bytes read from the repository.
        reused: bytes of files that were on this machine already.
        seconds: how long it took.
        problems: entries left out, with the reason; without any, the folder is all that was asked for.
        extra: files in `dest` that the version does not know; they were left alone.
        repaired: entries that were there and wrong, and were replaced.
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


def fetch(
    repo: Repository,
    tree: bytes,
    *,
    dest: Path | None = None,
    patterns: Sequence[str] | None = None,
    shard: Shard | None = None,
    cache: VersionCache,
    progress: Progress = SILENT,
    verify: str = "stat",
    overwrite: bool = False,
    near: Sequence[bytes] = (),
    ref: str = "",
) -> FetchReport:
    """Bring a version, or what globs select of it, to this machine.

    Args:
        repo: the repository.
        tree: digest of the version's tree.
        dest: folder for an own, writable copy; None gives the read-only folder of the cache.
        patterns: globs; None takes everything.
        shard: of what they select, the part of some of several readers; None takes everything.
        cache: the machine's cached folders.
        progress: told of files and bytes.
        verify: how what is on this machine is checked before it is used: "stat" or "full" (hashed).
        overwrite: replace files in `dest` that differ.
        near: digests of trees that share much with this one, such as the parents'.
        ref: the version's name, noted in the cache.

    Raises:
        PathNotFound: the globs select nothing.
        Conflict: files in `dest` differ; nothing was changed.
        InvalidInput: names that the file system cannot tell apart; nothing was written.
        IntegrityError: the repository holds wrong bytes, by the file's name.
        StoreError: the repository or the local disk failed.
    """
    begin = time.monotonic()
    if patterns is not None and not list(patterns):
        raise InvalidInput("no path is selected.", hint="leave `paths` out to fetch everything")
    wish = Wish(repo, tree, tuple(patterns or ()), shard)

    def attempt() -> FetchReport:
        job = _Job(wish, cache, Counters(progress), verify == "full", tuple(near), ref)
        with local_errors(cache.root if dest is None else dest):
            return job.into_cache() if dest is None else job.into(dest, overwrite=overwrite)

    try:
        report = attempt()
    except PackMissing:  # was it repacked, and are the layouts at hand those of before?
        repo.blocks.refresh()
        report = attempt()  # goes on with what has arrived
    report.seconds = time.monotonic() - begin
    return report


@dataclass(slots=True)
class _Job:
    wish: Wish
    cache: VersionCache
    progress: Progress
    full: bool
    near: tuple[bytes, ...]
    ref: str

    # the read-only folder in the cache

    def into_cache(self) -> FetchReport:
        """Find the folder ready, or make it so under its lock."""
        wish = self.wish
        name = wish.name
        self.cache.use(name)
        found = self.cache.lookup(wish.tree, wish.patterns, wish.shard)
        if found is not None and self.cache.foreign(found):
            self.full = True
        if found is not None and not self.full and _damaged(found, None) == set():
            self.cache.touch(found)
            return _ready(found)
        with self.cache.lock(name):
            found = self.cache.lookup(wish.tree, wish.patterns, wish.shard)
            if found is None:
                return self._make(name)
            bad = _damaged(found, wish.entries() if self.full else None)
            if bad is None:
                return self._make(name)
            self.cache.touch(found)
            report = self._repair(found, bad) if bad else _ready(found)
            if self.full:
                self.cache.believe(found)
            return report

    def _make(self, name: str) -> FetchReport:
        """Fill a fresh folder, taking over what is here, and give it its name."""
        wish = self.wish
        partial, left = self.cache.begin(name)
        final = self.cache.trees / name
        if os.path.lexists(final):  # nothing says what it is: its files are verified anew, like any left over
            moved = partial.with_name(f"{partial.name}-0")
            remove_folder(moved)
            final.chmod(0o700)
            final.rename(moved)
            left = [moved, *(path for path in left if path != moved)]
        total = survey(wish, folding_of(self.cache.trees))
        self.progress.start(total.files, total.size)
        with ExitStack() as stack:
            sources = self._sources(stack, left, link=True)
            self.cache.make_room(total.size, self._near())
            if not sources:
                check_space(self.cache.trees, total.size)
            folder = stack.enter_context(Folder(partial, writable=False))
            filled = fill(wish.repo, wish.parts(), folder, sources, self.progress)
            cached = CachedFolder(
                final,
                wish.tree,
                wish.patterns,
                self.ref,
                total.files,
                total.size,
                tuple(filled.problems),
                wish.repo.url,
                wish.shard,
            )
            left_out = {path for path, _ in filled.problems}
            write_rows(cached.manifest, _rows(wish, folder.fd, left_out, filled.stamps, folder.seal_above))
            folder.seal()
            self.cache.describe(cached)
            partial.rename(final)  # from here on it is there for everybody
        for path in left:
            remove_folder(path)
        self.cache.make_room(0, [name])
        return _ready(cached, transferred=filled.transferred, reused=filled.reused)

    def _repair(self, found: CachedFolder, bad: set[str]) -> FetchReport:
        """Fetch damaged and missing files again and put them in place, one rename each."""
        wish = self.wish
        partial, left = self.cache.begin(found.path.name)
        for path in left:
            remove_folder(path)
        again = [entry for entry in wish.entries() if entry.path in bad]
        self.progress.start(len(again), sum(entry.size for entry in again))
        with Folder(partial, writable=False) as folder:
            filled = fill_entries(wish.repo, again, folder, (), self.progress)
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

    # an own copy

    def into(self, dest: Path, *, overwrite: bool) -> FetchReport:
        """Make or complete the user's own copy."""
        dest = Path(os.path.abspath(dest))  # noqa: PTH100  # Path.absolute keeps `..`
        key = digest(os.fsencode(dest))[:16].hex()
        with self.cache.lock(f"dest-{key}"):
            if os.path.lexists(dest):
                if not dest.is_dir():
                    raise Conflict(f"{dest} is there and is no folder.", hint="choose another folder")
                return self._merge(dest, overwrite=overwrite)
            dest.parent.mkdir(parents=True, exist_ok=True)
            return self._new(dest)

    def _new(self, dest: Path) -> FetchReport:
        """Fill a folder beside the place of `dest`, then rename it."""
        wish = self.wish
        name = wish.name[:96]
        partial, left = free_partial(dest.with_name(f".{dest.name[:80]}.dataver-{name[:16]}"))
        total = survey(wish, folding_of(dest.parent))
        self.progress.start(total.files, total.size)
        with ExitStack() as stack:
            sources = self._sources(stack, left, link=False)
            if not left:
                check_space(dest.parent, total.size)
            folder = stack.enter_context(Folder(partial, writable=True))
            filled = fill(wish.repo, wish.parts(), folder, sources, self.progress)
            try:
                partial.rename(dest)
            except OSError as error:
                raise Conflict(
                    f"something appeared at {dest} while the version was fetched; it was left alone.",
                    hint="fetch again",
                ) from error
        for path in left:
            remove_folder(path)
        return FetchReport(
            dest, total.files, total.size, filled.transferred, filled.reused, problems=filled.problems
        )

    def _merge(self, dest: Path, *, overwrite: bool) -> FetchReport:
        """Fill a folder inside `dest` with what it lacks, then move each file to its place."""
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
            sources = self._sources(stack, left, link=False)
            if not left:
                check_space(dest, total.size - compared.equal_size)
            with Folder(staging, writable=True) as folder:
                filled = fill_entries(wish.repo, _missing(wish, compared), folder, sources, self.progress)
                left_out = {path for path, _ in filled.problems}
                for entry in _missing(wish, compared):
                    if entry.kind == Kind.DIRECTORY:
                        existing.make_folder(entry.path)
                    elif entry.path not in left_out:
                        existing.move_in(entry.path, folder.fd, overwrite=overwrite)
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

    def _sources(self, stack: ExitStack, left: Iterable[Path], *, link: bool) -> list[Source]:
        """Open what this machine has: interrupted folders, cached folders of this tree and of near ones."""
        sources: list[Source] = []
        for path in left:
            with suppress(OSError):
                source = Interrupted(path, self.wish.repo)
                stack.callback(source.close)
                sources.append(source)
        for tree in dict.fromkeys((self.wish.tree, *self.near)):
            for cached in self.cache.of_tree(tree):
                lease = self.cache.lease(cached.path.name)  # or what it lends could be removed meanwhile
                if lease is not None:
                    stack.callback(lease.release)
                try:
                    near = Cached(self.wish.repo, self.wish.tree, cached, link=link, full=self.full)
                except (OSError, IntegrityError):
                    continue  # a cache is a hint: without it everything comes from the repository
                stack.callback(near.close)
                sources.append(near)
        return sources

    def _near(self) -> set[str]:
        """Return the names of the folders that lend this fetch their files."""
        found = (self.cache.of_tree(digest) for digest in (self.wish.tree, *self.near))
        return {cached.path.name for cached in chain.from_iterable(found)}


def _ready(found: CachedFolder, *, transferred: int = 0, reused: int | None = None) -> FetchReport:
    """Report on a complete folder; unless said otherwise, all of it was there."""
    kept = found.size if reused is None else reused
    return FetchReport(found.path, found.files, found.size, transferred, kept, problems=list(found.problems))


def _missing(wish: Wish, compared: Comparison) -> Iterator[Entry]:
    for entry, same in zip(wish.entries(), compared.same, strict=True):
        if not same:
            yield entry


def _rows(
    wish: Wish,
    root: int,
    left_out: set[str],
    stamps: Sequence[int] = (),
    passed: Callable[[str], None] | None = None,
) -> Iterator[Row]:
    """Yield how everything that was written looks.

    Args:
        wish: what was to be written.
        root: descriptor of the folder.
        left_out: what was not.
        stamps: modification time of each entry in order, 0 where it is to be looked up; may end early.
        passed: told of each path; an empty folder's with a `/` behind it.
    """
    known = iter(stamps)
    for rows, numbers in wish.parts():
        for number in numbers:
            path, kind, stamp = rows.paths[number], rows.kinds[number], next(known, 0)
            if kind == _EMPTY_FOLDER:
                yield Row(path, kind, 0, 0)
                path += "/"
            elif stamp:
                yield Row(path, kind, rows.sizes[number], stamp)
            elif path not in left_out:
                with located(root, path) as (here, name):
                    status = os.stat(name, dir_fd=here, follow_symlinks=False)
                yield Row(path, kind, status.st_size, status.st_mtime_ns)
            if passed is not None:
                passed(path)


def _damaged(found: CachedFolder, entries: Iterable[Entry] | None) -> set[str] | None:
    """Return the paths in a cached folder that do not look, or with `entries` hash, as they should.

    Returns None where the manifest cannot be read: then nothing is known about the folder.
    """
    bad: set[str] = set()
    try:
        root = open_folder(found.path)
    except OSError:
        return None
    try:
        for row in read_rows(found.manifest):
            if not _looks_right(root, row):
                bad.add(row.path)
    except (OSError, IntegrityError):
        return None
    else:
        for entry in entries or ():
            if entry.digest and entry.path not in bad and not _hashes_right(root, entry):
                bad.add(entry.path)
    finally:
        os.close(root)
    return bad


def _looks_right(root: int, row: Row) -> bool:
    try:
        with located(root, row.path) as (here, name):
            status = os.stat(name, dir_fd=here, follow_symlinks=False)  # a descriptor
    except OSError:
        return False
    if row.kind == Kind.DIRECTORY:
        return stat.S_ISDIR(status.st_mode)
    right = stat.S_ISLNK if row.kind == Kind.SYMLINK else stat.S_ISREG
    return right(status.st_mode) and status.st_size == row.size and status.st_mtime_ns == row.mtime_ns


def _hashes_right(root: int, entry: Entry) -> bool:
    try:
        with located(root, entry.path) as (here, name):
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
    except OSError:
        return False
    try:
        return hash_file(fd) == entry.digest
    finally:
        os.close(fd)


@contextmanager
def _writable_folders(path: Path) -> Iterator[None]:
    """Let files be replaced in a read-only folder for a while."""
    for bits in (stat.S_IWUSR, 0):
        for _, _, _, fd in os.fwalk(path, topdown=bits != 0, follow_symlinks=False):
            mode = stat.S_IMODE(os.fstat(fd).st_mode)
            os.fchmod(fd, mode | bits if bits else mode & 0o555)
        if bits:
            yield


@contextmanager
def _staging(dest: Path, wish: Wish) -> Iterator[Path]:
    """Give a path for a private folder below `dest`, where no entry can lie."""
    parent = dest / ".dataver"
    ours = not os.path.lexists(parent)
    if ours:
        parent.mkdir()
    os.close(open_folder(parent))  # a link there would lead elsewhere
    ours = ours or any(path.name.startswith(_STAGING) for path in parent.iterdir())  # of an interrupted fetch
    try:
        yield parent / f"{_STAGING}{wish.name[:90]}"
    finally:
        if ours:
            with suppress(OSError):  # what an interrupted fetch can go on with stays
                parent.rmdir()
