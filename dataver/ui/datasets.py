"""All datasets, or those that words are found in."""

from contextlib import suppress
from typing import Any, Final

from dataver import DatasetSummary, parallel
from dataver.documents import version_values
from dataver.errors import DataverError
from dataver.ui.asked import Asked

__all__ = ["page"]

_ROWS: Final = 100
_HITS: Final = 20


def page(asked: Asked) -> dict[str, Any]:
    """Return the datasets whose names contain `q`, and what else `q` is found in if `search` is given.

    The search reads the texts of versions and the paths of their files (`Repository.search`).
    """
    words = asked.text("q").strip()
    found = asked.memory.get("datasets", asked.repository.datasets)
    chosen = [each for each in found if all(part in each.name.lower() for part in words.lower().split())]
    shown, place = asked.page(chosen, _ROWS, len(chosen))
    document = {
        "repository": asked.repository.url,
        "q": words,
        "datasets": _listed(asked, shown),
        "all": len(found),
        "place": place,
        "hits": None,
    }
    if words and asked.text("search"):
        named, hits = _named(asked, words), asked.repository.search(words, limit=_HITS)
        document["hits"] = named + [each._asdict() for each in hits if each.ref != words]
    return document


def _named(asked: Asked, words: str) -> list[dict[str, str]]:
    """Return the version or the run that words are the name of, as a search has its results."""
    with suppress(DataverError):
        if "@" in words:
            return [{"ref": asked.repository.version(words).ref, "field": "version", "text": ""}]
        return [{"ref": asked.repository.lineage.run(words).run.key, "field": "run", "text": ""}]
    return []


def _listed(asked: Asked, shown: list[DatasetSummary]) -> list[dict[str, Any]]:
    numbers = asked.memory.get("overview", asked.repository.lineage.overview)
    with parallel.pool(parallel.REQUESTS, "tags") as pool:
        tags = list(pool.map(asked.tags, [each.name for each in shown]))
    return [
        {
            "name": each.name,
            "versions": each.versions,
            "latest": version_values(each.latest),
            "tags": tagged,
            "sizes": numbers[each.name].sizes if each.name in numbers else [],
            "runs": numbers[each.name].runs if each.name in numbers else 0,
        }
        for each, tagged in zip(shown, tags, strict=True)
    ]
