"""A page of a folder: the names from one entry on, found by its rank, however many names the folder has.

The query has the number of the entry (`from`), or that of the first entry after the page (`back`), and
perhaps the beginning of the names (`begins`). The tree has the totals of a subfolder.
"""

import re
from contextlib import suppress
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any, Final

from dataver.documents import entry_values, external_place
from dataver.errors import DataverError, NotFound, StoreError
from dataver.formats.profile import decode_profile
from dataver.ui.asked import Asked

if TYPE_CHECKING:
    from dataver import Version
    from dataver.tree import Listed, Tree

__all__ = ["IMAGES", "listing", "thumbnail"]

IMAGES: Final = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".avif", ".svg")
"""The suffixes of images that browsers show."""

_ROWS: Final = 100
_PROFILES: Final = 16 << 20  # bytes of a dataset's profiles
_THUMBNAIL: Final = 50_000  # characters
_BASE64: Final = re.compile(r"[A-Za-z0-9+/=]+")


def listing(asked: Asked, version: "Version", folder: str) -> dict[str, Any]:
    """Return a page of the names in a folder.

    Raises:
        NotFound: the folder has no such page.
    """
    tree, prefix = version.tree, f"{folder}/" if folder else ""
    begins = asked.text("begins").partition("/")[0]
    first, totals = tree.rank(prefix + begins), tree.totals(prefix + begins)
    whole = tree.totals(prefix) if begins else totals
    at, back = asked.number("from", 0), asked.number("back", 0)
    if max(at, back - 1) >= max(totals.entries, 1):
        raise NotFound(f"there is no entry {max(at, back):,} in the folder; it has {totals.entries:,}.")
    if back:
        at = tree.names_back(folder, first + back, _ROWS, first) - first
    start = tree.name_at(folder, first + at) if at else prefix + begins
    names = takewhile(lambda each: each.name.startswith(begins), tree.list(folder, start))
    rows = [_row(asked, tree, prefix, each) for each in islice(names, _ROWS)]
    behind = next(names, None)
    after = None if behind is None else behind.rank - first
    images = sum(each["image"] for each in rows)
    grid = images > len(rows) / 2 if not asked.text("view") else asked.text("view") == "grid"
    if grid:
        _add_thumbnails(asked, version.dataset, rows)
    place = {"first": tree.rank(start) - first + 1, "last": after or totals.entries, "next": after}
    known = {"begins": begins, "files": whole.files, "size": whole.size, "rows": rows, "images": images}
    return {**known, "grid": grid, "place": {**place, "entries": totals.entries}}


def thumbnail(profile: dict[str, Any]) -> str:
    """Return the thumbnail of a profile, a JPEG in base64; an empty text if it has no valid one."""
    found = str(profile.get("thumbnail", ""))
    return found if len(found) <= _THUMBNAIL and _BASE64.fullmatch(found) else ""


def _row(asked: Asked, tree: "Tree", prefix: str, each: "Listed") -> dict[str, Any]:
    path = prefix + each.name
    if each.entry is None:
        below = tree.totals(f"{path}/")
        found = {"path": path, "kind": "folder", "size": below.size, "digest": None, "target": None}
        return {**found, "name": each.name, "files": below.files, "image": False, "external": None}
    image = each.name.lower().endswith(IMAGES) and bool(each.entry.digest)
    try:
        place = external_place(each.entry, asked.repository._core.packs.externals.load)
    except DataverError as error:
        place = f"elsewhere: {error.message}"
    return {**entry_values(each.entry), "name": each.name, "image": image, "external": place or None}


def _add_thumbnails(asked: Asked, dataset: str, rows: list[dict[str, Any]]) -> None:
    """Add the thumbnails of images that have one in their profiles, if those are few enough to be read."""
    profiles = asked.repository._core.profiles
    with suppress(StoreError):
        if sum(info.size for info, _ in profiles.objects(dataset)) <= _PROFILES:
            found = profiles.find(
                dataset, "files", {bytes.fromhex(each["digest"]) for each in rows if each["image"]}
            )
            for each in rows:
                line = found.get(bytes.fromhex(each["digest"] or ""))
                each["thumbnail"] = thumbnail(decode_profile(line)) if line else ""
