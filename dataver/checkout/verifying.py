"""Finding out whether a version, in its repository or in a local folder, is what it should be.

The idea: a pack is checked from its name down, every byte of it, and every file by its digest, in one go
(`dataver.checkout.inspecting`). Everything that is wrong is a finding, and the search goes on behind it: only
for what is damaged it is asked which files can no longer be read.

Serves invariants 1 and 10. Changes nothing.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dataver.checkout.external import ExternalVerifier
from dataver.checkout.folder import located
from dataver.checkout.inspecting import Inspection
from dataver.checkout.materialise import local_errors
from dataver.checkout.reading import read_file
from dataver.checkout.reuse import hash_file
from dataver.errors import FormatTooNew, IntegrityError, PathNotFound
from dataver.formats.block import Leaf
from dataver.formats.entry import Kind, is_external
from dataver.progress import SILENT, Progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from dataver.formats.entry import Entry
    from dataver.repository import Repository

__all__ = ["VerifyReport", "verify_folder", "verify_version"]


@dataclass(slots=True)
class VerifyReport:
    """What was looked at and what is wrong.

    Attributes:
        files: files looked at.
        packs: packs read.
        size: bytes of the files.
        findings: what is wrong: a path, pack or tree block, and how.
    """

    files: int = 0
    packs: int = 0
    size: int = 0
    findings: list[tuple[str, str]] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


def verify_version(
    repo: Repository, tree: bytes, *, quick: bool = False, progress: Progress = SILENT
) -> VerifyReport:
    """Check a version in its repository: its tree blocks, its packs, and every file's extents and digest.

    Args:
        repo: the repository.
        tree: digest of the version's tree.
        quick: compare checksums of stored bytes only; chunks and files are not hashed. External files are
            not read where their store says that they are as they were.
        progress: told of files and bytes, and as `new` of stored bytes read.
    """
    repo.blocks.refresh()  # what is in the repository is asked, not what a cache had of it
    report = VerifyReport()
    leaves, packs, files, size = _walk(repo, tree, report)
    progress.start(files, size)
    external = {pack for pack in packs if is_external(pack)}
    packs -= external
    inside: Iterable[Entry] = _files(repo, leaves, report)
    if external:  # what lies outside is looked at by itself: its packs are not stored, so not verified whole
        verifier = ExternalVerifier(repo, progress, quick=quick)
        inside = (entry for entry in inside if not verifier.takes(entry))
    with Inspection(repo, progress, quick=quick) as inspection:
        inspection.files(inside)
        inspection.rest(sorted(packs))
        report.packs = len(packs) - len(inspection.bad)
        report.findings += [(f"pack {pack.hex()}", why) for pack, why in sorted(inspection.bad.items())]
        problems = dict(inspection.wrong)
        if external:
            problems |= verifier.run()
        if inspection.bad:
            for entry in _files(repo, leaves, VerifyReport()):
                problem = _problem(repo, entry, inspection, quick)
                if problem and entry.path not in problems:
                    problems[entry.path] = problem
    report.findings += sorted(problems.items())
    return report


def _files(repo: Repository, leaves: list[bytes], report: VerifyReport) -> Iterator[Entry]:
    """Yield the files of a version in path order, and count them."""
    for leaf in leaves:
        block = repo.blocks.load(leaf)
        assert isinstance(block, Leaf)
        for entry in block.entries():
            if entry.kind in (Kind.FILE, Kind.EXECUTABLE):
                report.files += 1
                report.size += entry.size
                yield entry


def _walk(repo: Repository, root: bytes, report: VerifyReport) -> tuple[list[bytes], set[bytes], int, int]:
    """Load every tree block; return the leaves, the packs they name, and the files and bytes in them."""
    leaves: list[bytes] = []
    packs: set[bytes] = set()
    files = size = 0
    ahead = [root]
    while ahead:
        name = ahead.pop()
        try:
            block = repo.blocks.load(name)
            if isinstance(block, Leaf):
                packs.update(block.packs())
                leaves.append(name)
                files += sum(kind in (Kind.FILE, Kind.EXECUTABLE) for kind in block.kinds)
                size += sum(block.sizes)
            else:
                ahead.extend(child.digest for child in reversed(block.children))
        except (IntegrityError, FormatTooNew) as error:
            report.findings.append((f"tree block {name.hex()}", error.message))
    return leaves, packs, files, size


def _problem(repo: Repository, entry: Entry, inspection: Inspection, quick: bool) -> str | None:
    """Return what damaged packs mean for a file; None if it does not need what is damaged in them."""
    if quick:
        hit = any(extent.pack in inspection.bad for extent in entry.extents)
        return "lies in a damaged pack" if hit else None
    try:
        if inspection.touches_damage(entry):
            for _ in read_file(repo, entry):
                pass
    except (IntegrityError, FormatTooNew) as error:
        return error.message
    return None


def verify_folder(
    repo: Repository, tree: bytes, folder: Path, *, progress: Progress = SILENT
) -> VerifyReport:
    """Compare a local folder with a version, every file by its digest.

    Findings are files that are missing, differ or do not belong to the version. A `.dataver` folder at the
    top is left out.

    Raises:
        PathNotFound: there is no such folder.
    """
    report = VerifyReport()
    version = repo.tree(tree)
    total = version.summary()
    progress.start(total.files, total.size)
    try:
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise PathNotFound(f"{folder} is not a folder: {error.strerror}.") from error
    try:
        with local_errors(folder):
            for leaf in version.leaves():
                before = report.files, report.size
                for entry in leaf.entries():
                    _compare(root, entry, report)
                progress.advance(report.files - before[0], report.size - before[1])
            for path in _present(root):
                if version.get(path) is None:
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
    """Return how what is at the path of an entry differs from it."""
    try:
        with located(root, entry.path) as (here, name):
            status = os.stat(name, dir_fd=here, follow_symlinks=False)  # a descriptor
            if entry.kind == Kind.DIRECTORY:
                return None if stat.S_ISDIR(status.st_mode) else "is no folder"
            if entry.kind == Kind.SYMLINK:
                if not stat.S_ISLNK(status.st_mode):
                    return "is no symbolic link"
                same = os.readlink(name, dir_fd=here) == entry.target
                return None if same else "leads elsewhere"
            if not stat.S_ISREG(status.st_mode):
                return "is no file"
            if status.st_size != entry.size:
                return f"has {status.st_size} bytes, not {entry.size}"
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
    except (FileNotFoundError, NotADirectoryError):
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    try:
        if hash_file(fd) != entry.digest:
            return "has other bytes"
    finally:
        os.close(fd)
    executable = bool(status.st_mode & 0o100)
    return None if executable == (entry.kind == Kind.EXECUTABLE) else "has another executable bit"


def _present(root: int) -> Iterator[str]:
    """Yield the paths of all files and links below a folder, dataver's own left out."""
    for folder, folders, files, fd in os.fwalk(".", follow_symlinks=False, dir_fd=root):
        prefix = "" if folder == "." else folder[2:] + "/"
        if not prefix and ".dataver" in folders:
            folders.remove(".dataver")
        links = [name for name in folders if stat.S_ISLNK(os.lstat(name, dir_fd=fd).st_mode)]
        yield from (prefix + name for name in sorted((*files, *links)))
