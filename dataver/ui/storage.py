"""What datasets, versions, folders and files take in the store."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from dataver.documents import entry_values, usage_report_values, usage_values, version_values
from dataver.errors import NotFound
from dataver.maintenance.shared_bytes import shared_bytes
from dataver.tree import Totals, path_of
from dataver.ui.asked import Asked

if TYPE_CHECKING:
    from dataver import Version
    from dataver.formats.entry import Entry
    from dataver.maintenance.usage import UsageReport
    from dataver.tree import Tree

__all__ = ["page"]

_KEPT: Final = 60.0  # seconds
_FOR_EVER: Final = 1e9
_NAMES: Final = (1_000, 200)  # of a folder, and of each in it, that are looked at …
_BOXES: Final = (40, 12)  # … and drawn
_PACKS: Final = 64  # of a file, each of up to 100 MB
_PARTS: Final = 2_000  # that are drawn of a file


def page(asked: Asked) -> dict[str, Any]:
    """Return the usage of all datasets, or of the versions of one (`name`); or what is in a version.

    Of a version (`ref`) that is a map of the folder `path`, or what the file there shares with the parent.
    """
    name, path = asked.text("name"), path_of(asked.text("path"))
    if asked.text("ref"):
        version = asked.version()
        entry = version.tree.get(path) if path else None
        document = {"ref": version.ref, "name": version.dataset, "path": path, "usage": None}
        if entry is not None:
            return document | {"file": _file(asked, version, entry)}
        return document | {"map": _map(asked, version, path)}
    report, moment, seconds = asked.memory.get("du", lambda: _measure(asked), _KEPT)
    rows = sorted(report.datasets, key=lambda each: -each.total)
    if name:
        rows = [each for each in reversed(report.versions) if each.name.rpartition("@")[0] == name]
        if not rows:
            raise NotFound(f"there is no dataset '{name}'.")
    shown, place = asked.page(rows, len(rows))
    latest = asked.repository.version(name) if name else None
    return {
        "name": name,
        "path": "",
        "usage": usage_report_values(replace(report, datasets=[], versions=[]))["repository"],
        "logical": sum(each.logical for each in rows),
        "most": max((each.total for each in rows), default=0),
        "dataset": next((usage_values(each) for each in report.datasets if each.name == name), None),
        "rows": [usage_values(each) for each in shown],
        "place": place,
        "measured": {"at": moment, "seconds": seconds, "kept": _KEPT},
        "ref": latest and latest.ref,
        "map": latest and _map(asked, latest, ""),
    }


def _measure(asked: Asked) -> "tuple[UsageReport, str, float]":
    began, moment = time.perf_counter(), datetime.now(UTC).isoformat(timespec="seconds")
    return asked.repository.du(), moment, round(time.perf_counter() - began, 3)


def _map(asked: Asked, version: "Version", path: str) -> dict[str, Any]:
    if path and not version.tree.is_folder(path):
        version.entry(path)  # raises PathNotFound
    return asked.memory.get(("map", version.record_id, path), lambda: _boxes(version.tree, path), _FOR_EVER)


def _boxes(tree: "Tree", folder: str, depth: int = 0) -> dict[str, Any]:
    """Return the largest names of a folder and of its large folders; all others are one box together."""
    prefix = f"{folder}/" if folder else ""
    totals, found = tree.totals(prefix), list[dict[str, Any]]()
    for name, entry, _ in islice(tree.list(folder), _NAMES[depth]):
        path, is_folder = prefix + name, entry is None
        inside = tree.totals(f"{path}/") if entry is None else Totals(1, int(bool(entry.digest)), entry.size)
        sizes = {"files": inside.files, "size": inside.size}
        found.append({"path": path, "folder": is_folder, "inside": [], **sizes})
    found = sorted(found, key=lambda each: -each["size"])[: _BOXES[depth]]
    for each in found:
        if each["folder"] and depth + 1 < len(_BOXES) and each["size"] * 50 > totals.size:
            each["inside"] = _boxes(tree, each["path"], depth + 1)["boxes"]
    files, size = (totals[n] - sum(each[key] for each in found) for n, key in ((1, "files"), (2, "size")))
    if size > 0:
        found.append({"path": None, "folder": False, "files": files, "size": size, "inside": []})
    return {"files": totals.files, "size": totals.size, "boxes": found}


def _file(asked: Asked, version: "Version", entry: "Entry") -> dict[str, Any]:
    """Return which bytes of a file are stored already for the file of that path in the version before."""
    before = asked.before(version)
    old = None if before is None else before.tree.get(entry.path)
    packs = {each.pack for each in entry.extents}
    parts = None
    if old is not None and len(packs.intersection(each.pack for each in old.extents)) <= _PACKS:
        parts = shared_bytes(asked.repository._core.packs, old, entry)
    known = {"before": before and before.ref, "parents": version_values(version)["parents"]}
    known |= {"entry": entry_values(entry), "old": old and entry_values(old), "packs": len(packs)}
    if parts is None:
        return {**known, "shared": None, "parts": None}
    shown = sorted(parts, key=lambda each: each[0] - each[1])[:_PARTS]
    return {**known, "shared": sum(stop - start for start, stop in parts), "parts": shown}
