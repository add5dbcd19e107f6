"""Full profiles of a version: of each file digest once in its dataset, so a child costs what changed.

The idea: files are read in groups, the next one while threads profile the last. Profiles are written from
time to time and when the call ends in any way, so that an interrupted one is continued by the next one; the
first one is written at once, so that a store that refuses it does so before the data is read.
"""

from __future__ import annotations

import io
import math
import time
import warnings
from collections import Counter, deque
from concurrent.futures import Future, wait
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from dataver import parallel
from dataver.formats.profile import decode_profile
from dataver.printable import count
from dataver.profiles import tables
from dataver.profiles.kinds import SAMPLE, Kind, Source, encode, kind_of
from dataver.reading.samples import contents
from dataver.short_repr import short_repr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from dataver.formats.profile import Lines
    from dataver.progress import Progress
    from dataver.reading import Files
    from dataver.repository import RepositoryCore

__all__ = ["ProfileReport", "profile_version"]

_SMALL: Final = 4 << 20  # bytes of a file that is read at once; larger ones are opened
_GROUP: Final = 16 << 20  # bytes of files that are read together
_TOGETHER: Final = 512  # files that are read together
_PENDING: Final = 16  # files that wait for a thread
_WRITTEN: Final = 64 << 20  # bytes written together: each object has a range of the digests
_SECONDS: Final = 300.0  # after which they are written in any case
_SOON: Final = 0.05  # seconds after which an interrupt is repeated


@dataclass
class ProfileReport:
    """Result of making profiles.

    Attributes:
        made: number of profiles made, by kind.
        known: number of different files that had a full profile already.
        problems: `(path, problem)` of broken files, known ones too; their profiles say the same.
        missing: kinds of files without a profile because a package is not installed, and what to do.
        seconds: wall time.
    """

    made: Counter[str] = field(default_factory=Counter)
    known: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)
    missing: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0

    __repr__ = short_repr


def profile_version(
    repo: RepositoryCore,
    files: Files,
    chosen: Callable[[str], bool],
    fetch: Callable[[str], Path],
    progress: Progress,
) -> ProfileReport:
    """Make full profiles of the files of a version that have none, and store them.

    Args:
        repo: the repository.
        files: the files of the version.
        chosen: whether a path is wanted.
        fetch: fetches a file and returns its local path.
        progress: receives files and bytes.

    Raises:
        StoreError, IntegrityError: a file cannot be read; completed profiles are stored.
        StoreError: the store refuses profiles.
        NotFound: the version was deleted meanwhile.
    """
    began = time.perf_counter()
    making = _Making(repo, files, chosen, fetch)
    with warnings.catch_warnings(action="ignore"):  # of libraries, about broken files
        making.run(progress)
    making.report.seconds = time.perf_counter() - began
    return making.report


def _kept(line: bytes) -> bytes:
    return line if b'"problem"' in line else line[:1]


class _Making:
    def __init__(
        self, repo: RepositoryCore, files: Files, chosen: Callable[[str], bool], fetch: Callable[[str], Path]
    ) -> None:
        self._repo, self._files, self._chosen, self._fetch = repo, files, chosen, fetch
        self._record = files.published.record
        self.report = ProfileReport()
        self._lines: dict[str, Lines] = {"tables": {}, "files": {}}
        self._size, self._written = 0, -math.inf
        self._threads: set[int] = set()
        self._full: Lines = {}  # of broken files their profile, of others its first byte
        self._broken: dict[str, str] = {}  # known ones
        for group in self._lines:
            known = repo.profiles.find(self._record.dataset, group, keep=_kept)
            self._full.update((name, line) for name, line in known.items() if line[:1] == b"1")

    def run(self, progress: Progress) -> None:
        """Make and write the profiles."""
        counts, sizes = Counter[Kind](), Counter[Kind]()
        for source in self._lacking():
            counts[source.kind] += 1
            sizes[source.kind] += source.size
        for kind in [each for each in counts if not each.available]:
            files = count(counts.pop(kind), f"{kind.name} file")
            self.report.missing.append((files, f"pip install 'dataver[{kind.extra}]'"))
            del sizes[kind]
        progress.start(counts.total(), sizes.total())
        pending = deque[Future[tuple[Source, bytes, str | None]]]()
        try:
            with parallel.pool(parallel.cores(), "profiles") as pool:
                try:
                    for source in self._opened(counts):
                        pending.append(pool.submit(self._make, source))
                        if len(pending) > _PENDING:
                            self._take(pending[0].result(), progress)
                            pending.popleft()
                    for each in pending:
                        self._take(each.result(), progress)
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    while running := [each for each in pending if not each.done()]:
                        tables.interrupt(self._threads)  # those that get their turn now, too
                        wait(running, _SOON)
                    raise
        finally:
            self._write()
        self.report.problems += self._broken.items()

    def _lacking(self) -> Iterator[Source]:
        """Yield each different file without a full profile."""
        seen = set[bytes]()
        self.report.known = 0
        for path, size, name in self._files.folders.tree.files():
            kind = kind_of(path)
            if kind is None or name in seen or not self._chosen(path):
                continue
            seen.add(name)
            line = self._full.get(name)
            if line is None:
                yield Source(path, size, name, kind)
                continue
            self.report.known += 1
            if len(line) > 1 and (problem := decode_profile(line).get("problem")):
                self._broken[path] = problem

    def _opened(self, counts: Mapping[Kind, int]) -> Iterator[Source]:
        """Yield the files of some kinds, opened: small ones, read in groups, then large ones.

        Of each kind, about `SAMPLE` are sampled.
        """
        small, large, numbers = deque[Source](), list[Source](), Counter[Kind]()

        def groups() -> Iterator[list[tuple[str, int]]]:
            some, size = list[tuple[str, int]](), 0
            for source in self._lacking():
                if source.kind not in counts:
                    continue
                source.sampled = numbers[source.kind] % max(1, counts[source.kind] // SAMPLE) == 0
                numbers[source.kind] += 1
                if source.size > _SMALL:
                    large.append(source)
                    continue
                small.append(source)
                some.append((source.name, source.size))
                size += source.size
                if len(some) == _TOGETHER or size > _GROUP:
                    yield some
                    some, size = [], 0
            if some:
                yield some

        for _, data in contents(self._files, groups()):
            small[0].open = partial(io.BytesIO, data)
            yield small.popleft()
        for source in large:
            source.open = partial(cast("Callable[[str], BinaryIO]", self._files.open), source.name)
            source.fetch = self._fetch
            yield source

    def _make(self, source: Source) -> tuple[Source, bytes, str | None]:
        self._threads.add(get_ident())
        with closing(source):
            made = encode(source, full=True)
        assert made is not None, f"a full profile of {source.kind.name} files says something"
        return source, *made

    def _take(self, made: tuple[Source, bytes, str | None], progress: Progress) -> None:
        """Keep a profile; write those that are kept from time to time."""
        source, line, problem = made
        self._lines[source.kind.group][source.digest] = line
        self.report.made[source.kind.name] += 1
        if problem is not None:
            self.report.problems.append((source.name, problem))
        progress.advance(1, source.size)
        self._size += len(line)
        if self._size > _WRITTEN or time.monotonic() - self._written > _SECONDS:
            self._write()

    def _write(self) -> None:
        for group, lines in self._lines.items():
            record = self._record
            there = partial(self._repo.records.find, record.dataset, record.label)
            self._repo.profiles.add(record.dataset, group, [record.tree], lines, check=there)
            lines.clear()
        self._size, self._written = 0, time.monotonic()
