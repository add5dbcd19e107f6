"""One-line representations of plans, reports and answers, which may hold millions of items."""

from collections.abc import Collection
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

__all__ = ["short_repr"]

_SHOWN: Final = 3  # items of a collection
_DIGITS: Final = 16  # of a digest


def short_repr(record: Any) -> str:
    """Return `Name(field=value, …)` of a dataclass; of a longer collection only the number of its items."""
    values = (f"{each.name}={_short(getattr(record, each.name))}" for each in fields(record) if each.repr)
    return f"{type(record).__qualname__}({', '.join(values)})"


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds")
    if isinstance(value, bytes):
        return f"{value.hex()[:_DIGITS]}…"
    if isinstance(value, Collection) and not isinstance(value, str) and len(value) > _SHOWN:
        return f"<{len(value)} items>"
    return repr(value)
