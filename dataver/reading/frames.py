"""From parts of files to bytes: which frames of which packs, from memory or from the store, each checked.

The idea: every part of a file is a few runs of its packs' raw streams (all chunks of a pack in a row), and a
pack's footer says which frames hold them. What many callers ask for at once is put together first: each frame
is fetched once, neighbours in one range, ranges at the same time.

Keeps invariant 1: no byte of a frame is handed on before the frame's checksum was compared. Memory is bounded
by what is asked for at once, and `KEPT`.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from dataver.checkout.plan import MAX_GAP, MAX_RANGE, positions
from dataver.errors import IntegrityError
from dataver.formats.compression import make_decompressor
from dataver.formats.frame import decode_frame
from dataver.reading.threads import pool

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dataver.formats.compression import Decompressor
    from dataver.formats.entry import Extent
    from dataver.formats.pack import Footer
    from dataver.repository import Repository

__all__ = ["DAMAGED", "Frames", "Run", "runs_of"]

KEPT: Final = 32 * 1024 * 1024
"""Bytes of decoded frames that a process keeps in memory."""

DAMAGED: Final = "`dataver verify` tells what else is damaged; a copy of the repository may still hold it"
_REREADS: Final = 2  # of a frame that seems damaged


class Run(NamedTuple):
    """Bytes `low` to before `high` of a pack's raw stream."""

    pack: bytes
    low: int
    high: int


class _Range(NamedTuple):
    """Adjacent frames that are read in one request: numbers `first` to before `last`."""

    footer: Footer
    first: int
    last: int


class Frames:
    """The frames of one repository, as a process reads them; for many threads, not for a forked child."""

    def __init__(self, repo: Repository) -> None:
        self._packs = repo.packs
        self._kept: OrderedDict[tuple[bytes, int], memoryview] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()
        self._local = threading.local()

    def read(self, wanted: Sequence[Sequence[Run]]) -> list[bytes]:
        """Return the bytes of each sequence of runs.

        Raises:
            PackMissing: a pack is not there.
            IntegrityError: a damaged frame, or a run that no pack has.
        """
        needed: dict[bytes, set[int]] = {}
        for runs in wanted:
            for pack, low, high in runs:
                needed.setdefault(pack, set()).update(_numbers(self._packs.footer(pack), low, high))
        found = self._collect(needed)
        return [b"".join(self._pieces(runs, found)) for runs in wanted]

    def _pieces(
        self, runs: Iterable[Run], found: dict[tuple[bytes, int], memoryview]
    ) -> Iterator[memoryview]:
        for pack, low, high in runs:
            starts = self._packs.footer(pack).raw_starts
            for number in _numbers(self._packs.footer(pack), low, high):
                begin = starts[number]
                yield found[pack, number][max(0, low - begin) : high - begin]

    def _collect(self, needed: dict[bytes, set[int]]) -> dict[tuple[bytes, int], memoryview]:
        """Return the frames, from memory or the store."""
        found: dict[tuple[bytes, int], memoryview] = {}
        missing: list[_Range] = []
        with self._lock:
            for pack, numbers in needed.items():
                for number in numbers:
                    kept = self._kept.get((pack, number))
                    if kept is not None:
                        self._kept.move_to_end((pack, number))
                        found[pack, number] = kept
        for pack, numbers in needed.items():
            left = sorted(number for number in numbers if (pack, number) not in found)
            if left:
                missing.extend(_ranges(self._packs.footer(pack), left))
        if len(missing) > 1:
            for part in pool("ranges").map(self._fetch, missing):
                found |= part
        else:
            for one in missing:
                found |= self._fetch(one)
        return found

    def _fetch(self, one: _Range) -> dict[tuple[bytes, int], memoryview]:
        """Return the frames of a range, read from the store and checked."""
        footer = one.footer
        base = footer.frame_offsets[one.first]
        length = footer.frame_offsets[one.last] - base
        data = memoryview(self._packs.read(footer.pack_id, base, length))
        found = {}
        for number in range(one.first, one.last):
            offset = footer.frame_offsets[number]
            frame = self._decode(footer, number, data, offset - base)
            found[footer.pack_id, number] = frame
            self._keep((footer.pack_id, number), frame)
        return found

    def _decode(self, footer: Footer, number: int, data: memoryview, at: int) -> memoryview:
        for left in reversed(range(_REREADS + 1)):
            try:
                return _checked(footer, number, *decode_frame(data, at, self._decompressor()), at)
            except IntegrityError as error:
                if not left:
                    raise IntegrityError(
                        f"pack {footer.pack_id.hex()} is damaged at byte {footer.frame_offsets[number]}:"
                        f" {error}",
                        hint=DAMAGED,
                    ) from error
            offset, length = footer.frame_offsets[number], footer.frame_stored[number]
            data, at = memoryview(self._packs.read(footer.pack_id, offset, length)), 0
        raise AssertionError("the last attempt returns or raises")

    def _keep(self, key: tuple[bytes, int], frame: memoryview) -> None:
        # a view into a range's bytes would keep all of them
        own = frame if len(frame.obj) <= 2 * len(frame) else memoryview(bytes(frame))  # type: ignore[arg-type]
        with self._lock:
            before = self._kept.pop(key, None)
            self._size += len(own) - (len(before) if before is not None else 0)
            self._kept[key] = own
            while self._size > KEPT and self._kept:
                self._size -= len(self._kept.popitem(last=False)[1])

    def _decompressor(self) -> Decompressor:
        found = getattr(self._local, "decompressor", None)
        if found is None:
            found = self._local.decompressor = make_decompressor()
        return found


def _checked(footer: Footer, number: int, frame: memoryview, behind: int, at: int) -> memoryview:
    if behind - at != footer.frame_stored[number] or len(frame) != footer.frame_raw[number]:
        raise IntegrityError("it has another size than the pack's footer says")
    return frame


def runs_of(extents: Sequence[Extent], start: int, stop: int, repo: Repository) -> list[Run]:
    """Return the runs that hold bytes `start` to before `stop` of the file with these extents.

    Raises:
        PackMissing: a pack is not there.
        IntegrityError: an extent that does not fit its pack.
    """
    found = []
    for extent, position in positions(extents):
        low, high = max(start, position), min(stop, position + extent.length)
        if low >= high:
            if position >= stop:
                break
            continue
        footer = repo.packs.footer(extent.pack)
        first = footer.raw_starts[footer.frame_at(extent.offset)] + extent.skip - position
        if first + high > footer.raw_starts[-1]:
            raise IntegrityError(f"pack {extent.pack.hex()} holds fewer bytes than a tree block says")
        found.append(Run(extent.pack, first + low, first + high))
    return found


def _numbers(footer: Footer, low: int, high: int) -> range:
    starts = footer.raw_starts
    return range(bisect_right(starts, low) - 1, bisect_right(starts, high - 1))


def _ranges(footer: Footer, numbers: Sequence[int]) -> Iterator[_Range]:
    """Yield ranges over frames in ascending order; reading a small gap costs less than another request."""
    offsets = footer.frame_offsets
    first, last = numbers[0], numbers[0] + 1
    for number in numbers[1:]:
        if offsets[number] - offsets[last] > MAX_GAP or offsets[number + 1] - offsets[first] > MAX_RANGE:
            yield _Range(footer, first, last)
            first = number
        last = number + 1
    yield _Range(footer, first, last)
