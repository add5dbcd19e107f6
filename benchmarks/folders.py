"""Folders as the benchmark needs them: turned into a version, compared, counted, warmed."""

import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Size", "difference", "measure_size", "turn_into", "warm"]

_STEP = 1 << 20


@dataclass(frozen=True)
class Size:
    """What folders hold: bytes, bytes as the disk counts them (whole disk blocks), and files."""

    length: int
    on_disk: int
    files: int


def measure_size(paths: Iterable[Path]) -> Size:
    """Return what is in the files and folders named; a file with several names counts once."""
    seen: dict[tuple[int, int], os.stat_result] = {}
    for path in paths:
        for file in _files(path):
            facts = file.lstat()
            seen[facts.st_dev, facts.st_ino] = facts
    return Size(
        sum(facts.st_size for facts in seen.values()),
        sum(facts.st_blocks * 512 for facts in seen.values()),
        len(seen),
    )


def turn_into(folder: Path, source: Path, *, link: bool = False) -> None:
    """Make `folder` hold what `source` holds and touch nothing that is the same already.

    That is how a person's folder changes between two versions: unchanged files keep their inode and times.
    With `link` files are hard links, which saves the disk a copy; for sources of one version.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted, there = _relative(source), _relative(folder)
    for name in there - wanted:
        (folder / name).unlink()
    for name in sorted(wanted):
        target = folder / name
        if name in there and _same(source / name, target):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        (os.link if link else shutil.copy)(source / name, target)
    for path, folders, files in os.walk(folder, topdown=False):
        if not folders and not files and Path(path) != folder:
            Path(path).rmdir()


def difference(one: Path, other: Path) -> str | None:
    """Return the first difference in names, bytes or the executable bit; None when there is none."""
    names, others = _relative(one), _relative(other)
    if names != others:
        odd = sorted(names ^ others)
        return f"{len(odd)} names are in one only, the first is {odd[0]}"
    for name in names:
        if not _same(one / name, other / name):
            return f"{name} differs"
        if (one / name).stat().st_mode & 0o100 != (other / name).stat().st_mode & 0o100:
            return f"{name} is executable in one only"
    return None


def warm(paths: Iterable[Path]) -> None:
    """Read everything once, so that no tool pays for a cold page cache."""
    buffer = bytearray(_STEP)
    for path in paths:
        for file in _files(path):
            with file.open("rb", buffering=0) as stream:
                while stream.readinto(buffer):
                    pass


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    for parent, _, names in os.walk(path):
        for name in names:
            if (found := Path(parent, name)).is_file():
                yield found


def _relative(folder: Path) -> set[str]:
    return {os.path.relpath(file, folder) for file in _files(folder)}


def _same(one: Path, other: Path) -> bool:
    with one.open("rb") as left, other.open("rb") as right:
        if os.fstat(left.fileno()).st_size != os.fstat(right.fileno()).st_size:
            return False
        while piece := left.read(_STEP):
            if piece != right.read(_STEP):
                return False
        return not right.read(1)
