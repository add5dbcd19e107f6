"""One version: what it is, where it comes from, and a folder or a file in it.

Nothing here reads a version whole: a page of names is found by rank (`dataver.ui.folder`), a file is shown by
its beginning (`dataver.ui.previews`), and kinds of files are counted at once only in small versions.
"""

from collections import Counter
from contextlib import suppress
from typing import Any, Final

from dataver import Version
from dataver.documents import entry_values, run_values
from dataver.errors import NotFound, PathNotFound
from dataver.formats.entry import Kind
from dataver.tables import format_of
from dataver.tree import path_of
from dataver.ui.asked import Asked
from dataver.ui.folder import listing
from dataver.ui.markdown import as_html
from dataver.ui.previews import preview

__all__ = ["page"]

_FEW: Final = 20_000  # files of a version whose kinds are counted without being asked for
_SHOWN: Final = 5  # runs
_LISTED: Final = 20  # children, versions with the same content
_LONG: Final = 600.0  # seconds: kinds of files change only when profiles are made


def page(asked: Asked) -> dict[str, Any]:
    """Return a version (`ref`) with a folder or a file in it (`path`)."""
    version, path = asked.version(), path_of(asked.text("path"))
    values = asked.values(version)
    document: dict[str, Any] = {"version": values, "path": path, "about": None, "readme": "", "folder": None}
    entry = version.tree.get(path) if path else None
    real = version.files().folders.real(path) if path and entry is None else path
    entry = entry or (version.tree.get(real) if real else None)  # a link in the middle of the path
    if entry is not None and entry.kind != Kind.DIRECTORY:
        leads = _leads(version, path) if entry.target else None
        document["preview"] = preview(asked, version, entry) if entry.digest else None
        document["example"] = _example([entry.path] if entry.digest else [])
        return {**document, "file": {**entry_values(entry), "leads": leads}}
    shown = listing(asked, version, real)
    example = _example([each["path"] for each in shown["rows"] if format_of(each["name"])])
    if not path:
        document["about"] = _about(asked, version)
        for parent, found in zip(values["parents"], asked.parents(version, _LISTED), strict=False):
            parent["deleted"] = found is None
        document["readme"] = as_html(version.readme or "") if shown["place"]["first"] == 1 else ""
    return {**document, "folder": shown, "file": None, "preview": None, "example": example}


def _leads(version: Version, path: str) -> str | None:
    """Return the path that a link leads to; None if that is not in the version."""
    with suppress(PathNotFound):
        return version.files().folders.real(path)
    return None


def _example(paths: list[str]) -> dict[str, str | None] | None:
    return {"path": paths[0], "format": format_of(paths[0])} if paths else None


def _about(asked: Asked, version: Version) -> dict[str, Any]:
    """Return what other places know of a version: lineage, profiles, the cache of this machine."""
    lineage = asked.repository.lineage
    try:
        found = asked.memory.get(("origin", version.record_id), lambda: lineage.version(version.ref))
        links = [*found.produced, *found.consumed]
    except NotFound:
        found, links = None, []
    links.sort(key=lambda each: (each[1].used, each[1].role))  # of several links of a run the surest is last
    runs = {run.key: (run, link.role if link.used else "available") for run, link in links}
    latest = sorted(runs.values(), key=lambda each: (each[1], each[0].started), reverse=True)  # output first
    counted = version.file_count <= _FEW or bool(asked.text("kinds"))
    kinds = asked.memory.get(("kinds", version.record_id), version.kinds, _LONG) if counted else None
    some = [{**run_values(run), "role": role} for run, role in latest[:_SHOWN]]
    return {
        "runs": {"total": len(runs), "roles": Counter(role for _, role in latest), "first": some},
        "children": _refs(found.children) if found else None,
        "same": _refs(found.same) if found else None,
        "kinds": None if kinds is None else [each._asdict() for each in kinds],
        "fetched": version.files().fetched,
    }


def _refs(found: list[Any]) -> dict[str, Any]:
    there = [each.ref for each in found if each.known and not each.deleted]
    return {"total": len(there), "first": there[:_LISTED]}
