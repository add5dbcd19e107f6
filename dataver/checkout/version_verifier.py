"""Verifying a version, in its repository or in a local folder.

The idea: one pass checks every byte of each pack, starting from its name, and every file by its digest
(`dataver.checkout.pack_verifier`). Each problem is a finding and does not stop the check. Affected files are
determined only for damaged packs.

An external pack is verified only as far as the version needs it: other objects in it may have changed since.
So external files are read in parallel, each separately at its place, and each piece and each file is compared
with its digest. A quick check compares the attributes of the objects, and reads only those that may have
changed.

Serves invariants 1 and 10. Changes nothing.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dataver import parallel
from dataver.checkout.folder import located
from dataver.checkout.local_sources import hash_file
from dataver.checkout.materialise import local_errors
from dataver.checkout.pack_verifier import Inspection
from dataver.checkout.reading import read_file
from dataver.errors import FormatTooNew, IntegrityError, PathNotFound, StoreError
from dataver.formats.block import Leaf
from dataver.formats.entry import Kind, is_external
from dataver.machine.deep_folders import walk_folders
from dataver.progress import SILENT, Progress
from dataver.repository.history import record_findings
from dataver.short_repr import short_repr
from dataver.tree import WHOLE, Clashes, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from dataver.formats.entry import Entry
    from dataver.repository import Published, RepositoryCore
    from dataver.tree import Selection

__all__ = ["ExternalVerifier", "VerifyReport", "file_problem", "verify_folder", "verify_version"]


@dataclass(slots=True)
class VerifyReport:
    """Result of a verification.

    Attributes:
        files: files checked.
        packs: packs read.
        size: bytes of the files.
        findings: problems: a path, pack or tree block, and a description.
    """

    files: int = 0
    packs: int = 0
    size: int = 0
    findings: list[tuple[str, str]] = field(default_factory=list)

    __repr__ = short_repr

    @property
    def ok(self) -> bool:
        """Whether there are no findings."""
        return not self.findings


def verify_version(
    repo: RepositoryCore,
    tree: bytes,
    *,
    published: Published | None = None,
    quick: bool = False,
    progress: Progress = SILENT,
) -> VerifyReport:
    """Check a version in its repository: its tree blocks, its packs, and every file's extents and digest.

    Args:
        repo: the repository.
        tree: digest of the version's tree.
        published: the version's record, which is compared with the tree, and with the records of its parents
            and children; the tags and tombstones of its dataset are checked, too.
        quick: compare checksums of stored bytes only; chunks and files are not hashed. External files are
            not read if their attributes are unchanged.
        progress: receives counts of files and bytes, and as `new` of stored bytes read.
    """
    repo.blocks.refresh()  # bypasses caches
    report = VerifyReport()
    leaves, packs, files, size = _walk(repo, tree, report)
    if published is not None:
        report.findings += record_findings(repo, published)
    progress.start(files, size)
    external = {pack for pack in packs if is_external(pack)}
    packs -= external
    inside: Iterable[Entry] = _files(repo, leaves, report)
    if external:  # external files are verified separately: their packs are not verified whole
        verifier = ExternalVerifier(repo, progress, quick=quick)
        inside = (entry for entry in inside if not verifier.takes(entry))
    with Inspection(repo, progress, quick=quick) as inspection:
        inspection.files(inside)
        inspection.rest(sorted(packs))
        report.packs = len(packs) - len(inspection.bad)
        repo.soundness.mark(inspection.bad, sound=packs - inspection.bad.keys())
        report.findings += [(f"pack {pack.hex()}", why) for pack, why in sorted(inspection.bad.items())]
        problems = dict(inspection.wrong)
        if external:
            problems |= verifier.run()
        if inspection.bad:
            for entry in _files(repo, leaves, VerifyReport()):
                problem = file_problem(repo, entry, inspection, quick)
                if problem and entry.path not in problems:
                    problems[entry.path] = problem
    report.findings += sorted(problems.items())
    return report


def _files(repo: RepositoryCore, leaves: list[bytes], report: VerifyReport) -> Iterator[Entry]:
    """Yield the files of a version in path order, count them, and report paths that are also folders."""
    clashes = Clashes()
    for name in leaves:
        leaf = repo.blocks.load(name)
        assert isinstance(leaf, Leaf)
        report.findings += [(path, "is also a folder of other files") for path in clashes.find(leaf)]
        for entry in leaf.entries():
            if entry.kind in (Kind.FILE, Kind.EXECUTABLE):
                report.files += 1
                report.size += entry.size
                yield entry


def _walk(
    repo: RepositoryCore, root: bytes, report: VerifyReport
) -> tuple[list[bytes], set[bytes], int, int]:
    """Load every tree block; return the leaves, their packs, and the files and bytes in them."""
    leaves: list[bytes] = []
    packs: set[bytes] = set()
    files = size = 0

    def note(digest: bytes, error: IntegrityError | FormatTooNew) -> None:
        report.findings.append((f"tree block {digest.hex()}", error.message))

    for block in walk([root], repo.blocks.load, on_error=note):
        if isinstance(block, Leaf):
            packs.update(block.packs())
            leaves.append(block.digest)
            files += block.file_count
            size += block.byte_count
    return leaves, packs, files, size


def file_problem(repo: RepositoryCore, entry: Entry, inspection: Inspection, quick: bool) -> str | None:
    """Return the effect of damaged packs on a file; None if it does not need damaged bytes."""
    if quick:
        hit = any(extent.pack in inspection.bad for extent in entry.extents)
        return "is in a damaged pack" if hit else None
    try:
        if inspection.touches_damage(entry):
            for _ in read_file(repo, entry):
                pass
    except (IntegrityError, FormatTooNew) as error:
        return error.message
    return None


def verify_folder(
    repo: RepositoryCore,
    tree: bytes,
    folder: Path,
    *,
    selection: Selection = WHOLE,
    progress: Progress = SILENT,
) -> VerifyReport:
    """Compare a local folder with a version, every selected file by its digest.

    Findings are files that are missing, differ or do not belong to the version. A `.dataver` folder at the
    top, and files that are not selected, are ignored.

    Raises:
        PathNotFound: the folder does not exist.
    """
    report = VerifyReport()
    version = repo.tree(tree)
    if selection.whole:
        total = version.summary()
        progress.start(total.files, total.size)
    try:
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise PathNotFound(f"{folder} is not a folder: {error.strerror}.") from error
    try:
        with local_errors(folder):
            for leaf, numbers in selection.parts(version):
                before = report.files, report.size
                for number in numbers:
                    _compare(root, leaf.entry(number), report)
                progress.advance(report.files - before[0], report.size - before[1])
            matches = selection.matcher()
            for path in _present(root, report):
                if matches(path) and version.get(path) is None:
                    report.findings.append((path, "is not part of the version"))
    finally:
        os.close(root)
    return report


def _compare(root: int, entry: Entry, report: VerifyReport) -> None:
    if entry.kind in (Kind.FILE, Kind.EXECUTABLE):
        report.files += 1
        report.size += entry.size
    problem = _difference(root, entry)
    if problem:
        report.findings.append((entry.path, problem))


def _difference(root: int, entry: Entry) -> str | None:
    """Return how the file at an entry's path differs from the entry."""
    try:
        with located(root, entry.path) as (here, name):
            status = os.stat(name, dir_fd=here, follow_symlinks=False)  # a descriptor
            if entry.kind == Kind.DIRECTORY:
                return None if stat.S_ISDIR(status.st_mode) else "is not a folder"
            if entry.kind == Kind.SYMLINK:
                if not stat.S_ISLNK(status.st_mode):
                    return "is not a symbolic link"
                same = os.readlink(name, dir_fd=here) == entry.target
                return None if same else "leads elsewhere"
            if not stat.S_ISREG(status.st_mode):
                return "is not a file"
            if status.st_size != entry.size:
                return f"has {status.st_size} bytes, not {entry.size}"
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
    except (FileNotFoundError, NotADirectoryError):
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    try:
        if hash_file(fd) != entry.digest:
            return "has different bytes"
    finally:
        os.close(fd)
    executable = bool(status.st_mode & 0o100)
    return None if executable == (entry.kind == Kind.EXECUTABLE) else "has a different executable bit"


def _present(root: int, report: VerifyReport) -> Iterator[str]:
    """Yield the paths of all files and links below a folder, except dataver's own."""

    def unread(path: str, error: OSError) -> None:
        report.findings.append((path, f"cannot be read: {error.strerror}"))

    for visit in walk_folders(root, failed=unread):
        if not visit.path and ".dataver" in visit.folders:
            visit.folders.remove(".dataver")
        prefix = f"{visit.path}/" if visit.path else ""
        yield from (prefix + name for name in sorted(visit.others))


class ExternalVerifier:
    """Collector and verifier of external files."""

    def __init__(self, repo: RepositoryCore, progress: Progress, *, quick: bool) -> None:
        self._repo, self._progress, self._quick = repo, progress, quick
        self._entries: list[Entry] = []

    def takes(self, entry: Entry) -> bool:
        """Collect a file if any of its bytes are external; return whether it was collected."""
        if not any(is_external(extent.pack) for extent in entry.extents):
            return False
        self._entries.append(entry)
        return True

    def run(self) -> dict[str, str]:
        """Return the problems found, by path.

        Raises:
            StoreError: a store cannot be reached.
        """
        with parallel.pool(parallel.checkers(), "verify") as pool:
            problems = zip(self._entries, pool.map(self._problem, self._entries), strict=True)
            return {entry.path: problem for entry, problem in problems if problem is not None}

    def _problem(self, entry: Entry) -> str | None:
        try:
            if not (self._quick and self._looks_right(entry)):
                for piece in read_file(self._repo, entry):
                    self._progress.advance(0, 0, new=len(piece))
        except (IntegrityError, FormatTooNew) as error:
            return error.message
        except StoreError as error:
            if error.transient:
                raise
            return error.message
        finally:
            self._progress.advance(1, entry.size)
        return None

    def _looks_right(self, entry: Entry) -> bool:
        """Return whether the attributes of the objects prove that they are unchanged."""
        externals = self._repo.packs.externals
        for extent in entry.extents:
            if not is_external(extent.pack):
                return False
            if not externals.are_unchanged(extent.pack, *externals.load(extent.pack).frames_of(extent)):
                return False
        return True
