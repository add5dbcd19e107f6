"""Taking sources into a draft's tree: scan, add, edit; and for a mirror, remove what is gone.

The idea: entries come out of an `Adder` in batches and each batch is one edit of the tree, so memory is
bounded by the batch. What the source looks like now is what the draft holds: a file gives way to a folder of
its name; but a file never buries a folder that `add` was not told to remove.

Knows nothing of locks, state files or repositories' objects: `dataver.ingest.draft` does.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from dataver.formats.block import Leaf
from dataver.formats.entry import Entry, Kind
from dataver.ingest.adding import Adder
from dataver.ingest.known import KnownChunks
from dataver.ingest.packing import PackSession
from dataver.ingest.scan import Scan, scan
from dataver.ingest.stat_cache import StatCache
from dataver.progress import Progress
from dataver.repository import Repository
from dataver.repository.private_place import private_cache_root
from dataver.tree import Tree

__all__ = ["AddReport", "Taking", "changes_with"]

_FLUSH = 50_000  # changed files that are turned into tree blocks together: bounds memory


@dataclass
class AddReport:
    """What an `add` or `sync` did, and what it cost. Sizes in bytes.

    Attributes:
        files: files, links and empty folders looked at.
        size: their bytes.
        unchanged: how many stood in the draft already, with the same content.
        new_chunks: chunks that were not known.
        new_size: their raw bytes.
        stored: bytes written for them, compressed.
        sent_packs: packs that were sent meanwhile, where the draft streams.
        sent_size: their bytes.
        removed: paths that `sync` took out.
        ignored: files and folders that patterns left out.
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
    ignored: int = 0
    seconds: float = 0.0
    problems: list[tuple[str, str]] = field(default_factory=list)


class Taking:
    """One `add` or `sync` under way.

    Args:
        how: what to walk and how; collects problems.
        repository: whose cutting parameters and id count.
        tree: gives the draft's tree as it stands.
        edit: applies changes to it.
        session: where new chunks go.
        known: where chunks may already lie.
        mirror: whether what is not seen is to go.
        progress: told of files and bytes.
    """

    def __init__(
        self,
        how: Scan,
        *,
        repository: Repository,
        tree: Callable[[], Tree],
        edit: Callable[[dict[str, Entry | None]], None],
        session: PackSession,
        known: KnownChunks,
        mirror: bool,
        progress: Progress,
    ) -> None:
        self._how = how
        self._repository = repository
        self._tree = tree
        self._edit = edit
        self._session = session
        self._known = known
        self._mirror = mirror
        self._progress = progress
        self._seen: set[str] | None = set() if mirror and tree().summary().entries else None
        self.report = AddReport()

    def take(self, source: str | Path) -> None:
        """Add a file, or what is in a folder."""
        how, tree = self._how, self._tree()
        root = f"{self._repository.id}:{how.dest}:{os.path.realpath(source)}"
        stats = StatCache(private_cache_root() / "stat", root)
        with Adder(
            locate=_inside(tree) if tree.summary().entries else None,
            known=self._known,
            session=self._session,
            chunking=self._repository.config.chunking,
            stats=stats,
            problems=how.problems,
            report=self._progress.advance,
        ) as adder:
            for folder in scan(source, how):
                if self._seen is not None:
                    self._seen.update(found.path for found in folder)
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

    def remove_unseen(self) -> None:
        """Remove what a mirror did not see, except where a problem hid it."""
        seen = self._seen
        if seen is None:
            return
        dest = self._how.dest.strip("/")
        hidden = tuple(self._how.unseen)
        under = tuple(f"{path}/" if path else "" for path in hidden)
        gone: dict[str, Entry | None] = {
            path: None
            for path in self._tree().paths(f"{dest}/" if dest else "")
            if path not in seen and path not in hidden and not path.startswith(under)
        }
        if gone:
            self._edit(gone)
        self.report.removed = len(gone)

    def _apply(self, entries: Iterable[Entry]) -> None:
        """Edit the tree with new entries, and with the removals that follow from them."""
        changes = changes_with(self._tree(), entries, self._how, mirror=self._mirror)
        if changes:
            self._edit(changes)


def changes_with(
    tree: Tree, entries: Iterable[Entry], how: Scan, *, mirror: bool = False
) -> dict[str, Entry | None]:
    """Return the changes that put entries into a tree, with the removals that follow from them.

    A file that would bury a folder is refused, unless the tree is to mirror the source.
    """
    changes: dict[str, Entry | None] = {}
    folders = set[str]()
    filled = tree.summary().entries > 0
    for entry in entries:
        if filled and not mirror and _covers_folder(tree, entry):
            if entry.kind != Kind.DIRECTORY:
                how.refuse(entry.path, "it is a folder in the draft; remove that first", entry.path)
            continue
        changes[entry.path] = entry
        folder = entry.path.rpartition("/")[0]
        while filled and folder and folder not in folders:
            folders.add(folder)
            if tree.get(folder) is not None:
                changes.setdefault(folder, None)  # a file or an empty folder became a folder of files
            folder = folder.rpartition("/")[0]
    return changes


def _inside(tree: Tree) -> Callable[[str], tuple[Leaf, int] | None]:
    """Return what finds entries, but for external files: what is added is safe, and these are not."""

    def locate(path: str) -> tuple[Leaf, int] | None:
        place = tree.locate(path)
        return None if place is None or place[0].is_outside(place[1]) else place

    return locate


def _covers_folder(tree: Tree, entry: Entry) -> bool:
    return tree.get(entry.path) is None and next(tree.paths(entry.path + "/"), None) is not None
