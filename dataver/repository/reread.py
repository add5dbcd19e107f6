"""Reading damaged bytes again, as a bit may have flipped in transit or in a cache.

Serves invariant 1: bytes that still fail their check after `REREADS` more reads are an error. A missing or
changed object is one at once, since no further read mends it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from dataver.errors import FormatTooNew, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["REREADS", "ExternalChanged", "PackMissing", "reread"]

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
