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
    found = asked.datasets()
    chosen = [each for each in found if all(part in each.name.lower() for part in words.lower().split())]
    shown, place = asked.page(chosen, len(chosen), _ROWS)
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
    """Return the version that words are the name of, and the runs that they name, as results of a search."""
    found = []
    with suppress(DataverError):
        found = [{"ref": asked.repository.version(words).ref, "field": "version", "text": ""}] * (
            "@" in words
        )
    runs = asked.repository.lineage.runs(find=words, limit=_HITS)
    return found + [{"ref": each.key, "field": "run", "text": each.name or ""} for each in runs]


def _listed(asked: Asked, shown: list[DatasetSummary]) -> list[dict[str, Any]]:
    with parallel.pool(parallel.REQUESTS, "tags") as pool:
        tags = list(pool.map(asked.tags, [each.name for each in shown]))
    numbers = [asked.overview(each.name) for each in shown]
    return [
        {
            "name": each.name,
            "versions": each.versions,
            "latest": version_values(each.latest),
            "tags": tagged,
            "sizes": found.sizes,
            "runs": found.runs,
        }
        for each, tagged, found in zip(shown, tags, numbers, strict=True)
    ]
