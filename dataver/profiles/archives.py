"""Profiles of archives: what they list, which is never unpacked."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from typing import IO, TYPE_CHECKING, Any, Final

from dataver.errors import InvalidInput
from dataver.profiles.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataver.profiles.kinds import Profile, Source

__all__ = ["LISTING", "cheap", "full", "listing_size"]

LISTING: Final = 16 << 20
"""Bytes of a listing in a zip file that is read; its members take ten times as many."""

_NAMED: Final = 200  # members that are named
_LISTED: Final = 1_000_000  # members that are counted
_UNPACKED: Final = 1 << 30  # bytes of a compressed tar file that are unpacked to list it
_HEADER: Final = 1 << 20  # bytes of a header in a tar file
_OPENERS: Final[dict[str, Callable[[Any], Any]]] = {
    "gz": gzip.open,
    "tgz": gzip.open,
    "bz2": bz2.open,
    "xz": lzma.open,
}


def cheap(source: Source) -> Profile | None:
    """Return what a zip file lists; None for a tar file, which lists nothing in one place."""
    return full(source) if source.name.lower().endswith(".zip") else None


def full(source: Source) -> Profile:
    """Return the number and size of the members, and the names and sizes of the first ones."""
    suffix = source.name.lower().rpartition(".")[2]
    with source.open() as file:
        if suffix == "zip":
            return _zip(file, source.size)
        if suffix not in _OPENERS:
            return _tar(file, packed=False)
        with _OPENERS[suffix](file) as unpacked:
            return _tar(unpacked, packed=True)


def _zip(file: IO[bytes], size: int) -> Profile:
    length = listing_size(file, size)
    if length > LISTING:
        return {"partial": f"its listing of {length:,} bytes is too long"}
    with zipfile.ZipFile(file) as archive:
        members = [(each.filename, each.file_size) for each in archive.infolist()]
    return _listing(members[:_NAMED], len(members), sum(size for _, size in members))


def listing_size(file: IO[bytes], size: int) -> int:
    """Return the bytes that the listing of a zip file takes, as `zipfile` reads them.

    Raises:
        InvalidInput: the file has no listing.
    """
    file.seek(max(0, size - (22 + (1 << 16))))
    tail = file.read()
    place = tail.rfind(b"PK\5\6")
    if place < 0 or place + 22 > len(tail):
        raise InvalidInput("it was cut, or it is not a zip file: it has no listing at its end")
    if place >= 76 and tail[place - 20 : place - 16] == b"PK\6\7":  # its numbers have 64 bits
        return int.from_bytes(tail[place - 36 : place - 28], "little")
    return int.from_bytes(tail[place + 12 : place + 16], "little")


def _tar(file: IO[bytes], *, packed: bool) -> Profile:
    members: list[tuple[str, int]] = []
    count = total = 0
    found: dict[str, Any] = {}
    try:
        archive = tarfile.open(fileobj=_Headers(file), mode="r:")  # noqa: SIM115  # the caller closes the file
        while (each := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # else it keeps them all
            count, total = count + 1, total + each.size
            if count <= _NAMED:
                members.append((each.name, each.size))
            if count == _LISTED or (packed and archive.offset > _UNPACKED):
                found["partial"] = "only its beginning was listed"
                break
    except (tarfile.TarError, EOFError, OSError, lzma.LZMAError, zlib.error, InvalidInput) as error:
        found["problem"] = f"it was cut, or it is not a tar file: {error}"
    return _listing(members, count, total) | found


def _listing(members: list[tuple[str, int]], count: int, size: int) -> Profile:
    return {"count": count, "size": size, "members": [[clean(name), each] for name, each in members]}


class _Headers(io.RawIOBase):
    """A tar file of which only headers are read, and no long ones."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _HEADER:
            raise InvalidInput(f"a header of {size:,} bytes")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()
