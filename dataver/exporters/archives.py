"""Versions as tar files: one, or shards for WebDataset.

The same version gives the same bytes: entries are in the order of their paths, and have the time of the
version. A sample of WebDataset is the files with the same path up to the first "." of the name, such as
`a/1.jpg` and `a/1.cls`. Samples are in the order of these paths, and none is divided between two shards.
"""

import tarfile
from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from pathlib import Path
from typing import IO

from dataver.api.version import Version
from dataver.exporters.contents import contents, is_file, new_file
from dataver.formats.entry import Entry, Kind
from dataver.portions import portions
from dataver.progress import Progress

__all__ = ["write_shards", "write_tar"]

_TYPES = {Kind.SYMLINK: tarfile.SYMTYPE, Kind.DIRECTORY: tarfile.DIRTYPE}


def write_tar(out: IO[bytes], version: Version, entries: Iterable[Entry], progress: Progress) -> None:
    """Write entries to an open file, or a pipe, as a tar file."""
    for entry, pieces in contents(version, entries, progress):
        info = tarfile.TarInfo(entry.path)
        info.type, info.linkname = _TYPES.get(entry.kind, tarfile.REGTYPE), entry.target
        info.mode = 0o644 if entry.kind == Kind.FILE else 0o755
        info.size, info.mtime = entry.size, int(version.created.timestamp())
        out.write(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
        for piece in pieces:
            out.write(piece)
        out.write(bytes(-entry.size % tarfile.BLOCKSIZE))
    out.write(bytes(2 * tarfile.BLOCKSIZE))


def write_shards(
    folder: Path, version: Version, size: int, progress: Progress
) -> tuple[list[Path], list[Path]]:
    """Write the files of a version as shards, of at most `size` bytes of files if no sample has more.

    Return them, and those that an earlier export has left in the folder.
    """
    name, paths = version.dataset.replace("/", "-"), list[Path]()
    folder.mkdir(parents=True, exist_ok=True)
    for number, shard in enumerate(_shards(version.entries(), size)):
        paths.append(folder / f"{name}-{number:06}.tar")
        with new_file(paths[-1]) as out:
            write_tar(out, version, shard, progress)
    return paths, sorted({*folder.glob(f"{name}-{'[0-9]' * 6}.tar")} - {*paths})


def _shards(entries: Iterable[Entry], size: int) -> Iterator[list[Entry]]:
    files = sorted((entry._replace(extents=()) for entry in entries if is_file(entry)), key=_sample)
    samples = (list(group) for _, group in groupby(files, key=_sample))
    for some in portions(samples, size, lambda sample: sum(entry.size for entry in sample)):
        yield list(chain.from_iterable(some))


def _sample(entry: Entry) -> str:
    folder, _, name = entry.path.rpartition("/")
    return f"{folder}/{name.partition('.')[0]}"
