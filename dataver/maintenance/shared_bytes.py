"""Bytes of a file that are stored once for it and for another file, such as an older version of it.

The idea: a pack's footer maps an extent to an interval of the pack's raw stream. Two files share the bytes
where their intervals overlap, in any frames and extents.
"""

from bisect import bisect_right
from collections.abc import Iterator

from dataver.formats.entry import Entry, Extent
from dataver.formats.pack import Footer
from dataver.repository.packs import Packs

__all__ = ["shared_bytes"]


def shared_bytes(packs: Packs, old: Entry, new: Entry) -> list[tuple[int, int]]:
    """Return the ranges of the new file that are stored once for both files: start and stop, ascending.

    Reads the footers of the packs that both files use.

    Raises:
        IntegrityError: a pack is missing or its footer is damaged.
    """
    common = {each.pack for each in old.extents} & {each.pack for each in new.extents}
    footers = packs.footers(common)
    known: dict[bytes, list[tuple[int, int]]] = {pack: [] for pack in common}
    for each in old.extents:
        if each.pack in common:
            known[each.pack].append(_interval(footers[each.pack], each))
    known = {pack: _merged(sorted(some)) for pack, some in known.items()}
    found, position = [], 0
    for each in new.extents:
        if each.pack in common:
            start, stop = _interval(footers[each.pack], each)
            for low, high in _overlapping(known[each.pack], start, stop):
                found.append((position + low - start, position + high - start))
        position += each.length
    return _merged(found)


def _interval(footer: Footer, extent: Extent) -> tuple[int, int]:
    """Return the interval of the pack's raw stream that an extent refers to."""
    start = footer.raw_starts[footer.frame_at(extent.offset)] + extent.skip
    return start, start + extent.length


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return ascending ranges with those that touch or overlap as one."""
    merged: list[tuple[int, int]] = []
    for start, stop in ranges:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


def _overlapping(ranges: list[tuple[int, int]], start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of ascending, separate ranges from `start` to before `stop`."""
    at = max(0, bisect_right(ranges, (start, start)) - 1)
    for low, high in ranges[at:]:
        if low >= stop:
            return
        if high > start:
            yield max(low, start), min(high, stop)
