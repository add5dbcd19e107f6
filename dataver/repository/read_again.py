"""Reading damaged bytes again, as a bit may have flipped in transit or in a cache.

Serves invariant 1: bytes that still fail their check after `REREADS` more reads are an error. A missing or
changed object is one at once, since no further read mends it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from dataver.errors import FormatTooNew, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["REREADS", "ExternalChanged", "PackMissing", "reread", "resumed"]

REREADS: Final = 2
"""Number of times bytes that fail their check are read again."""

_T = TypeVar("_T")


class PackMissing(IntegrityError):
    """A pack that a layout refers to is not in the store.

    The layout may be older than a repack: read the block again without caches to find the new pack.
    """


class ExternalChanged(IntegrityError):
    """An object outside the repository was deleted or changed after it was recorded."""


def reread(attempt: Callable[[bool], _T]) -> _T:
    """Return `attempt(False)`; while its bytes are damaged, `attempt(True)`, which must read them again.

    Raises:
        IntegrityError: the last attempt's, or at once that of a missing or changed object.
        FormatTooNew: the last attempt's: damage may look like a newer format.
    """
    for number in range(REREADS):
        try:
            return attempt(number > 0)
        except (PackMissing, ExternalChanged):
            raise
        except (IntegrityError, FormatTooNew):
            pass
    return attempt(True)


def resumed(
    pieces: Iterator[bytes | memoryview], again: Callable[[], Iterator[bytes | memoryview]]
) -> Iterator[bytes | memoryview]:
    """Yield the pieces of a file; if a repack moved its bytes meanwhile, the rest of those of `again`.

    `again` resolves the file's extents anew and yields its pieces from the start.
    """
    done = 0
    try:
        for piece in pieces:
            yield piece
            done += len(piece)
    except PackMissing:
        for piece in again():
            yield piece[max(0, done) :]
            done -= len(piece)
