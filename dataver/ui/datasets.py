"""All datasets, or those that words are found in."""

from contextlib import suppress
from typing import Any, Final

from dataver import DatasetSummary, parallel
from dataver.documents import version_values
from dataver.errors import DataverError
from dataver.lineage.queries.overview import DatasetOverview
from dataver.ui.asked import Asked

__all__ = ["page"]

_ROWS: Final = 100
_HITS: Final = 20


def page(asked: Asked) -> dict[str, Any]:
    """Return the datasets whose names contain `q`, and what else `q` is found in if `search` is given.

    The search reads the texts of versions and the paths of their files (`Repository.search`).
    """
    words = asked.text("q").strip()
    found = asked.datasets()
    chosen = [each for each in found if all(part in each.name.lower() for part in words.lower().split())]
    shown, place = asked.page(chosen, len(chosen), _ROWS)
    names = [each.name for each in shown]
    near = asked.repository._core.store.local_root is not None
    with parallel.pool(1 if near else parallel.REQUESTS, "tags") as pool:
        rows = list(map(_row, shown, pool.map(asked.tags, names), map(asked.overview, names)))
    hits = None
    if words and asked.text("search"):
        others = asked.repository.search(words, limit=_HITS)
        hits = _named(asked, words) + [each._asdict() for each in others if each.ref != words]
    known = {"repository": asked.repository.url, "q": words, "all": len(found), "place": place}
    return {**known, "datasets": rows, "hits": hits}


def _named(asked: Asked, words: str) -> list[dict[str, str]]:
    """Return the version that words are the name of, and the runs that they name, as results of a search."""
    found = []
    if "@" in words:
        with suppress(DataverError):
            found.append({"ref": asked.repository.version(words).ref, "field": "version", "text": ""})
    runs = asked.repository.lineage.runs(find=words, limit=_HITS)
    return found + [{"ref": each.key, "field": "run", "text": each.name or ""} for each in runs]


def _row(each: DatasetSummary, tags: dict[str, str], numbers: DatasetOverview) -> dict[str, Any]:
    known = {"name": each.name, "versions": each.versions, "latest": version_values(each.latest)}
    return {**known, "tags": tags, "sizes": numbers.sizes, "runs": numbers.runs}
