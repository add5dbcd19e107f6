"""The difference of two versions: which paths changed, or what changed in one file."""

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

from dataver import Diff, Entry, Version
from dataver.documents import CHANGES, change_values, entry_values, kind_of_change, version_values
from dataver.errors import InvalidInput, StoreError, message_of
from dataver.formats.entry import Kind
from dataver.profiles.kinds import kind_of
from dataver.profiles.rows import decoded_size
from dataver.tables import format_of
from dataver.tree import Change
from dataver.ui.asked import Asked
from dataver.ui.diff_content import content

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["page"]

_ROWS: Final = 200  # changed paths on a page
_FOLDERS: Final = 40
_CHOICES: Final = 200  # versions that the form suggests
_READ: Final = 256_000_000  # bytes of both files, as of `diff --stat`
_ITEMS: Final = 50  # rows of each kind, values or tensors, unless the query asks for others
_COLUMNS: Final = 500
_VALUES: Final = 20_000_000
_TEXT: Final = 1_500_000  # bytes of both files
_KEPT: Final = 120.0  # seconds


def page(asked: Asked) -> dict[str, Any]:
    """Return the changes from `old`, else from the first parent, to `new`; of `path`, those in the file."""
    new = asked.version("new")
    old = asked.before(new)
    diff = _difference(asked, old, new)
    part = _file(asked, diff, old, new) if asked.text("path") else _changes(asked, diff)
    names = {new.dataset, (old or new).dataset}
    choices = [each.ref for name in names for each in asked.versions(name)[:_CHOICES]]
    known = {"old": old and version_values(old), "new": version_values(new), "path": asked.text("path")}
    return {**known, "choices": choices, "summary": diff.summary(), **part}


def _difference(asked: Asked, old: Version | None, new: Version) -> Diff:
    """Return the difference; the last one is kept for its next page: it may take seconds and 100 MB."""
    last = asked.memory.get("diff", dict[tuple[str | None, str | None], Diff], _KEPT)
    ids = (None if old is None else old.record_id, new.record_id)
    if (found := last.get(ids)) is None:
        found = old.diff(new) if old is not None else _added(new) if new.parents else new.diff()
        last.clear()
        last[ids] = found
    return found


def _added(new: Version) -> Diff:
    return Diff(lambda: (Change(each.path, None, each) for each in new.tree.iterate()))


def _changes(asked: Asked, diff: Diff) -> dict[str, Any]:
    """Return a page of the changed paths, and the numbers of changes in folders.

    `under` selects a folder, `kind` added, removed, modified or renamed paths.
    """
    under, kind = asked.text("under").strip("/"), asked.text("kind")
    if kind not in ("", *CHANGES):
        raise InvalidInput(f"there is no kind '{kind}' of changes.", hint=f"one of {', '.join(CHANGES)}")
    folders, counts, none = defaultdict[str, Counter[str]](Counter), Counter[str](), dict.fromkeys(CHANGES, 0)
    for path, change in _below(diff, under):
        name, slash, _ = path[len(under) + bool(under) :].partition("/")
        counts[kind_of_change(change)] += 1
        if slash:
            folders[name][kind_of_change(change)] += 1
    found = (each for each in _below(diff, under) if kind in ("", kind_of_change(each[1])))
    shown, place = asked.page(found, counts[kind] if kind else counts.total(), _ROWS)
    largest = sorted(folders.items(), key=lambda each: -each[1].total())[:_FOLDERS]
    return {
        "under": under,
        "kind": kind,
        "counts": none | counts,
        "folders": [{"name": name, **none, **some} for name, some in sorted(largest)],
        "further_folders": len(folders) - len(largest),
        "changes": [change_values(change) for _, change in shown],
        "place": place,
    }


def _below(diff: Diff, folder: str) -> "Iterator[tuple[str, Change]]":
    """Yield changes in a folder, each with its path there; of a renamed file, that may be its old one."""
    prefix = f"{folder}/" if folder else ""
    for change in diff:
        if change.path.startswith(prefix):
            yield change.path, change
        elif change.new is not None and change.new.path.startswith(prefix):
            yield change.new.path, change


def _file(asked: Asked, diff: Diff, old: Version | None, new: Version) -> dict[str, Any]:
    """Return what changed in the file `path`; `key` is a table's key column, `items` and `columns` limits."""
    path = asked.text("path")
    change = next((each for each in diff if path in (each.path, each.new and each.new.path)), None)
    one = (old or new).entry(path) if change is None else change.old
    two = (old or new).entry(path) if change is None else change.new
    kind = "unchanged" if change is None else kind_of_change(change)
    document: dict[str, Any] = {"kind": kind, "limit": _READ, "content": None}
    document["entries"] = {"old": one and entry_values(one), "new": two and entry_values(two)}
    if one is None or two is None or not {one.kind, two.kind} <= {Kind.FILE, Kind.EXECUTABLE}:
        return document
    if one.size + two.size > _READ or one.digest == two.digest:
        return document
    key, items = asked.text("key"), asked.number("items", _ITEMS, 1_000)
    wide = asked.number("columns", 40, 400)
    names = ("content", old and old.record_id, new.record_id, one.path, two.path, key, items, wide)

    def compare() -> dict[str, Any]:
        with diff.content(two.path, old_path=one.path, key=key or None) as found:
            return content(found, items, wide)

    try:
        _check((old or new, one), (new, two))
        document["content"] = asked.memory.get(names, compare, _KEPT)
    except Exception as error:  # what libraries raise for hostile bytes is not documented
        if isinstance(error, StoreError):
            raise
        document["content"] = {"kind": "problem", "summary": message_of(error)}
    return document | {"key": key, "items": items}


def _check(*sides: tuple[Version, Entry]) -> None:
    """Refuse files whose comparison takes long: others may have made them so.

    Raises:
        InvalidInput: they are too large for a page.
    """
    kind = kind_of(sides[1][1].path)
    large = (kind is None or kind.name == "text") and sum(entry.size for _, entry in sides) > _TEXT
    decoded = 0
    for version, entry in sides:
        if format_of(entry.path):
            with version.open(entry.path) as file:
                size, values = decoded_size(cast("BinaryIO", file), entry.path)
            first = version.files().read(entry.path, 0, min(_READ >> 10, entry.size)).partition(b"\n")[0]
            decoded += size
            large |= decoded > _READ or values > _VALUES or max(map(first.count, b",;\t|")) > _COLUMNS
            large = large or len(version.schema(entry.path)) > _COLUMNS
    if large:
        raise InvalidInput("the files are too large to be compared on a page; `dataver diff` compares them.")
