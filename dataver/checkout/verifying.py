"""Verifying: a version as the repository holds it, or a local folder against a version.

Findings are collected, not raised: one damaged pack must not hide another (invariant 10). A finding names the
file it hits. `quick` compares the checksums of the stored bytes; the default also decodes everything and compares
every file's digest (invariant 1). Every tree block on the way is compared with its digest in both.

Reads the repository as a fetch does, in large ranges, a frame once for all files in it; writes nothing.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from dataver.checkout.frames import pieces_of
from dataver.checkout.plan import Range, Target, plan, positions, windows
from dataver.checkout.reading import read_file
from dataver.errors import DataverError
from dataver.formats.block import Inner
from dataver.formats.compression import make_decompressor
from dataver.formats.entry import Kind
from dataver.formats.frame import iter_frames
from dataver.hashing import digest, new_hasher
from dataver.progress import SILENT

if TYPE_CHECKING:
    from pathlib import Path

    from dataver.formats.entry import Entry
    from dataver.progress import Progress
    from dataver.repository import Repository

__all__ = ["VerifyReport", "verify_folder", "verify_version"]

_FILES = (Kind.FILE, Kind.EXECUTABLE)
_AHEAD = 8  # ranges in flight, of 8 MiB each
_BUFFER = 1 << 20


@dataclass
class VerifyReport:
    """What was looked at, and what is wrong with it.

    Attributes:
        files: files looked at.
        size: their bytes.
        packs: packs they lie in.
        findings: `(name, what is wrong)`, sorted by name.
        seconds: wall time.
    """

    files: int = 0
    size: int = 0
    packs: int = 0
    findings: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


def verify_version(
    repo: Repository, tree: bytes, *, quick: bool = False, progress: Progress = SILENT
) -> VerifyReport:
    """Read everything a version needs from the repository and check it."""
    began = time.perf_counter()
    check = _VersionCheck(repo, quick, progress)
    for window in windows(check.entries(tree)):
        check.window(window)
    report = check.report
    report.packs = len(check.packs)
    report.findings.sort()
    report.seconds = time.perf_counter() - began
    return report


class _VersionCheck:
    def __init__(self, repo: Repository, quick: bool, progress: Progress) -> None:
        self._repo = repo
        self._quick = quick
        self._progress = progress
        self._local = threading.local()
        self._bad: set[str] = set()
        self.report = VerifyReport()
        self.packs: set[bytes] = set()

    def entries(self, block_digest: bytes) -> Iterator[Entry]:
        """Yield the files below a block; a damaged block is a finding and hides only what is below it."""
        try:
            block = self._repo.blocks.load(block_digest)
            below = block.children if isinstance(block, Inner) else list(block.entries())
        except DataverError as error:
            self.report.findings.append((f"tree block {block_digest.hex()}", error.message))
            return
        for each in below:
            if not hasattr(each, "extents"):
                yield from self.entries(each.digest)
            elif each.kind in _FILES:
                yield each

    def window(self, window: list[Entry]) -> None:
        """Check some files together."""
        report = self.report
        report.files += len(window)
        report.size += sum(entry.size for entry in window)
        self.packs.update(extent.pack for entry in window for extent in entry.extents)
        entries = {entry.path: entry for entry in window}
        targets = [Target(e.path, False, e.size, e.digest, e.extents) for e in window]
        for target in targets:
            if not target.size and digest(b"") != target.digest:
                self._found(target.path, "it is empty, but its digest is not that of nothing")
        try:
            ranges = plan(((target, positions(target.extents)) for target in targets), self._repo.packs.footer)
        except DataverError:
            self._one_by_one(window)  # a footer is damaged: each file says for itself
            return
        spread = [] if self._quick else [t for t in targets if not t.whole]
        jobs: list[Any] = [*(lambda one=one: self._range(one, entries) for one in ranges)]
        jobs += [lambda target=target: self._alone(entries[target.path]) for target in spread]
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1), "dataver-verify") as pool:
            running = [pool.submit(job) for job in islice(jobs, _AHEAD)]
            for job in jobs[_AHEAD:]:
                running.pop(0).result()
                running.append(pool.submit(job))
            for future in running:
                future.result()
        done = [target for target in targets if target.whole or self._quick]
        self._progress.advance(len(done), sum(target.size for target in done))

    def _range(self, one: Range, entries: dict[str, Entry]) -> None:
        if not self._quick and not any(piece.target.whole for piece in one.pieces):
            return  # large files are read on their own, in order
        try:
            data = memoryview(self._repo.packs.read(one.pack, one.offset, one.length))
            if self._quick:
                for _ in iter_frames(data):
                    pass
            else:
                self._decode(data, one)
        except DataverError:
            self._one_by_one([entries[path] for path in sorted({piece.target.path for piece in one.pieces})])

    def _decode(self, data: memoryview, one: Range) -> None:
        parts: dict[str, list[tuple[int, memoryview]]] = {}
        for piece, position, part in pieces_of(data, one, self._decompressor()):
            if not piece.target.whole:
                continue
            if len(part) == piece.target.size:
                self._compare(piece.target, part)
                continue
            parts.setdefault(piece.target.path, []).append((position, part))
        targets = {piece.target.path: piece.target for piece in one.pieces}
        for path, found in parts.items():
            content = b"".join(part for _, part in sorted(found, key=lambda item: item[0]))
            self._compare(targets[path], content)

    def _compare(self, target: Target, content: bytes | memoryview) -> None:
        if digest(content) != target.digest:
            self._found(target.path, "the repository holds other bytes for it than its digest says")

    def _one_by_one(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self._alone(entry, counted=True)

    def _alone(self, entry: Entry, *, counted: bool = False) -> None:
        try:
            if self._quick:
                for extent in entry.extents:
                    data = self._repo.packs.read(extent.pack, extent.offset, extent.stored)
                    for _ in iter_frames(data):
                        pass
            else:
                for _ in read_file(self._repo, entry):
                    pass
        except DataverError as error:
            self._found(entry.path, error.message)
        if not counted:
            self._progress.advance(1, entry.size)

    def _found(self, path: str, what: str) -> None:
        if path not in self._bad:
            self._bad.add(path)
            self.report.findings.append((path, what))

    def _decompressor(self) -> Any:
        found = getattr(self._local, "decompressor", None)
        if found is None:
            found = self._local.decompressor = make_decompressor()
        return found


def verify_folder(repo: Repository, tree: bytes, folder: Path, *, progress: Progress = SILENT) -> VerifyReport:
    """Compare a local folder with a version: what is missing, what differs, what is there besides."""
    began = time.perf_counter()
    report = VerifyReport()
    expected: set[str] = set()
    for entry in repo.tree(tree).iterate():
        expected.add(entry.path)
        if entry.kind in _FILES:
            report.files += 1
            report.size += entry.size
        what = _local_problem(folder / entry.path, entry)
        if what is not None:
            report.findings.append((entry.path, what))
        progress.advance(1, entry.size)
    for home, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != ".dataver"]
        links = [name for name in folders if os.path.islink(os.path.join(home, name))]  # noqa: PTH114, PTH118
        for name in (*names, *links):
            path = os.path.relpath(os.path.join(home, name), folder).replace(os.sep, "/")  # noqa: PTH118
            if path not in expected:
                report.findings.append((path, "it is not in the version"))
    report.findings.sort()
    report.seconds = time.perf_counter() - began
    return report


def _local_problem(path: Path, entry: Entry) -> str | None:
    try:
        if entry.kind == Kind.SYMLINK:
            return None if path.is_symlink() and os.readlink(path) == entry.target else "the link differs"
        if entry.kind == Kind.DIRECTORY:
            return None if path.is_dir() else "the empty folder is missing"
        if path.is_symlink() or not path.is_file():
            return "it is missing" if not os.path.lexists(path) else "it is no regular file"
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size != entry.size:
                return f"it has {size} bytes instead of {entry.size}"
            hasher = new_hasher()
            while data := file.read(_BUFFER):
                hasher.update(data)
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    return None if hasher.digest() == entry.digest else "its content differs"
