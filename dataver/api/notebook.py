"""What versions, differences, drafts and repositories show in a notebook.

The idea: most is known without reading. What is read is little, whatever the size of the repository, and a
repository that fails, or does not answer for `_PATIENCE` seconds, costs a sentence, not the rest.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Final, TypeVar

from dataver.errors import DataverError
from dataver.formats.names import parse_semver
from dataver.formats.record import Record
from dataver.html_repr import ROWS, Html, card, facts, more, note, table
from dataver.printable import count, size
from dataver.repository.lines import latest_of_each
from dataver.tree import Change, Tree

if TYPE_CHECKING:
    from dataver.formats.description import Description
    from dataver.ingest import DraftCore
    from dataver.repository import RepositoryCore

__all__ = ["difference", "draft", "repository", "version"]

_PATIENCE: Final = 3.0  # seconds; retries of a store that fails take up to 60
_NAMES: Final = 12  # names at the top of a version
_COUNTED: Final = 1_000  # changes of a draft
_T = TypeVar("_T")
_MARKS: Final = {
    kind: Html(f"<span style='color:{colour}'>{kind}</span>")
    for kind, colour in (
        ("added", "#2a9d4e"),
        ("removed", "#d9534f"),
        ("modified", "#c98a1b"),
        ("renamed", "#3b8fc4"),
    )
}


def version(
    record: Record, ref: str, tree: Tree, read: "Callable[[], tuple[list[str], Description | None]]"
) -> str:
    """Return the HTML of a version.

    Args:
        record: its record.
        ref: its name.
        tree: its tree.
        read: reads its tags and its description.
    """
    found = _soon(lambda: (*read(), _top(tree)))
    tags, described, top = ([], None, "") if isinstance(found, str) else found
    metadata = record.metadata if described is None else described.metadata
    digest = Html(f"<span title='dv1:{record.tree.hex()}'>dv1:{record.tree.hex()[:12]}…</span>")
    pairs: list[tuple[str, object]] = [
        ("content", f"{count(record.files, 'file')}, {size(record.size)}"),
        ("digest", digest),
        ("tags", ", ".join(tags)),
        ("created", f"{record.created:%Y-%m-%d %H:%M} UTC by {record.author}"),
        ("message", record.message),
        ("made from", ", ".join(f"{each.dataset}@{each.label}" for each in record.parents)),
        ("fork", record.line),
    ]
    if described is not None:
        pairs += [("description", described.text), ("license", described.license), ("owner", described.owner)]
    pairs += [(f"· {key}", value) for key, value in islice(metadata.items(), _NAMES)]
    rest = more(len(metadata), _NAMES, "value")
    return card(ref, "version", facts(pairs), rest, note(found) if isinstance(found, str) else top)


def difference(totals: Mapping[str, int], changes: Iterable[Change]) -> str:
    """Return the HTML of a difference, given its numbers of paths and its changes."""
    found = _soon(lambda: list(islice(changes, ROWS)))
    paths = sum(number for kind, number in totals.items() if kind in _MARKS)
    shown = note(found) if isinstance(found, str) else _changes(found) + more(paths, len(found), "path")
    words = ", ".join(f"{number:,} {kind}" for kind, number in totals.items() if number and kind in _MARKS)
    bytes_ = f"{size(totals['size_added'])} added, {size(totals['size_removed'])} removed"
    return card(words or "no differences", f"difference · {bytes_}", shown)


def draft(core: "DraftCore") -> str:
    """Return the HTML of a draft."""
    found = _soon(lambda: (core.tree.summary(), list(islice(core.changes(), _COUNTED + 1))))
    pairs = [
        ("made from", ", ".join(core.parents)),
        ("workspace", core.workspace),
        ("conflicts", count(len(core.state.conflicts), "path") if core.state.conflicts else ""),
    ]
    if isinstance(found, str):
        shown = note(found)
    else:
        total, changes = found
        pairs.insert(0, ("content", f"{count(total.files, 'file')}, {size(total.size)}"))
        number = count(len(changes), "path") if len(changes) <= _COUNTED else f"more than {_COUNTED:,} paths"
        pairs.insert(1, ("changed", number))
        shown = _changes(changes[:ROWS]) + (note("…") if len(changes) > ROWS else "")
    return card(core.dataset, f"draft {core.id} · {core.state.status}", facts(pairs), shown)


def repository(core: "RepositoryCore") -> str:
    """Return the HTML of a repository."""

    def read() -> tuple[int, list[tuple[object, ...]]]:
        found = core.records.datasets()
        few = dict(islice(found.items(), ROWS))
        latest = latest_of_each(core.records, {name: few[name] for name in few if _numbered(few[name])})
        rows = (
            (name, len(labels), *_latest(latest[name].record if name in latest else None))
            for name, labels in few.items()
        )
        return len(found), list(rows)

    found = _soon(read)
    if isinstance(found, str):
        return card(core.url, "repository", note(found))
    total, rows = found
    header = ("dataset", "versions", "latest", "files", "size", "created (UTC)", "message")
    shown = table(header, rows) if rows else note("It has no datasets yet.")
    return card(core.url, f"repository · {count(total, 'dataset')}", shown, more(total, len(rows), "dataset"))


def _numbered(labels: Iterable[str]) -> bool:
    """Return whether the latest version is found by reading few records."""
    return sum(parse_semver(label) is None for label in labels) <= _NAMES


def _latest(record: Record | None) -> tuple[object, ...]:
    if record is None:
        return ("",) * 5
    made = f"{record.created:%Y-%m-%d %H:%M}"
    return record.label, record.files, size(record.size), made, record.message


def _top(tree: Tree) -> str:
    """Return the names at the top of a tree, of folders with the number of entries below."""
    names = list(islice(tree.list(), _NAMES + 1))
    ends = [each.rank for each in names[1:]]
    if len(names) <= _NAMES:
        ends.append(tree.summary().entries)
    rows = (
        (f"{each.name}/", count(end - each.rank, "entry", "entries"))
        if each.entry is None
        else (each.name, size(each.entry.size))
        for each, end in zip(names, ends, strict=False)
    )
    return table(("name", "content"), rows) + (note("…") if len(names) > _NAMES else "")


def _changes(changes: Iterable[Change]) -> str:
    return table(("", "path", "size"), map(_change, changes)) if changes else ""


def _change(change: Change) -> tuple[object, ...]:
    path, old, new = change
    if old is None or new is None:
        there = new or old
        return _MARKS["removed" if new is None else "added"], path, size(there.size if there else 0)
    sizes = size(new.size) if old.size == new.size else f"{size(old.size)} → {size(new.size)}"
    if old.path != new.path:
        return _MARKS["renamed"], f"{old.path} → {new.path}", sizes
    return _MARKS["modified"], path, sizes


def _soon(read: Callable[[], _T]) -> _T | str:
    """Return what a function reads, or the sentence that says why not, after at most `_PATIENCE` seconds."""
    answers: SimpleQueue[_T | Exception] = SimpleQueue()

    def work() -> None:
        try:
            answers.put(read())
        except Exception as error:  # noqa: BLE001 - raised below
            answers.put(error)

    Thread(target=work, name="dataver-notebook", daemon=True).start()
    try:
        found = answers.get(timeout=_PATIENCE)
    except Empty:
        return f"The repository has not answered for {_PATIENCE:.0f} seconds."
    if isinstance(found, DataverError):
        return found.message
    if isinstance(found, Exception):
        raise found
    return found
