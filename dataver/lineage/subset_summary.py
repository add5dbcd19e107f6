"""Summaries of the files read: the whole version, a share, globs, paths, or a listing.

The idea: every summary is exact. A glob is used only if all files that it matches were read. This is checked
by walking the tree's names in parallel with the files read, up to the first name that was not read.

No side effects, except that missing blocks of the tree are loaded.
"""

from __future__ import annotations

import json
import time
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from dataver.errors import DataverError
from dataver.formats.entry import Kind
from dataver.formats.event import MAX_LISTED, Subset
from dataver.portions import portions
from dataver.tree.selection import Selection, literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dataver.formats.event import Link
    from dataver.lineage.record.journal import ReadLog
    from dataver.tree import Tree

# Imports in functions: few subsets are too large for an event.

__all__ = ["Summary", "links_of", "summarize"]

_LISTING: Final = 12 * 1024 * 1024  # bytes of a listing; an attachment has at most 16 MiB
_FEWEST: Final = 3  # minimum number of paths for a glob
_GLOBS: Final = 100  # maximum in one summary
_SECONDS: Final = 2.0  # time limit of the search for globs


class Summary(NamedTuple):
    """A subset with its number of files and bytes, and the listing that it refers to."""

    subset: Subset
    files: int
    size: int
    listing: bytes | None = None


def links_of(log: ReadLog, read: dict[str, int], tree: Tree) -> list[tuple[Link, bytes | None]]:
    """Return exact links of the files not in links yet, each with the listing that it refers to, if any.

    Args:
        log: the log of the files.
        read: all files read so far (`ReadLog.read`).
        tree: the version's tree; if it is missing, the links contain paths.
    """
    fresh, shares = log.fresh(read), [Summary(*share) for share in log.shares]
    if not fresh:
        return []
    try:
        whole = log.whole
        if whole is None:
            root = tree.summary()
            whole = root.files, root.size
        found = summarize(read, fresh, whole, shares, tree)
    except DataverError:
        found = summarize(read, fresh, (-1, -1), shares)
    return [
        (log.link._replace(subset=each.subset, files=each.files, size=each.size), each.listing)
        for each in found
    ]


def summarize(
    read: Mapping[str, int],
    fresh: Mapping[str, int],
    whole: tuple[int, int],
    shares: Iterable[Summary] = (),
    tree: Tree | None = None,
) -> list[Summary]:
    """Return summaries that together cover `fresh`, and only files that were read.

    Args:
        read: all files read so far, with sizes in bytes.
        fresh: those of them not in links yet.
        whole: files and bytes of the version.
        shares: the parts that readers were to read.
        tree: the version's tree; None disables globs.
    """
    if not fresh:
        return []
    if (len(read), sum(read.values())) == whole:
        return [Summary(Subset(), *whole)]
    left = dict(fresh)
    found = [share for share in shares if _was_read(share, read, left)]
    if tree is not None and len(left) >= _FEWEST:
        found += _globs(tree, read, left)
    return found + list(_paths(left))


def _was_read(share: Summary, read: Mapping[str, int], left: dict[str, int]) -> bool:
    """Return whether a share was read completely; remove it from `left`.

    The files read that match the globs are the share if their number and bytes are equal.
    """
    chooses = Selection(share.subset.patterns, share.subset.exclude).matcher()
    mine = {path: size for path, size in read.items() if chooses(path)}
    if not mine or (len(mine), sum(mine.values())) != (share.files, share.size):
        return False
    taken = [path for path in left if path in mine]
    for path in taken:
        del left[path]
    return bool(taken)


def _globs(tree: Tree, read: Mapping[str, int], left: dict[str, int]) -> Iterator[Summary]:
    """Yield one summary of globs that match only files read; remove these files from `left`."""
    search = _Search(tree, sorted(read), left)
    search.run()
    if search.globs:
        size = sum(read[path] for path in search.covered)
        for path in search.covered:
            left.pop(path, None)
        yield Summary(Subset(patterns=tuple(sorted(search.globs))), len(search.covered), size)


class _Search:
    """Search for folders, or files of one suffix in folders, that were read completely."""

    def __init__(self, tree: Tree, read: Sequence[str], left: Mapping[str, int]) -> None:
        self.read = read
        self.globs: list[str] = []
        self.covered: set[str] = set()
        self._tree = tree
        self._left = left
        self._until = time.monotonic() + _SECONDS

    def run(self) -> None:
        """Search all folders, from the top."""
        waiting = [("", 0, len(self.read))]  # folders, each with the range of its files in `read`
        while waiting:
            waiting += reversed(self._parts(*waiting.pop()))

    def _parts(self, folder: str, start: int, stop: int) -> list[tuple[str, int, int]]:
        """Search a folder; return the folders in it to search next."""
        here = self.read[start:stop]
        if len(here) < _FEWEST or len(self.globs) == _GLOBS or time.monotonic() > self._until:
            return []
        if not any(path in self._left for path in here):
            return []
        if any(self._exact(glob, folder, here) for glob in _candidates(folder, here)):
            return []
        depth = len(folder)
        below: list[tuple[str, int, int]] = []
        for name, group in groupby(range(start, stop), lambda at: self.read[at][depth:].partition("/")[:2]):
            numbers = list(group)
            if name[1]:
                below.append((f"{folder}{name[0]}/", numbers[0], numbers[-1] + 1))
        return below

    def _exact(self, glob: str, folder: str, here: Sequence[str]) -> bool:
        """Add a glob if its matches in the tree are the files read; return whether it was added."""
        chooses = Selection((glob,)).matcher()
        wanted = iter(here)
        for path in _files(self._tree, folder):
            if chooses(path) and path != next(wanted, None):
                return False
        if next(wanted, None) is not None:
            return False
        self.globs.append(glob)
        self.covered.update(here)
        return True


def _candidates(folder: str, here: Sequence[str]) -> Iterator[str]:
    """Yield globs that match all of these paths of a folder."""
    start = literal(folder.rstrip("/")).lstrip("/") + "/" if folder else ""
    if folder:
        yield f"{start}**"
    endings = {path.rpartition("/")[2].rpartition(".")[1:] for path in here}
    if len(endings) == 1:
        dot, ending = endings.pop()
        if dot and literal(ending) == f"/{ending}":
            yield f"{start}**/*.{ending}" if folder else f"*.{ending}"


def _files(tree: Tree, prefix: str) -> Iterator[str]:
    """Yield the paths of files below a prefix, in order."""
    for leaf, start, stop in tree.runs(prefix):
        for number in range(start, stop):
            if leaf.kinds[number] not in (Kind.SYMLINK, Kind.DIRECTORY):
                yield leaf.paths[number]


def _paths(left: Mapping[str, int]) -> Iterator[Summary]:
    """Yield the remaining files as paths: few in the subset itself, many as listings."""
    ordered = sorted(left)
    if not ordered:
        return
    if len(ordered) <= MAX_LISTED:
        yield Summary(Subset(paths=tuple(ordered)), len(ordered), sum(left.values()))
        return
    from dataver.formats.bundle import attachment_digest

    for part in _parts(ordered):
        listing = json.dumps(part, ensure_ascii=False, separators=(",", ":")).encode()
        subset = Subset(listed=attachment_digest(listing))
        yield Summary(subset, len(part), sum(left[path] for path in part), listing)


def _parts(paths: Iterable[str]) -> Iterator[list[str]]:
    """Split paths into listings that fit into an attachment."""
    # a quote or a backslash is escaped as two bytes
    return portions(paths, _LISTING, lambda path: 2 * len(path.encode()) + 3)
