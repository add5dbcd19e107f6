"""Decoding the stored bytes of a range into its pieces; each frame is verified and decoded once.

Keeps its half of invariant 1 (no byte of a frame is returned before the frame's checksum was compared) and
detects every extent that does not fit the frames it names. A frame that fails its checksum is read again, as
a bit may have flipped in transit. The file's digest proves that the bytes are the *right* file
(`dataver.checkout.transfer`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dataver.errors import IntegrityError, message_of
from dataver.formats.frame import decode_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dataver.checkout.plan import FramePart, Range
    from dataver.formats.compression import Decompressor

__all__ = ["REREADS", "pieces_of"]

_HINT: Final = "`dataver verify` lists all damage; a copy of the repository may still hold the file"

REREADS: Final = 2
"""Number of times bytes that fail their checksum are read from the store again."""


def pieces_of(
    data: memoryview, one: Range, decompressor: Decompressor, again: Callable[[], memoryview]
) -> Iterator[tuple[FramePart, int, memoryview]]:
    """Yield `(piece, position in its file, bytes)`; a piece over several frames comes in several parts.

    Args:
        data: the range's stored bytes.
        one: the range; its pieces by ascending offset.
        decompressor: of the calling thread.
        again: reads the same range once more.

    Raises:
        IntegrityError: a damaged frame or an extent that does not fit, naming a file that needs it.
    """
    pieces, base, count = one.pieces, one.offset, len(one.pieces)
    index = raw = at = 0
    active: list[
        tuple[FramePart, int]
    ] = []  # pieces that continue, with their positions in the run's raw bytes
    while index < count or active:
        if not active:
            at = pieces[index].offset - base
        piece = active[0][0] if active else pieces[index]
        data, frame, behind = _decode(data, at, decompressor, one, piece, again)
        size = len(frame)
        going = active
        active = []
        for piece, begin in going:
            end = begin + piece.length
            if end <= raw:
                continue
            low = max(begin, raw)
            if low < raw + size:
                yield piece, piece.position + low - begin, frame[low - raw : min(end - raw, size)]
            if end > raw + size:
                active.append(_go_on(piece, begin, base + behind, one))
        while index < count and pieces[index].offset - base == at:
            piece = pieces[index]
            index += 1
            end = piece.skip + piece.length
            if piece.skip < size:
                yield piece, piece.position, frame[piece.skip : min(end, size)]
            if end > size:
                active.append(_go_on(piece, raw + piece.skip, base + behind, one))
        if index < count and pieces[index].offset - base < behind:
            raise _misfit(pieces[index], one, "begins in the middle of a frame")
        at = behind
        raw += size


def _decode(
    data: memoryview,
    at: int,
    decompressor: Decompressor,
    one: Range,
    piece: FramePart,
    again: Callable[[], memoryview],
) -> tuple[memoryview, memoryview, int]:
    """Return the range's bytes, read again if needed, the frame's bytes and the offset after it."""
    for left in reversed(range(REREADS + 1)):
        try:
            return data, *decode_frame(data, at, decompressor)
        except IntegrityError as error:
            if not left:
                raise IntegrityError(
                    f"{piece.target.path!r} cannot be restored: pack {one.pack.hex()} is damaged"
                    f" behind byte {one.offset}: {message_of(error)}",
                    hint=_HINT,
                ) from error
        data = again()
    raise AssertionError("the last attempt returns or raises")


def _go_on(piece: FramePart, begin: int, behind: int, one: Range) -> tuple[FramePart, int]:
    """Return the piece for the next frame, which must still belong to it."""
    if behind >= piece.offset + piece.stored:
        raise _misfit(piece, one, "asks for more bytes than its frames hold")
    return piece, begin


def _misfit(piece: FramePart, one: Range, what: str) -> IntegrityError:
    return IntegrityError(
        f"{piece.target.path!r} cannot be restored: its extent at byte {piece.offset}"
        f" of pack {one.pack.hex()} {what}"
    )
