"""How a use of a version is put in words that every tracker can hold.

Trackers keep short texts. Digests and record ids are never shortened here: where a tracker's limit is below
64 characters, its own module says what it takes. A subset too long for a text is shortened, and says so.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataver.formats.event import Subset
    from dataver.lineage.trackers.base import Use

__all__ = ["content", "facts", "subset_text", "uri"]


def content(use: Use) -> str:
    """Return the content's name, `dv1:<64 hex>`."""
    return f"dv1:{use.tree}"


def uri(use: Use) -> str:
    """Return `dataver://<dataset>@dv1:<64 hex>`: equal for equal content of a dataset, wherever it lies."""
    return f"dataver://{use.dataset}@{content(use)}"


def subset_text(subset: Subset, longest: int) -> str:
    """Return what of the version was read, as JSON of at most `longest` characters; `""` for the whole.

    What is too long is shortened from the end of its lists, and `"…"` in their place says so.
    """
    if not subset:
        return ""
    values: dict[str, Any] = subset.values()
    text = _json(values)
    while len(text) > longest:
        name = max(("patterns", "paths"), key=lambda each: len(_json(values.get(each, []))))
        if len(values.get(name, [])) < 2:
            return _json({"files": "…"})
        kept = [each for each in values[name] if each != "…"]
        values = {**values, name: [*kept[: len(kept) // 2], "…"]}
        text = _json(values)
    return text


def facts(use: Use, longest: int = 500) -> dict[str, str]:
    """Return everything worth showing as short texts; what does not apply is left out."""
    found = {
        "version": use.label,
        "digest": content(use),
        "record": use.record,
        "asked": use.asked,
        "subset": subset_text(use.subset, longest),
        "files": str(use.files),
        "size": str(use.size),
        "repository": use.repository_url[:longest],
        "repository_id": use.repository_id,
    }
    return {name: value for name, value in found.items() if value}


def _json(values: object) -> str:
    return json.dumps(values, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
