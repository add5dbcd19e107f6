"""One dataset: its readme, and its versions with what changed in each, newest first."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from dataver import Version
from dataver.documents import description_values
from dataver.errors import NotFound
from dataver.formats.names import check_dataset_name
from dataver.maintenance.usage import added_bytes
from dataver.ui.asked import Asked
from dataver.ui.markdown import as_html

__all__ = ["lanes", "page"]

_ROWS: Final = 30
_FOR_EVER: Final = 1e9
_LONG: Final = 600.0  # seconds: bytes that are added change only when older versions are deleted


def page(asked: Asked) -> dict[str, Any]:
    """Return a dataset (`name`) with a page of its versions; with `added`, the bytes that each added.

    Those need the blocks of all versions, so the page asks for them when it is shown.
    """
    name = asked.required("name")
    check_dataset_name(name)
    versions, numbers = asked.versions(name), asked.overview(name)
    shown, place = asked.page(versions, len(versions), _ROWS)
    described = asked.described(lambda: asked.repository.description(name))
    added = _added(asked, name, versions) if versions and asked.text("added") else {}
    drawn = lanes(versions)
    rows = []
    for each, graph in zip(shown, drawn[(place["page"] - 1) * _ROWS :], strict=False):
        known = {"runs": numbers.runs_of.get(each.label or "", 0), "added": added.get(each.ref)}
        rows.append({**asked.values(each), **known, "changes": _changes(asked, each), "graph": graph})
    return {
        "dataset": name,
        "description": None if described is None else description_values(described),
        "readme": as_html(versions[0].readme or "") if versions and place["page"] == 1 else "",
        "tags": asked.tags(name),
        "runs": numbers.runs,
        "sizes": numbers.sizes,
        "place": place,
        "lanes": 1 + max((max([each["lane"], *each["to"], *each["past"]]) for each in drawn), default=0),
        "versions": rows,
    }


def _added(asked: Asked, name: str, versions: list[Version]) -> dict[str, int]:
    key = ("added", versions[0].record_id)
    return asked.memory.get(key, lambda: added_bytes(asked.repository._core, name), _LONG)


def _changes(asked: Asked, version: Version) -> dict[str, int] | None:
    """Return what changed since its first parent; None if that is deleted, or it has none."""

    def count() -> dict[str, int] | None:
        return version.diff().summary() if version.parents else None

    with suppress(NotFound):
        return asked.memory.get(("changes", version.record_id), count, _FOR_EVER)
    return None


def lanes(versions: Iterable[Version]) -> list[dict[str, Any]]:
    """Return for each version, newest first, how a graph of the history draws it.

    `lane` is its column, `from` whether a newer version leads to it, `to` the columns in which its parents
    follow, `past` the columns that pass it by.
    """
    waiting: list[str | None] = []  # for each lane the record that continues it
    rows = []
    for each in versions:
        continued = each.record_id in waiting
        if not continued:
            waiting.append(each.record_id)
        lane = waiting.index(each.record_id)
        waiting = [None if record == each.record_id else record for record in waiting]
        past = [number for number, record in enumerate(waiting) if record is not None]
        targets = []
        for parent in (one for one in each.parents if one.dataset == each.dataset):
            if parent.record not in waiting:
                free = lane if waiting[lane] is None else waiting.index(None) if None in waiting else -1
                if free < 0:
                    waiting.append(parent.record)
                else:
                    waiting[free] = parent.record
            targets.append(waiting.index(parent.record))
        rows.append({"lane": lane, "from": continued, "to": targets, "past": past})
        while waiting and waiting[-1] is None:
            waiting.pop()
    return rows
