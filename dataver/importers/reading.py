"""Contents of the source: verified by the source's checksums, as local files or where they are.

The idea: a local file is verified where it is and added from there. Other contents are copied to a temporary
folder, a bounded batch at a time. A draft then adds the batch at the speed of any other local files.

Keeps invariant 1: no content is added that does not have the checksum that its source has for it.
"""

import os
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache, partial
from http.client import HTTPException
from itertools import chain, count
from pathlib import Path
from typing import IO, NamedTuple

from dataver import parallel
from dataver.errors import DataverError, NotFound, StoreError
from dataver.hashing.checksums import Hasher, hasher
from dataver.importers.source import Problems, Source, SourceFile
from dataver.ingest.external_listing import ExternalFile
from dataver.ingest.scan import ScannedItem
from dataver.ingest.stat_cache import FileStat
from dataver.machine.configuration import below, options_for
from dataver.portions import portions
from dataver.repository.external_trust import folder_of, open_place, place_of
from dataver.storage import Store

__all__ = ["Places", "Ready", "local_path", "ready_batches"]

_BATCH = 64 << 20  # bytes of contents that are copied before they are added
_FILES = 1024  # contents of a batch
_RANGE = 8 << 20  # bytes of one read of a remote object
_PART = 1 << 20  # and of a local file
_TINY = 16 << 10  # average size below which local files are verified by the thread that adds them
_AT_ONCE = 64  # contents that a thread reads before it takes others: handing over one takes 0.1 ms


class Ready(NamedTuple):
    """A verified content: the file of the source, and the item to add or the reason why there is none."""

    file: SourceFile
    item: ScannedItem | None
    reason: str = ""


def ready_batches(files: Sequence[SourceFile], places: "Places", folder: Path) -> Iterator[list[Ready]]:
    """Verify contents, and copy those that are not local files to a folder, a batch at a time.

    A batch is read while the caller uses the one before, whose copies are deleted when it asks for the next.

    Raises:
        StoreError: a store cannot be reached now.
    """
    here = all(local_path(file) is not None for file in files)
    threads = parallel.cores() if here else parallel.REQUESTS
    ahead: tuple[Path, Iterator[list[Ready]]] | None = None
    batches = portions(files, _BATCH, lambda file: file.size or 0, _FILES)
    with parallel.pool(threads, "import") as pool:
        for number, batch in enumerate(batches):
            copies = folder / str(number % 2)
            copies.mkdir(exist_ok=True)
            several = max(1, min(_AT_ONCE, len(batch) // (4 * threads)))
            parts = [batch[at : at + several] for at in range(0, len(batch), several)]
            tiny = here and sum(file.size or _TINY for file in batch) < _TINY * len(batch)
            at_work = map if tiny else pool.map
            now = copies, at_work(partial(_ready_part, places, copies), count(), parts)
            if ahead is not None:
                yield from _finished(*ahead)
            ahead = now
        if ahead is not None:
            yield from _finished(*ahead)


def _finished(copies: Path, parts: Iterator[list[Ready]]) -> Iterator[list[Ready]]:
    yield list(chain.from_iterable(parts))
    for path in copies.iterdir():
        path.unlink()


def _ready_part(places: "Places", copies: Path, part: int, files: list[SourceFile]) -> list[Ready]:
    return [_ready(file, places, copies / f"{part}-{number}") for number, file in enumerate(files)]


def _ready(file: SourceFile, places: "Places", target: Path) -> Ready:
    try:
        local = local_path(file)
        if local is not None:
            return _verified(file, local)
        with target.open("wb") as copy:
            return _copied(file, places, target, copy)
    except StoreError as error:
        if error.transient:
            raise
        return Ready(file, None, error.message)
    except DataverError as error:
        return Ready(file, None, error.message)
    except (OSError, HTTPException) as error:
        return Ready(file, None, f"it cannot be read: {getattr(error, 'strerror', None) or error}")


def local_path(file: SourceFile) -> Path | None:
    """Return the path of a content that is a local file, else None."""
    if file.url is None:
        return None
    return folder_of(file.url) if "://" in file.url else Path(file.url)


def _verified(file: SourceFile, path: Path) -> Ready:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe must not block
    try:
        now = os.fstat(fd)
        if not stat.S_ISREG(now.st_mode):
            return Ready(file, None, f"{path} is not a file")
        if file.check is not None:
            other = hasher(file.check.algorithm, now.st_size)
            while data := os.read(fd, _PART):
                other.update(data)
            if wrong := file.check.difference(other.hexdigest()):
                return Ready(file, None, wrong)
    finally:
        os.close(fd)
    return Ready(file, _item(file, path, now)._replace(verified=file.check is not None))


def _copied(file: SourceFile, places: "Places", target: Path, copy: IO[bytes]) -> Ready:
    size, parts = places.parts(file) if file.url is not None else _opened(file)
    other: Hasher | None = hasher(file.check.algorithm, size) if file.check else None
    done = 0
    for data in parts:
        done += len(data)
        if file.size is not None and done > file.size:
            return Ready(file, None, f"it has more than the {file.size} bytes that the source states")
        copy.write(data)
        if other is not None:
            other.update(data)
    copy.flush()
    now = os.fstat(copy.fileno())
    if file.size is not None and done != file.size:
        return Ready(file, None, f"it has {done} bytes, and the source states {file.size}")
    if file.check and other and (wrong := file.check.difference(other.hexdigest())):
        return Ready(file, None, wrong)
    return Ready(file, _item(file, target, now))


def _opened(file: SourceFile) -> tuple[int, Iterator[bytes]]:
    if file.read is None:
        raise NotFound("its source has no content for it.")
    opened = file.read()

    def parts() -> Iterator[bytes]:
        with opened:
            yield from iter(lambda: opened.read(_PART), b"")

    return file.size or 0, parts()


def _item(file: SourceFile, path: Path, now: os.stat_result) -> ScannedItem:
    return ScannedItem(
        file.path, str(path), file.kind, FileStat(now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino)
    )


class Places:
    """The stores in which a source has contents.

    Args:
        source: the source.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._open: dict[str, Store] = {}

    def store(self, place: str) -> Store:
        """Return the store of a place."""
        if place not in self._open:
            given = next((each for url, each in self._source.stores.items() if below(place, url)), {})
            self._open[place] = open_place(place, place, {**given, **(options_for(place) or {})})
        return self._open[place]

    def parts(self, file: SourceFile) -> tuple[int, Iterator[bytes]]:
        """Return the size of an object, and its parts."""
        url = file.url or ""
        place = next((each for each in self._source.stores if below(url, each)), url.rpartition("/")[0])
        store, key = self.store(place), url[len(place) + 1 :]
        pin = store.pin(key, file.object_version)
        starts = range(0, pin.size, _RANGE)
        return pin.size, (store.get_pinned(key, pin, at, min(_RANGE, pin.size - at)) for at in starts)

    def outside(
        self, files: Iterable[SourceFile], problems: Problems
    ) -> Iterator[tuple[str, list[ExternalFile]]]:
        """Yield the places of contents that stay where they are, each with its files.

        A place is the folder that all objects of one bucket or host, or all local files, have in common.

        Args:
            files: files with a `url`.
            problems: receives the path and the reason of a file whose place is invalid.
        """
        groups: dict[str, list[tuple[str, SourceFile]]] = defaultdict(list)
        for file in files:
            path = local_path(file)
            try:
                url = place_of(file.url or "") if path is None else _real_path(path)
            except DataverError as error:
                problems.append((file.path, error.message))
                continue
            groups["" if path is not None else "/".join(url.split("/")[:3])].append((url, file))
        for group in groups.values():
            common = os.path.commonprefix([url for url, _ in group])  # noqa: RUF071  # of characters
            root = common.rpartition("/")[0]
            found = [
                ExternalFile(
                    file.path,
                    url[len(root) + 1 :],
                    file.kind,
                    file.size or 0,
                    file.object_version,
                    file.check,
                )
                for url, file in group
            ]
            place = place_of(root or "/")
            yield place, sorted(found)


def _real_path(path: Path) -> str:
    return os.path.realpath(path) if path.is_symlink() else f"{_real_folder(path.parent)}/{path.name}"


@lru_cache(1024)  # many objects are in few folders
def _real_folder(path: Path) -> str:
    return os.path.realpath(path).rstrip("/")
