"""Cached contexts of trackers' own objects: every read needs that of the active run."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataver.formats.context import Context

__all__ = ["ContextsOfObjects", "before_method"]

_REMEMBERED: Final = 256


class ContextsOfObjects:
    """Cache of the contexts of run objects."""

    def __init__(self) -> None:
        self._held: dict[int, tuple[ref[Any], Context | None]] = {}

    def of(self, run: Any, make: Callable[[Any], Context | None]) -> Context | None:
        """Return the context of a run's object, created by `make` at the first call."""
        held = self._held.get(id(run))
        if held is not None and held[0]() is run:
            return held[1]
        context = make(run)
        if len(self._held) >= _REMEMBERED:
            self._held.clear()
        self._held[id(run)] = ref(run), context
        return context


def before_method(owner: Any, name: str, act: Callable[..., None]) -> None:
    """Patch a method to call `act` first, with the same arguments."""
    method = getattr(owner, name)

    @functools.wraps(method)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        act(*args, **kwargs)
        return method(*args, **kwargs)

    setattr(owner, name, wrapped)
