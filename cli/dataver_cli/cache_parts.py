"""The parts of the cache besides versions: small objects, frames, chunk indexes, the stat cache."""

import os
import shutil
from pathlib import Path

__all__ = ["PARTS", "drop_parts", "part_sizes"]

PARTS = {
    "repositories": "small objects of remote repositories",
    "frames": "parts of versions that were read without a fetch",
    "index": "known chunks and their packs",
    "stat": "digests of unchanged files",
}


def part_sizes(root: Path) -> dict[str, tuple[int, int]]:
    """Return the files and bytes of each part below the private root."""
    return {name: _measure(root / name) for name in PARTS}


def drop_parts(root: Path) -> None:
    """Remove all parts; processes that use one continue without it."""
    for name in PARTS:
        shutil.rmtree(root / name, ignore_errors=True)


def _measure(folder: Path) -> tuple[int, int]:
    files = size = 0
    for at, _, names in os.walk(folder):
        for name in names:
            try:
                status = Path(at, name).lstat()
            except FileNotFoundError:
                continue
            size += min(status.st_size, status.st_blocks * 512)  # files of frames have holes
            files += 1
    return files, size
