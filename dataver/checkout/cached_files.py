"""Files and chunks of the cached versions, found by content.

The idea: the manifest of a cached folder has the digest of each file and the extents of each large one, so a
fetch needs no tree of another version. Wanted files are looked up by digest, many at once: the manifests of
the cached folders are searched in turn, those of the same tree and of the parents first, then by last use,
until nothing is missing or a limit is reached. A search that finds nothing costs 40 ns a row. A block whose
digests equal those of a block that was searched is skipped. A large file that no folder has gets the chunks
that files in the folders share with it (`dataver.checkout.shared_spans`).

Invariant 1: a cached file counts as verified if its size and mtime are unchanged since it was verified; with
`full` it is hashed again. Shared bytes are covered by the digest of the file that they become part of; after
a mismatch the whole file is read from the repository. A folder has a lease before its files are used; files
of one that was removed nevertheless are read from the repository.
"""

from __future__ import annotations

from array import array
from functools import partial
from itertools import compress, count
from typing import TYPE_CHECKING, Final, Self

from dataver.cache.stat_manifest import prefixes
from dataver.checkout.cached_source import CachedSource
from dataver.checkout.local_sources import CopyResult
from dataver.checkout.selection import FILES
from dataver.checkout.transfer import TINY, Copies, Copy, LocalCopy
from dataver.hashing.digest import checksum

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dataver.cache.stat_manifest import Block, BlockHead
    from dataver.cache.version_cache import VersionCache
    from dataver.checkout.folder import Folder
    from dataver.checkout.selection import Part, Rows
    from dataver.checkout.shared_spans import SharedSpans
    from dataver.formats.entry import Entry, Extent
    from dataver.repository import RepositoryCore

__all__ = ["CachedFiles"]

_AT_ONCE: Final = 65_536  # entries looked up together: ~20 MB of memory
_MOST_ROWS: Final = 400_000  # rows searched at most: 12 to 16 ms …
_ROWS_A_FILE: Final = 32  # … or this many for each wanted file, 1 µs
_MOST_FOLDERS: Final = 200  # folders searched at most: each that is used takes a descriptor
_BATCH: Final = 4 * 1024 * 1024  # bytes of files copied in one job

_Place = tuple[CachedSource, "Block", int]  # a file in a cached folder: its row in a block


class CachedFiles:
    """A local source: the files of all cached folders.

    Attributes:
        used: the folders of which something was found, by name.
    """

    def __init__(
        self, repo: RepositoryCore, cache: VersionCache, first: Sequence[bytes], *, link: bool, full: bool
    ) -> None:
        """List the folders.

        Args:
            repo: the repository of the wanted version.
            cache: the cached folders.
            first: trees whose folders are searched first.
            link: hard-link files; else copy them.
            full: hash every file before it is used.
        """
        self._link = link and not full
        names = cache.recent(first)[:_MOST_FOLDERS]
        self._sources = [CachedSource(cache, name, full=full) for name in names]
        self._places: dict[bytes, _Place | None] = {}  # by digest, of the entries looked up last
        self._twins: dict[tuple[bytes, str], _Place] = {}  # more files with such a digest, by path
        self._repo = repo
        self._spans: SharedSpans | None = None
        self._seen: set[int] = set()  # checksums of the prefixes of blocks whose extents are known

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for source in self._sources:
            source.close()

    @property
    def used(self) -> set[str]:
        """Names of the folders of which something was found."""
        return {source.name for source in self._sources if source.is_open}

    def look_up(self, parts: Iterable[Part]) -> Iterator[Part]:
        """Look up the files of parts, many parts at a time; yield the parts.

        The first ones are looked up before this returns, so that the folders they need have leases.
        """
        remaining = iter(parts)
        return self._remaining(self._search(remaining), remaining) if self._sources else remaining

    def _remaining(self, held: list[Part], remaining: Iterator[Part]) -> Iterator[Part]:
        while held:
            yield from held
            held = self._search(remaining)

    def _search(self, remaining: Iterator[Part]) -> list[Part]:
        """Take parts and look up their files."""
        held: list[Part] = []
        wanted: dict[bytes, _Place | None] = {}
        entries = 0
        for part in remaining:
            held.append(part)
            kinds, sizes, name = part.rows.kinds, part.rows.sizes, part.rows.file_digest
            files = [name(each) for each in part.numbers if sizes[each] and kinds[each] in FILES]
            wanted.update(dict.fromkeys(files))
            entries += len(part.numbers)
            if entries >= _AT_ONCE:
                break
        self._places, self._twins = wanted, {}
        if wanted:
            self._find(wanted)
        return held

    def _find(self, wanted: dict[bytes, _Place | None]) -> None:
        some = set(prefixes(b"".join(wanted)))
        missing, left = len(wanted), max(_MOST_ROWS, _ROWS_A_FILE * len(wanted))
        seen: set[int] = set()
        for source in self._sources:
            for head in source.heads():
                same = checksum(head.prefixes)
                if same not in self._seen:
                    self._seen.add(same)
                    self._add_extents(source, head)
                if same in seen:
                    continue
                there = array("I", head.prefixes)
                if some.isdisjoint(there):
                    seen.add(same)
                elif (block := source.block(head)) is not None:
                    missing -= self._take(source, block, compress(count(), map(some.__contains__, there)))
                    if not missing:
                        return
                left -= len(there)
                if left < 0:
                    return

    def _add_extents(self, source: CachedSource, head: BlockHead) -> None:
        """Let large files share chunks with those of a block."""
        if head.packs:
            from dataver.checkout.shared_spans import SharedSpans  # 2 ms, which most fetches do not need

            self._spans = self._spans or SharedSpans(self._repo)
            self._spans.add(source, head)

    def _take(self, source: CachedSource, block: Block, numbers: Iterable[int]) -> int:
        """Record the places of wanted files; return how many were missing before."""
        places, digests, found = self._places, block.digests, 0
        for number in numbers:
            name = digests[32 * number : 32 * number + 32]
            if name not in places:
                continue  # only the first bytes are those of a wanted file
            if not source.is_open and not source.open():
                break
            place = places[name]
            if place is None:
                places[name] = (source, block, number)
                found += 1
            elif place[0] is source:
                self._twins[name, block.paths[number]] = (source, block, number)
        return found

    def holds(self, rows: Rows, number: int) -> bool:
        """Return whether the manifests have the file of an entry that is not empty."""
        return self._places.get(rows.file_digest(number)) is not None

    def copy_entries(
        self, rows: Rows, numbers: Sequence[int], folder: Folder, stamps: array[int]
    ) -> CopyResult:
        """Link or copy the files of entries, which are of parts that `look_up` yielded."""
        left: list[int] = []
        later: dict[CachedSource, list[Copy]] = {}
        files = size = 0
        kinds, sizes, paths, name_of = rows.kinds, rows.sizes, rows.paths, rows.file_digest
        places, twins, link = self._places, self._twins, self._link
        for number in numbers:
            path, kind, length = paths[number], kinds[number], sizes[number]
            place = places.get(name_of(number)) if length and kind in FILES else None
            if place is not None and twins:
                place = twins.get((name_of(number), path), place)  # the one at the same path
            if place is None:
                left.append(number)
                continue
            source, block, at = place
            old, row = block.paths[at], (block.kinds[at], block.sizes[at], block.mtimes[at])
            if row[1] != length:
                left.append(number)
                continue
            if link and row[0] == kind and source.link(old, path, row, folder):
                stamps[number] = row[2]
            elif length > TINY:
                later.setdefault(source, []).append(Copy(rows, number, old, row))
                continue
            elif not source.copy_tiny(Copy(rows, number, old, row), folder):
                left.append(number)
                continue
            files += 1
            size += length
        copies = [
            each for source, jobs in later.items() for each in _batches(partial(source.copy, folder), jobs)
        ]
        return CopyResult(left, files, size, copies)

    def share(
        self,
        entry: Entry,  # noqa: ARG002  # of the protocol
        extents: Iterable[tuple[Extent, int]],
    ) -> tuple[list[LocalCopy], Iterable[tuple[Extent, int]]]:
        """Return copies of the chunks that files in the folders share with a file, and the other extents."""
        return ([], extents) if self._spans is None else self._spans.share(extents)


def _batches(copy: Callable[[Copy], bool], jobs: list[Copy]) -> Iterator[Copies]:
    """Yield files to be copied in batches large enough for a thread's job."""
    batch: list[Copy] = []
    size = 0
    for job in jobs:
        batch.append(job)
        size += job.row[1]
        if size >= _BATCH:
            yield Copies(copy, batch)
            batch, size = [], 0
    if batch:
        yield Copies(copy, batch)
