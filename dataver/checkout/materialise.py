"""Filling a fresh folder with a version: what is here already, then the repository, links last.

The idea: one pass over the tree, a window at a time. Each entry gets its folder; each file is placed from a
local source (`reuse`), planned to share with one, or planned to be read (`transfer`). What cannot be right is
refused before the first byte is written: names that the file system takes for one, and too little space.

Keeps invariants 1, 9 and 10 (links that would leave the folder are left out and reported).
"""

from __future__ import annotations

import errno
import os
import unicodedata
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from dataver.checkout.folder import Folder, safe_link
from dataver.checkout.plan import Target, positions, windows
from dataver.checkout.transfer import Transfer, Wanted
from dataver.errors import DataverError, IntegrityError, InvalidInput, PathNotFound, StoreError
from dataver.formats.entry import Kind
from dataver.hashing.digest import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from dataver.checkout.reuse import Source
    from dataver.formats.entry import Entry
    from dataver.progress import Progress
    from dataver.repository import Repository

__all__ = [
    "Filled",
    "Survey",
    "Wish",
    "check_space",
    "fill_entries",
    "folding_of",
    "local_errors",
    "survey",
]

_NOTHING = digest(b"")


class Wish(NamedTuple):
    """What of a version is wanted.

    Attributes:
        repo: where it is.
        tree: its tree.
        patterns: globs; empty for all of it.
    """

    repo: Repository
    tree: bytes
    patterns: tuple[str, ...] = ()

    def entries(self) -> Iterator[Entry]:
        """Yield the wanted entries in order."""
        tree = self.repo.tree(self.tree)
        if not self.patterns:
            for leaf in tree.leaves():
                yield from leaf.entries()
            return
        from dataver.tree.select import Selection

        selection = Selection(self.patterns)
        for entry in tree.iterate(selection.prefix()):
            if selection.matches(entry.path):
                yield entry

    def names(self) -> Iterator[tuple[str, int]]:
        """Yield path and kind of the wanted entries in order: cheaper than the entries."""
        if self.patterns:
            for entry in self.entries():
                yield entry.path, entry.kind
            return
        for leaf in self.repo.tree(self.tree).leaves():
            yield from zip(leaf.paths, leaf.kinds, strict=True)


class Survey(NamedTuple):
    """How much is wanted."""

    entries: int
    files: int
    size: int


class Filled(NamedTuple):
    """What filling a folder took.

    Attributes:
        transferred: stored bytes read from the repository.
        reused: bytes of files that came from this machine.
        problems: entries left out, with the reason.
    """

    transferred: int
    reused: int
    problems: list[tuple[str, str]]


def survey(wish: Wish, folds: Callable[[str], str] | None) -> Survey:
    """Count what is wanted, and refuse names that cannot be told apart where they are to be written.

    Args:
        wish: what is wanted.
        folds: how the file system sees names; None where it keeps them as they are.

    Raises:
        PathNotFound: the globs select nothing.
        InvalidInput: two names that the file system takes for one.
    """
    if not wish.patterns and folds is None:
        total = wish.repo.tree(wish.tree).summary()
        return Survey(total.entries, total.files, total.size)
    entries = files = size = 0
    seen: dict[str, str] = {}
    for entry in wish.entries():
        entries += 1
        files += entry.kind in (Kind.FILE, Kind.EXECUTABLE)
        size += entry.size
        if folds is not None:
            _refuse_twins(entry.path, folds, seen)
    if not entries and wish.patterns:
        raise PathNotFound(
            f"nothing in the version matches {', '.join(map(repr, wish.patterns))}.",
            hint="`dataver ls` lists what is there; a folder's name takes all below it",
        )
    return Survey(entries, files, size)


def _refuse_twins(path: str, folds: Callable[[str], str], seen: dict[str, str]) -> None:
    parts = path.split("/")
    for depth in range(1, len(parts) + 1):
        part = "/".join(parts[:depth])
        other = seen.setdefault(folds(part), part)
        if other != part:
            raise InvalidInput(
                f"{other!r} and {part!r} are one name on the file system that they are to be written to.",
                hint="fetch to a file system that tells them apart, or only a part of the version",
            )


def folding_of(folder: Path) -> Callable[[str], str] | None:
    """Return how the file system of a folder sees names, found out by making one; None if exactly."""
    name = f".dataver-probe-{os.getpid()}-a\u00e9"
    probe = folder / name
    with suppress(FileExistsError):
        probe.touch()
    try:
        case = os.path.lexists(folder / name.upper())
        form = os.path.lexists(folder / unicodedata.normalize("NFD", name))
    finally:
        probe.unlink(missing_ok=True)
    if not case and not form:
        return None

    def fold(path: str) -> str:
        path = unicodedata.normalize("NFC", path) if form or case else path
        return unicodedata.normalize("NFC", path.casefold()) if case else path

    return fold


def check_space(where: Path, size: int) -> None:
    """Refuse to begin what cannot end.

    Raises:
        StoreError: the file system of `where` has less than `size` bytes free.
    """
    status = os.statvfs(where)
    free = status.f_bavail * status.f_frsize
    if size > free:
        raise StoreError(
            f"{where} has {free / 1e6:.1f} MB free, but the files take {size / 1e6:.1f} MB;"
            " nothing was written.",
            hint="make room, fetch to another disk (`dest`), or only a part of the version (`paths`)",
        )


@contextmanager
def local_errors(where: Path) -> Iterator[None]:
    """Translate what the local disk refuses; what was written so far stays for the next try."""
    try:
        yield
    except DataverError:
        raise  # some of ours are OSErrors, too
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(
                f"the disk that holds {where} is full.",
                hint="make room and fetch again: complete files are not fetched twice",
            ) from error
        raise StoreError(f"{where} cannot be written: {error.strerror or error}.", hint=str(error)) from error


def fill_entries(
    repo: Repository,
    entries: Iterable[Entry],
    folder: Folder,
    sources: Sequence[Source],
    progress: Progress,
) -> Filled:
    """Write entries, which come in the order of a tree, into a fresh folder, every file verified.

    Raises:
        IntegrityError: wrong bytes or impossible entries, by name.
        OSError: the local disk refused.
    """
    filling = _Filling(folder, sources, progress)
    transfer = Transfer(repo, folder, progress)
    transfer.run(filling.window(window) for window in windows(entries))
    filling.make_links()
    return Filled(transfer.transferred, transfer.reused + filling.placed, filling.problems)


class _Filling:
    """Decides, entry by entry, where its bytes come from."""

    def __init__(self, folder: Folder, sources: Sequence[Source], progress: Progress) -> None:
        self._folder = folder
        self._sources = sources
        self._progress = progress
        self._links: list[tuple[str, str]] = []
        self.placed = 0
        self.problems: list[tuple[str, str]] = []

    def window(self, entries: list[Entry]) -> list[Wanted]:
        """Make the folders of a window, place what is here, and return the files that are not."""
        self._folder.prepare([entry.path for entry in entries])
        wanted: list[Wanted] = []
        files = size = 0
        for entry in entries:
            if entry.kind == Kind.SYMLINK:
                self._links.append((entry.path, entry.target))
            elif entry.kind == Kind.DIRECTORY:
                self._folder.make_folder(entry.path)
            elif entry.size == 0:
                self._empty(entry)
                files += 1
            elif any(source.place(entry, self._folder) for source in self._sources):
                files += 1
                size += entry.size
            else:
                wanted.append(self._wanted(entry))
        self.placed += size
        self._progress.advance(files, size)
        return wanted

    def _wanted(self, entry: Entry) -> Wanted:
        target = Target(entry.path, entry.kind == Kind.EXECUTABLE, entry.size, entry.digest, entry.extents)
        for source in self._sources:
            wanted = source.share(entry, target)
            if wanted is not None:
                return wanted
        return Wanted(target, positions(entry.extents))

    def _empty(self, entry: Entry) -> None:
        if entry.digest != _NOTHING:
            raise IntegrityError(f"{entry.path!r} cannot be restored: it is empty, and its digest is not.")
        self._folder.write(entry.path, entry.kind == Kind.EXECUTABLE, b"")

    def make_links(self) -> None:
        """Make the symbolic links: by now every file is there, so none is written through a link."""
        for path, target in self._links:
            if safe_link(path, target):
                self._folder.link(path, target)
            else:
                self.problems.append((path, f"the link leads out of the version, to {target!r}"))
