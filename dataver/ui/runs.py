"""Runs, latest first, those that a filter matches."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from dataver.documents import run_values
from dataver.errors import InvalidInput
from dataver.lineage.queries.results import IndexedRun
from dataver.ui.asked import Asked

__all__ = ["page", "row"]

_SUGGESTED: Final = 50
_MOST: Final = 2_000
_READ: Final = 3  # versions in a row
_URL: Final = 2_000  # characters
_WORDS: Final = ("name", "system", "user", "outcome", "version")
_TIMES: Final = {"since": timedelta(0), "until": timedelta(days=1)}  # the last day is included


def page(asked: Asked) -> dict[str, Any]:
    """Return a page of the latest runs that match the values of the query."""
    words = {name: asked.text(name).strip() or None for name in _WORDS}
    times = {name: _day(asked, name, more) for name, more in _TIMES.items()}

    def find() -> list[IndexedRun]:
        chosen: dict[str, Any] = {**words, **times, "find": words["name"], "name": None}
        return asked.repository.lineage.runs(**chosen, limit=_MOST + 1)

    found = asked.memory.get(("runs", *words.values(), *times.values()), find)
    shown, place = asked.page(found, min(len(found), _MOST))
    return {
        "filter": {name: asked.text(name).strip() for name in (*_WORDS, *_TIMES)},
        "runs": [row(each) | _data(asked, each.key, words["version"]) for each in shown],
        "more": len(found) > _MOST,
        "place": place,
        "systems": sorted({context.system for each in found for context in each.contexts})[:_SUGGESTED],
        "users": sorted({each.user for each in found if each.user})[:_SUGGESTED],
    }


def row(run: IndexedRun) -> dict[str, Any]:
    """Return a run as JSON values, with its duration and the pages of trackers that its contexts name."""
    seconds = None if run.ended is None else max(0.0, (run.ended - run.started).total_seconds())
    urls = ((each.system, each.facts.get("url")) for each in run.contexts)
    pages = [{"system": system, "url": url} for system, url in urls if _is_web(url)]
    return {**run_values(run), "seconds": seconds, "pages": pages}


def _data(asked: Asked, key: str, about: str | None) -> dict[str, Any]:
    """Return what a run read for certain, and how it used a version or dataset."""
    answer = asked.memory.get(("data", key), lambda: asked.repository.lineage.run(key))
    used = [each for each in answer.inputs if each.used]
    ref = asked.repository.lineage.version(about).version.ref if about and "@" in about else about
    found = (each for each in (*answer.outputs, *used, *answer.inputs) if ref in (each.ref, each.dataset))
    how = next(((each.role if each.used else "available") for each in found), None)
    return {"read": list(dict.fromkeys(each.ref for each in used))[:_READ], "reads": len(used), "how": how}


def _is_web(url: object) -> bool:
    try:
        known = isinstance(url, str) and len(url) <= _URL and url.isprintable()
        return known and urlsplit(str(url)).scheme in ("http", "https")
    except ValueError:
        return False


def _day(asked: Asked, name: str, more: timedelta) -> datetime | None:
    text = asked.text(name)
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) if text else None
    except ValueError as error:
        raise InvalidInput(f"'{name}' in the address must be a day, such as 2026-12-31.") from error
    return day and min(day, datetime.max.replace(tzinfo=UTC) - more) + more
