"""Formatting of uses as short texts for trackers.

Trackers limit the length of texts. Digests and record ids are not shortened here; for a limit below 64
characters, the tracker's own module shortens them. A subset that is too long is shortened with a mark.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataver.formats.event import Subset
    from dataver.lineage.trackers.use import Use

__all__ = ["content", "facts", "subset_text", "uri", "with_use"]


def content(use: Use) -> str:
    """Return the content's identifier, `dv1:<64 hex>`."""
    return f"dv1:{use.tree}"


def uri(use: Use) -> str:
    """Return `dataver://<dataset>@dv1:<64 hex>`: equal for equal content of a dataset in any repository."""
    return f"dataver://{use.dataset}@{content(use)}"


def subset_text(subset: Subset, longest: int) -> str:
    """Return a subset as JSON of at most `longest` characters; `""` for the whole version.

    Lists that are too long are cut at the end, and marked with `"…"`.
    """
    if not subset:
        return ""
    values: dict[str, Any] = subset.values()
    text = _json(values)
    while len(text) > longest:
        name = max(("patterns", "paths", "exclude"), key=lambda each: len(_json(values.get(each, []))))
        if len(values.get(name, [])) < 2:
            return _json({"files": "…"})
        kept = [each for each in values[name] if each != "…"]
        values = {**values, name: [*kept[: len(kept) // 2], "…"]}
        text = _json(values)
    return text


def facts(use: Use, longest: int = 500) -> dict[str, str]:
    """Return the details of a use as short texts; empty ones are omitted."""
    found = {
        "version": use.label,
        "digest": content(use),
        "record": use.record,
        "asked": use.asked,
        "how": use.how if use.how == "available" else None,
        "subset": subset_text(use.subset, longest),
        "files": str(use.files),
        "size": str(use.size),
        "repository": use.repository_url[:longest],
        "repository_id": use.repository_id,
    }
    return {name: value for name, value in found.items() if value}


def with_use(noted: Mapping[str, Mapping[str, Any]], use: Use) -> dict[str, dict[str, Any]]:
    """Return the uses in a run's config with one more: role → name → details.

    The name is the dataset's; a second version of it is named by its reference.
    """
    found = {role: dict(uses) for role, uses in noted.items()}
    uses = found.setdefault(use.role, {})
    details = {**facts(use), "files": use.files, "size": use.size}
    name = use.dataset
    if uses.get(name, details).get("digest") != details["digest"]:
        name = use.ref if use.label else uri(use)
    uses[name] = details
    return found


def _json(values: object) -> str:
    return json.dumps(values, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
