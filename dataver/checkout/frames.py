"""From the stored bytes of a range to the bytes of its pieces, each frame checked and decoded once.

Keeps invariant 1 (its half: no byte of a frame is handed on before the frame's checksum was compared) and
notices every extent that does not fit the frames it names. What seems damaged is read again, as a bit may
have flipped on the way here. That the bytes are the *right* file is for the file's digest to say
(`dataver.checkout.transfer`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dataver.errors import IntegrityError
from dataver.formats.frame import decode_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dataver.checkout.plan import Piece, Range
    from dataver.formats.compression import Decompressor

__all__ = ["REREADS", "pieces_of"]

_HINT: Final = "`dataver verify` tells what else is damaged; a copy of the repository may still hold it"

REREADS: Final = 2
"""How often bytes that fail their checksum are read from the store again."""


def pieces_of(
    data: memoryview, one: Range, decompressor: Decompressor, again: Callable[[], memoryview]
) -> Iterator[tuple[Piece, int, memoryview]]:
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
    active: list[tuple[Piece, int]] = []  # pieces that go on, with where they begin in the run's raw bytes
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
    piece: Piece,
    again: Callable[[], memoryview],
) -> tuple[memoryview, memoryview, int]:
    """Return the range's bytes, maybe read anew, the frame's bytes and the offset behind it."""
    for left in reversed(range(REREADS + 1)):
        try:
            return data, *decode_frame(data, at, decompressor)
        except IntegrityError as error:
            if not left:
                raise IntegrityError(
                    f"{piece.target.path!r} cannot be restored: pack {one.pack.hex()} is damaged"
                    f" behind byte {one.offset}: {error}",
                    hint=_HINT,
                ) from error
        data = again()
    raise AssertionError("the last attempt returns or raises")


def _go_on(piece: Piece, begin: int, behind: int, one: Range) -> tuple[Piece, int]:
    """Return the piece for the next frame, which must still belong to it."""
    if behind >= piece.offset + piece.stored:
        raise _misfit(piece, one, "asks for more bytes than its frames hold")
    return piece, begin


def _misfit(piece: Piece, one: Range, what: str) -> IntegrityError:
    return IntegrityError(
        f"{piece.target.path!r} cannot be restored: its extent at byte {piece.offset}"
        f" of pack {one.pack.hex()} {what}"
    )
