"""Decoding the stored bytes of a range into its pieces; each frame is verified and decoded once.

Keeps its half of invariant 1 (no byte of a frame is returned before the frame's checksum was compared) and
detects every extent that does not fit the frames it names. The file's digest proves that the bytes are the
*right* file (`dataver.checkout.transfer`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from dataver.errors import IntegrityError, message_of
from dataver.formats.frame import decode_frame
from dataver.repository.read_again import ExternalChanged, PackMissing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataver.checkout.range_plan import FramePart, Range
    from dataver.repository.frame_reader import FrameReader

__all__ = ["pieces_of"]

_HINT: Final = "`dataver verify` lists all damage; a copy of the repository may still hold the file"


def pieces_of(one: Range, reader: FrameReader) -> Iterator[tuple[FramePart, int, memoryview]]:
    """Yield `(piece, position in its file, bytes)`; a piece over several frames comes in several parts.

    Args:
        one: the range; its pieces by ascending offset.
        reader: of the repository's frames.

    Raises:
        IntegrityError: a damaged frame or an extent that does not fit, naming a file that needs it.
    """
    pieces, count = one.pieces, len(one.pieces)
    run = reader.run(one.pack, one.offset, one.offset + one.length)
    decode = partial(decode_frame, decompressor=reader.decompressor)
    index = raw = 0
    at = one.offset
    active: list[
        tuple[FramePart, int]
    ] = []  # pieces that continue, with their positions in the run's raw bytes
    while index < count or active:
        if not active:
            at = pieces[index].offset
        piece = active[0][0] if active else pieces[index]
        try:
            frame, end = run.frame(at, None, decode)
        except (PackMissing, ExternalChanged):
            raise  # not damaged: the caller reads the layout again
        except IntegrityError as error:
            raise _damaged(piece, one, error) from error
        behind = one.offset + end
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
                active.append(_go_on(piece, begin, behind, one))
        while index < count and pieces[index].offset == at:
            piece = pieces[index]
            index += 1
            end = piece.skip + piece.length
            if piece.skip < size:
                yield piece, piece.position, frame[piece.skip : min(end, size)]
            if end > size:
                active.append(_go_on(piece, raw + piece.skip, behind, one))
        if index < count and pieces[index].offset < behind:
            raise _misfit(pieces[index], one, "begins in the middle of a frame")
        at = behind
        raw += size


def _damaged(piece: FramePart, one: Range, error: IntegrityError) -> IntegrityError:
    return IntegrityError(
        f"{piece.target.path!r} cannot be restored: pack {one.pack.hex()} is damaged"
        f" behind byte {one.offset}: {message_of(error)}",
        hint=_HINT,
    )


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
