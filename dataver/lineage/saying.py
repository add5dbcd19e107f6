"""Says in few words which files were read: the whole, a share, globs, paths, or a list.

The idea: every statement is exact. A glob is used only where all files it chooses were read, which a walk
over the tree's names proves, side by side with what was read; it ends at the first name that was not.

Values and no effects, but for blocks of the tree, which are loaded where they are not at hand.
"""

from __future__ import annotations

import json
import time
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from dataver.formats.entry import Kind
from dataver.formats.event import MAX_LISTED, Subset
from dataver.lineage.readings import literal
from dataver.tree import Selection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dataver.lineage.journal import Share
    from dataver.tree import Tree

__all__ = ["Said", "say"]

_LISTING: Final = 12 * 1024 * 1024  # bytes of a list; an attachment holds 16 MiB
_FEWEST: Final = 3  # paths that a glob takes the place of
_GLOBS: Final = 100  # in one statement
_SECONDS: Final = 2.0  # for looking for globs


class Said(NamedTuple):
    """A statement: which part, how many files and bytes that is, and the list that the subset names."""

    subset: Subset
    files: int
    size: int
    listing: bytes | None = None


def say(
    read: Mapping[str, int],
    fresh: Mapping[str, int],
    whole: tuple[int, int],
    shares: Iterable[Share] = (),
    tree: Tree | None = None,
) -> list[Said]:
    """Return statements that together cover `fresh`, and nothing that was not read.

    Args:
        read: everything that was read so far, with sizes in bytes.
        fresh: what of it was not said yet.
        whole: files and bytes of the version.
        shares: what readers were to read.
        tree: the version's; None where no globs are wanted.
    """
    if not fresh:
        return []
    if (len(read), sum(read.values())) == whole:
        return [Said(Subset(), *whole)]
    found: list[Said] = []
    left = dict(fresh)
    for share in sorted(shares):
        found += _share(share, read, left)
    if tree is not None and len(left) >= _FEWEST:
        found += _globs(tree, read, left)
    return found + list(_paths(left))


def _share(share: Share, read: Mapping[str, int], left: dict[str, int]) -> Iterator[Said]:
    """Yield a share that was read to its end, and take it out of what is left.

    What patterns choose of the files that were read is the share if it is as many files and as many bytes.
    """
    chooses = Selection(share.patterns).matches if share.patterns else lambda _: True
    mine = {path: size for path, size in read.items() if chooses(path)}
    if not mine or (len(mine), sum(mine.values())) != (share.files, share.size):
        return
    taken = [path for path in left if path in mine]
    if taken:
        for path in taken:
            del left[path]
        shard = (share.rank, share.world) if share.world > 1 else None
        yield Said(Subset(patterns=tuple(sorted(set(share.patterns))), shard=shard), share.files, share.size)


def _globs(tree: Tree, read: Mapping[str, int], left: dict[str, int]) -> Iterator[Said]:
    """Yield one statement of globs that choose only what was read; take that out of what is left."""
    search = _Search(tree, sorted(read), left)
    search.below("", 0, len(search.read))
    if search.globs:
        size = sum(read[path] for path in search.covered)
        for path in search.covered:
            left.pop(path, None)
        yield Said(Subset(patterns=tuple(sorted(search.globs))), len(search.covered), size)


class _Search:
    """Looks for folders, or kinds of files in folders, that were read as a whole."""

    def __init__(self, tree: Tree, read: Sequence[str], left: Mapping[str, int]) -> None:
        self.read = read
        self.globs: list[str] = []
        self.covered: set[str] = set()
        self._tree = tree
        self._left = left
        self._until = time.monotonic() + _SECONDS

    def below(self, folder: str, start: int, stop: int) -> None:
        """Look in a folder; what was read of it is `read[start:stop]`."""
        here = self.read[start:stop]
        if len(here) < _FEWEST or len(self.globs) == _GLOBS or time.monotonic() > self._until:
            return
        if not any(path in self._left for path in here):
            return
        if any(self._exact(glob, folder, here) for glob in _candidates(folder, here)):
            return
        depth = len(folder)
        for name, group in groupby(range(start, stop), lambda at: self.read[at][depth:].partition("/")[:2]):
            numbers = list(group)
            if name[1]:
                self.below(f"{folder}{name[0]}/", numbers[0], numbers[-1] + 1)

    def _exact(self, glob: str, folder: str, here: Sequence[str]) -> bool:
        """Take a glob if what it chooses of the tree is what was read."""
        chooses = Selection((glob,)).matches
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
    """Yield globs that choose all of these paths of a folder."""
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


def _paths(left: Mapping[str, int]) -> Iterator[Said]:
    """Yield what is left as paths: few in the statement itself, many as a list beside it."""
    ordered = sorted(left)
    if not ordered:
        return
    if len(ordered) <= MAX_LISTED:
        yield Said(Subset(paths=tuple(ordered)), len(ordered), sum(left.values()))
        return
    from dataver.formats.bundle import attachment_digest

    for part in _parts(ordered):
        listing = json.dumps(part, ensure_ascii=False, separators=(",", ":")).encode()
        subset = Subset(listed=attachment_digest(listing))
        yield Said(subset, len(part), sum(left[path] for path in part), listing)


def _parts(paths: Sequence[str]) -> Iterator[list[str]]:
    """Yield runs of paths whose list fits into an attachment."""
    part: list[str] = []
    size = 0
    for path in paths:
        length = 2 * len(path.encode()) + 3  # a quote or a backslash takes two
        if part and size + length > _LISTING:
            yield part
            part, size = [], 0
        part.append(path)
        size += length
    yield part
