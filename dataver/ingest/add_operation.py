"""Adding sources to a draft's tree: scan, add, edit; for a mirror, also remove paths the source lacks.

The idea: an `Adder` yields entries in batches and each batch is one edit of the tree, so memory is bounded by
the batch. The draft follows the source: a file is replaced by a folder of its name; but a file never replaces
a folder, except in a mirror. A second scan beside the first counts the total for a progress bar.

Locks, state files and the repository's objects belong to `dataver.ingest.draft`.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, groupby
from pathlib import Path

from dataver.errors import DataverError
from dataver.formats.block import Leaf
from dataver.formats.entry import Entry, Kind
from dataver.ingest.chunk_pipeline import Adder
from dataver.ingest.dedup import KnownChunks
from dataver.ingest.pack_writer import PackSession
from dataver.ingest.remains import Remains
from dataver.ingest.scan import Scan, ScannedItem, SourceScan, scan
from dataver.ingest.stat_cache import NoStatCache, StatCache
from dataver.machine.cache_root import private_cache_root
from dataver.progress import Progress
from dataver.repository import RepositoryCore
from dataver.short_repr import short_repr
from dataver.tree import Tree, count_renames

__all__ = ["AddOperation", "AddReport", "changes_with", "counted", "inside", "stat_cache_of"]

_FLUSH = 50_000  # changed files that are turned into tree blocks together: bounds memory
_PATIENCE = 0.5  # seconds of work before a total is worth a second scan


@dataclass
class AddReport:
    """Result and cost of an `add` or `sync`. Sizes in bytes.

    Attributes:
        files: files, links and empty folders scanned.
        size: their bytes.
        unchanged: how many the draft held already, with the same content.
        new_chunks: chunks that were not known.
        new_size: their raw bytes.
        stored: bytes written for them, compressed.
        sent_packs: packs that were sent meanwhile, if the draft is streamed.
        sent_size: their bytes.
        removed: paths that `sync` removed and that are not the old path of a renamed file.
        renamed: files that `sync` removed and whose content it added under another path, as in a `Diff`.
        ignored: files and folders that patterns excluded.
        left_out: names excluded by default: clutter, repositories, a cache.
        seconds: wall time.
        problems: `(name, reason)` of everything that was not added.
    """

    files: int = 0
    size: int = 0
    unchanged: int = 0
    new_chunks: int = 0
    new_size: int = 0
    stored: int = 0
    sent_packs: int = 0
    sent_size: int = 0
    removed: int = 0
    renamed: int = 0
    ignored: int = 0
    left_out: list[str] = field(default_factory=list)
    seconds: float = 0.0
    problems: list[tuple[str, str]] = field(default_factory=list)

    __repr__ = short_repr


class AddOperation:
    """One `add` or `sync` under way.

    Args:
        how: options of the scan; collects problems.
        repository: provides the cutting parameters and the id.
        tree: returns the draft's current tree.
        edit: applies changes to it.
        session: receives new chunks.
        known: finds known chunks.
        mirror: whether to remove paths that the source lacks.
        progress: receives counts of files and bytes.
        hint: as of `DraftStore`.
        adder: makes the adder of a group of sources.
    """

    def __init__(
        self,
        how: Scan,
        *,
        repository: RepositoryCore,
        tree: Callable[[], Tree],
        edit: Callable[[dict[str, Entry | None]], None],
        session: PackSession,
        known: KnownChunks,
        mirror: bool,
        progress: Progress,
        hint: Tree | None = None,
        adder: Callable[..., Adder] = Adder,
    ) -> None:
        self._how = how
        self._hint = hint
        self._adder = adder
        self._repository = repository
        self._tree = tree
        self._edit = edit
        self._session = session
        self._known = known
        self._mirror = mirror
        self._progress = progress
        self._start = tree()
        self._remains = Remains(self._start) if mirror and self._start.summary().entries else None
        self.report = AddReport()

    def add(self, scans: Iterable[SourceScan]) -> None:
        """Add files and the contents of folders; files of one folder that follow each other share packs."""
        for _, group in groupby(scans, lambda each: _folder_of(each.source)):
            some = list(group)
            self.add_found(some[0].source, chain.from_iterable(some))

    def add_found(self, home: str | Path | None, found_folders: Iterable[list[ScannedItem]]) -> None:
        """Add scanned items; `home` is the source whose stat cache is used, None to use none."""
        how, trees = self._how, [self._tree(), *([self._hint] if self._hint else [])]
        stats = NoStatCache() if home is None else stat_cache_of(self._repository, home, how)
        trees = [tree for tree in trees if tree.summary().entries]
        with self._adder(
            locate=inside(trees, self._known) if trees else None,
            known=self._known,
            session=self._session,
            chunking=self._repository.config.chunking,
            stats=stats,
            problems=how.problems,
            report=self._progress.advance,
            unchanged=self._hint is not None,
        ) as adder:
            for folder in found_folders:
                if self._remains is not None:
                    self._remains.found(each.path for each in folder)
                for found in folder:
                    adder.add(found)
                if adder.waiting >= _FLUSH:
                    self._apply(adder.entries())
            self._apply(adder.entries())
        stats.save()
        report, counts = self.report, adder.counts
        report.files += counts.files
        report.size += counts.size
        report.unchanged += counts.unchanged
        report.new_chunks += counts.new_chunks
        report.new_size += counts.new_size

    def remove_unseen(self, *, allow_shrink: bool) -> None:
        """Remove the paths that a mirror's source lacks, except those hidden by a problem.

        Raises:
            InvalidInput: fewer than half of the paths would remain, as when a disk is not mounted.
        """
        if self._remains is None:
            return
        gone = self._remains.removals(self._tree(), self._how, allow_shrink=allow_shrink)
        if gone:
            self._edit(gone)
        self.report.removed += len(gone)
        if self.report.removed:
            after = self._tree()
            self.report.renamed = count_renames(self._start.digest, after.digest, after._load)
            self.report.removed -= self.report.renamed

    def _apply(self, entries: Iterable[Entry]) -> None:
        """Edit the tree with new entries and the removals that they imply."""
        changes = changes_with(self._tree(), entries, self._how, mirror=self._mirror)
        if changes:
            self._edit(changes)
        if self._mirror:
            self.report.removed += sum(entry is None for entry in changes.values())


def stat_cache_of(repository: RepositoryCore, source: str | Path, how: Scan) -> StatCache:
    """Return the stat cache of a source, or of its folder, that is added to a folder of a version."""
    root = f"{repository.id}:{how.dest}:{os.path.realpath(_folder_of(source) or '.')}"
    return StatCache(private_cache_root() / "stat", root, checksum=how.checksum)


def changes_with(
    tree: Tree, entries: Iterable[Entry], how: Scan, *, mirror: bool = False
) -> dict[str, Entry | None]:
    """Return the changes that put entries into a tree, with the removals that they imply.

    A folder replaces a file. A file that would replace a folder is refused, unless the tree mirrors the
    source: then the folder's contents are removed.
    """
    changes: dict[str, Entry | None] = {}
    folders = set[str]()
    filled = tree.summary().entries > 0
    for entry in entries:
        if filled and entry.kind != Kind.DIRECTORY and tree.is_folder(entry.path):
            if not mirror:
                how.refuse(entry.path, "it is a folder in the draft; remove that first", entry.path)
                continue
            changes.update(dict.fromkeys(tree.paths(entry.path + "/")))
        changes[entry.path] = entry
        folder = entry.path.rpartition("/")[0]
        while filled and folder and folder not in folders:
            folders.add(folder)
            standing = tree.get(folder)
            if standing is not None and standing.kind != Kind.DIRECTORY:
                changes.setdefault(folder, None)
            folder = folder.rpartition("/")[0]
    return changes


def _folder_of(source: str | Path) -> str:
    """Return the folder of a file, and of a folder itself."""
    return os.path.dirname(source) if os.path.isfile(source) else os.fspath(source)  # noqa: PTH113, PTH120


def inside(trees: Sequence[Tree], known: KnownChunks) -> Callable[[str], tuple[Leaf, int] | None]:
    """Return a lookup of entries that skips external and damaged files: these are read and stored."""

    def locate(path: str) -> tuple[Leaf, int] | None:
        place = next((place for tree in trees if (place := tree.locate(path)) is not None), None)
        return None if place is None or place[0].is_outside(place[1]) or known.is_lost(*place) else place

    return locate


@contextmanager
def counted(sources: Sequence[str | Path], how: Scan, progress: Progress) -> Iterator[None]:
    """Count the sources on another thread and give `progress` the totals, unless the block ends before.

    Args:
        sources: files and folders.
        how: the options; it is not changed.
        progress: receives the totals; nothing is counted for one that is silent.
    """
    if getattr(progress, "silent", False):
        yield
        return
    done = threading.Event()
    thread = threading.Thread(target=_count, args=(sources, how, progress, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _count(sources: Sequence[str | Path], how: Scan, progress: Progress, done: threading.Event) -> None:
    if done.wait(_PATIENCE):
        return
    files = size = 0
    try:
        for source in sources:
            for folder in scan(source, replace(how, problems=[], ignored=0, left_out=set(), unseen=[])):
                if done.is_set():
                    return
                files += len(folder)
                size += sum(found.stat.size for found in folder)
    except (DataverError, OSError):
        return  # the other scan reports it
    progress.start(files, size)
