"""A file by its content: the versions and paths that hold it, and the runs that saw it."""

from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from dataver.documents import entry_values, file_answer_values
from dataver.errors import InvalidInput, NotFound
from dataver.lineage.queries.results import ContentLocation
from dataver.ui.asked import Asked

__all__ = ["page"]

_RUNS: Final = 100


def page(asked: Asked) -> dict[str, Any]:
    """Return where a content is (`digest`; `ref` and `path` the place meant), or all contents of a `path`."""
    digest = asked.text("digest").lower()
    if digest and not all(each in "0123456789abcdef" for each in digest):
        raise InvalidInput("a digest has hexadecimal digits only.")
    what, by = (digest, "digest") if digest else (asked.required("path"), "path")
    answer = asked.repository.lineage.file(what, by=by, limit=_RUNS)
    holdings = answer.holdings[::-1]
    shown, place = asked.page(holdings, len(holdings))
    reads = sorted(answer.saw, key=lambda each: each.certain)
    saw = {(each.run.key, each.link.role): each for each in reads}
    there = [each for each in holdings if each.version.known and not each.version.deleted]
    there.sort(key=lambda each: (each.path != asked.text("path"), each.version.ref != asked.text("ref")))
    return {
        **file_answer_values(replace(answer, holdings=shown, saw=list(saw.values()))),
        "place": place,
        "links": answer.links,
        "more": len(answer.saw) == _RUNS,
        "datasets": len({each.version.dataset for each in holdings}),
        "paths": len({each.path for each in holdings}),
        "entry": next((_entry(asked, each) for each in there), None),
    }


def _entry(asked: Asked, found: ContentLocation) -> dict[str, Any] | None:
    """Return the entry that is meant, with the version's ref; None if the index is not up to date."""
    with suppress(NotFound):
        version = asked.repository.version(found.version.ref)
        return {"ref": version.ref, **entry_values(version.entry(found.path))}
    return None
