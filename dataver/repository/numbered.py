"""Numbered objects: sequences that only grow, such as the moves of a tag or the descriptions of a version.

Keeps invariant 2: an object is created exclusively and never changed; the highest number is current, and the
others are the history.
"""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final, Protocol, TypeVar

from dataver.errors import Conflict
from dataver.repository.create_once import Outcome, create_once
from dataver.storage import Store

__all__ = ["append_numbered"]

_TRIES: Final = 200  # objects of other writers between a listing and our write


class _Numbered(Protocol):
    @property
    def number(self) -> int: ...

    def encode(self) -> bytes: ...


_T = TypeVar("_T", bound=_Numbered)


def append_numbered(
    store: Store, key: Callable[[int], str], lasts: Iterable[int], make: Callable[[int], _T], *, what: str
) -> _T:
    """Create the next object of a sequence, again after each one that another writer created meanwhile.

    Args:
        store: the store.
        key: returns the key of a number.
        lasts: the number of the last object, 0 without one, found anew for each attempt.
        make: returns the object after that number; or one that exists, if no new one is needed.
        what: names the sequence in errors, such as "moving the tag data@production".

    Raises:
        Conflict: other writers keep adding to the sequence.
    """
    for last in islice(lasts, _TRIES):
        made = make(last)
        if made.number <= last or create_once(store, key(made.number), made.encode()) is Outcome.WON:
            return made
    raise Conflict(f"other processes keep {what}.", hint="try again")
