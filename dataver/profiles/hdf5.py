"""Profiles of HDF5 files: names, shapes and types of datasets, read in Python from the headers.

pyfive reads them and not the HDF5 library, which a damaged file can crash, and with it the process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dataver.errors import InvalidInput
from dataver.profiles.kinds import Head
from dataver.profiles.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataver.profiles.kinds import Profile, Source

# Imports in functions: the package is an extra.

__all__ = ["cheap", "full"]

_SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
_MOST: Final = 1000  # datasets that are named
_DEEP: Final = 32  # groups within groups: a hard link can make a circle
_GROUPS: Final = 10_000
_READ: Final = 64 << 20  # bytes of headers; a damaged one may lead in a circle
_TYPE: Final = 500  # characters of a compound type


def cheap(source: Source) -> Profile:
    """Return the datasets of all groups, by their paths."""
    import pyfive

    with source.open() as file:
        if file.read(len(_SIGNATURE)) != _SIGNATURE:
            raise InvalidInput("it does not begin as an HDF5 file does")
        file.seek(0)
        try:
            found = [_array(path, each) for path, each in _datasets(pyfive.File(file))]
        except AssertionError as error:  # pyfive asserts what it does not support, such as external links
            raise InvalidInput("it uses a part of HDF5 that cannot be read, or is damaged") from error
    partial = {} if len(found) <= _MOST else {"partial": f"only {_MOST:,} of its datasets are named"}
    return {"count": len(found), "arrays": found[:_MOST], **partial}


def full(source: Source) -> Profile:
    """Return the same, with a larger bound of the bytes that are read."""
    return cheap(Head(source, _READ))


def _datasets(root: Any) -> Iterator[tuple[str, Any]]:
    """Yield the path and dataset of up to one more than `_MOST` datasets; a group is entered once."""
    import pyfive

    entered: set[int] = set()
    waiting = [("", root, 0)]
    named = 0
    while waiting:
        path, group, depth = waiting.pop()
        place = group._dataobjects.offset
        if place in entered or depth > _DEEP or len(entered) > _GROUPS:
            continue
        entered.add(place)
        inner = []
        for name in sorted(group):
            try:
                each = group[name]
            except KeyError:
                continue  # a symbolic link to nothing
            if isinstance(each, pyfive.Group):
                inner.append((f"{path}{name}/", each, depth + 1))
            elif isinstance(each, pyfive.Dataset):
                named += 1
                yield f"{path}{name}", each
                if named > _MOST:
                    return
        waiting += reversed(inner)


def _array(path: str, dataset: Any) -> Profile:
    kind = dataset.dtype
    metadata = getattr(kind, "metadata", None) or {}
    varying = metadata.get("vlen")
    text = "text" if varying is str else f"lists of {varying}" if varying is not None else str(kind)
    return {"name": clean(path), "shape": [int(one) for one in dataset.shape], "dtype": clean(text)[:_TYPE]}
