"""Reading of markers of writers and sweeps, which may be damaged or of a newer version.

The idea: an unreadable marker has the widest meaning of its kind. A hold keeps all objects, a sweep may
delete all, a list of retired packs contains all packs, a turn belongs to an unknown process. So damage costs
time and space until the marker expires, and never a needed object.
"""

from collections.abc import Callable
from typing import TypeVar

from dataver.errors import FormatTooNew, IntegrityError
from dataver.formats.canonical_json import MAX_JSON
from dataver.storage import Store

__all__ = ["read_note"]

T = TypeVar("T")


def read_note(store: Store, key: str, parse: Callable[[bytes], T]) -> T | None:
    """Return a marker, or None if it is unreadable.

    Raises:
        NotFound: it was deleted.
    """
    try:
        return parse(store.get_bounded(key, MAX_JSON))
    except (IntegrityError, FormatTooNew):
        return None
